"""How an endpoint is reached: headers and proxies, and that no secret in them is shown or saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from valor_ray.config.access import proxy_for
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError
from valor_ray.runs.folder import save_settings

SECRET = "s3cr3t-value"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def judge(*changes: str) -> Config:
    settings = [f"judge.{change}" for change in ("base_url=https://host/v1", "api_key_env=null", *changes)]
    return Config.load("local", settings)


def test_secrets_of_headers_come_from_the_environment_and_stand_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = judge(
        "headers={X-Api-Key: '${MY_KEY}', HTTP-Referer: https://us, Authorization: 'Token ${MY_KEY}'}"
    )
    with pytest.raises(ConfigError, match=r"MY_KEY \(named by judge\.headers\.X-Api-Key\)"):
        config.judge.check_keys("judge")
    monkeypatch.setenv("MY_KEY", SECRET)
    access = config.judge.access("judge")
    assert access.headers == {
        "X-Api-Key": SECRET, "HTTP-Referer": "https://us", "Authorization": f"Token {SECRET}"
    }  # fmt: skip
    assert SECRET in access.secrets and SECRET not in repr(access)
    save_settings(tmp_path / "config.yaml", config)
    assert SECRET not in (tmp_path / "config.yaml").read_text()
    assert Config.load(str(tmp_path / "config.yaml")) == config


@pytest.mark.parametrize("value", ["two\nlines", "é", "\x00", "tab\t"])
def test_what_no_header_can_carry_is_said_without_the_value(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setattr("valor_ray.config.access.secret", lambda *of: SECRET + value)
    monkeypatch.setattr("valor_ray.config.judging.secret", lambda *of: SECRET + value)
    for change in ("headers={X-Api-Key: '${MY_KEY}'}", "api_key_env=MY_KEY"):
        with pytest.raises(ConfigError, match="no HTTP header can carry") as caught:
            judge(change).judge.check_keys("judge")
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ("{X-Api-Key: hunter2}", "looks like a secret"),
        ("{Cookie: hunter2}", "looks like a secret"),
        ("{Content-Type: hunter2}", "set by the gateway"),
        ("{host: hunter2}", "set by the gateway"),
        ("{'a b': hunter2}", "no name of an HTTP header"),
        ("{'': hunter2}", "no name"),
        ('{X: "hunter2\\r\\nA: b"}', "no HTTP header can carry"),
    ],
)
def test_wrong_headers_are_refused_without_their_values(headers: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        judge(f"headers={headers}")
    assert "hunter2" not in str(caught.value).partition("(--set")[0] + str(caught.value).rpartition("): ")[2]


def test_a_limit_in_dollars_wants_prices() -> None:
    with pytest.raises(ConfigError, match="max_cost_usd wants price_in and price_out"):
        judge("max_cost_usd=5")
    assert judge("max_cost_usd=5", "price_in=1").judge.max_cost_usd == 5
    assert (
        Config.load("local", ["judge.max_cost_usd=5"]).judge.base_url is None
    )  # the offline judge costs nothing


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://host/v1", {"HTTPS_PROXY": "http://px:3128"}, "http://px:3128"),
        ("https://host/v1", {"https_proxy": "px:3128"}, "http://px:3128"),
        ("https://host/v1", {"HTTP_PROXY": "http://px:3128"}, None),
        ("http://host/v1", {"HTTP_PROXY": "http://u:p@px:3128"}, "http://u:p@px:3128"),
        ("http://host/v1", {"ALL_PROXY": "http://px"}, "http://px"),
        ("https://host/v1", {"HTTPS_PROXY": "http://px", "NO_PROXY": "a,host"}, None),
        ("https://a.corp.example/v1", {"HTTPS_PROXY": "http://px", "NO_PROXY": ".corp.example"}, None),
        ("https://acorp.example/v1", {"HTTPS_PROXY": "http://px", "NO_PROXY": ".corp.example"}, "http://px"),
        ("https://10.1.2.3:8/v1", {"HTTPS_PROXY": "http://px", "NO_PROXY": "10.0.0.0/8"}, None),
        ("https://host:8443/v1", {"HTTPS_PROXY": "http://px", "NO_PROXY": "host:8443"}, None),
        ("https://host/v1", {"HTTPS_PROXY": "http://px", "NO_PROXY": "*"}, None),
        ("http://127.0.0.1:9/v1", {"HTTP_PROXY": "http://px"}, None),
        ("http://localhost:9/v1", {"HTTP_PROXY": "http://px"}, None),
        ("http://[::1]:9/v1", {"HTTP_PROXY": "http://px"}, None),
        ("http:///v1", {"HTTP_PROXY": ""}, None),
    ],
)
def test_proxies_are_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str], proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


def test_a_proxy_that_is_not_spoken_to_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://u:{SECRET}@px:1080")
    with pytest.raises(ConfigError, match=r"socks5 proxy for https://host/v1.*NO_PROXY") as caught:
        judge().judge.check_keys("judge")
    assert SECRET not in str(caught.value)


def test_a_login_in_the_address_is_sent_and_never_shown() -> None:
    config = judge(f"base_url=https://me:{SECRET}@host/v1?key=x")
    access = config.judge.access("judge")
    assert access.headers["Authorization"].startswith("Basic ") and SECRET in access.secrets
    assert config.judge.address == "https://host/v1"
