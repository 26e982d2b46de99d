"""Whether an app can come up on a cluster's Serve, and where it is reached then: asked of a Serve that runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray import serve as ray_serve
from ray.serve import context

from deployments.running.proxies import check_serve, here, reached_at
from deployments.serving import running_ray
from valor_ray.config.service import ServerConfig
from valor_ray.config.tree import Config
from valor_ray.doctor.listening import free_port
from valor_ray.errors import ConfigError, ServiceError

HERE, THERE = "a" * 56, "b" * 56
HEALTHY = {"status": "HEALTHY"}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets Serve run, with the proxies and apps of its details."""

    def runs(host: str | None = "127.0.0.1", port: int = 8000, **details: Any) -> None:
        told = {"proxies": {HERE: HEALTHY | {"node_ip": "10.0.0.1"}}, "applications": {}} | details
        options = SimpleNamespace(host=host, port=port)
        client = SimpleNamespace(http_config=options, get_serve_details=lambda: told)
        monkeypatch.setattr(context, "_connect", lambda raise_if_no_controller_running: client)

    monkeypatch.setattr(context, "_connect", lambda raise_if_no_controller_running: None)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: HERE))
    return runs


def proxies(**addresses: str) -> dict[str, Any]:
    return {{"here": HERE, "there": THERE}[node]: HEALTHY | {"node_ip": ip} for node, ip in addresses.items()}


def test_where_no_serve_runs_any_address_will_do(serve: Any) -> None:
    check_serve(ServerConfig(port=9000), "valor")


def test_a_serve_that_listens_there_takes_an_app_beside_those_of_jobs(serve: Any) -> None:
    serve(applications={"valor-judge-12345678": {"route_prefix": None}})
    check_serve(ServerConfig(), "valor")


def test_a_serve_without_http_is_refused_with_what_to_do(serve: Any) -> None:
    serve(proxies={})
    with pytest.raises(ServiceError, match=r"without HTTP.*serve shutdown.*unset RAY_ADDRESS"):
        check_serve(ServerConfig(), "valor")


@pytest.mark.parametrize("server", [ServerConfig(port=8000), ServerConfig(host="0.0.0.0", port=9000)])
def test_another_address_than_serve_listens_on_is_refused_with_the_one_that_it_has(
    serve: Any, server: ServerConfig
) -> None:
    serve("0.0.0.0", 8000)
    with pytest.raises(ServiceError, match=r"listens on 0\.0\.0\.0:8000 .*--host 0\.0\.0\.0 --port 8000"):
        check_serve(server, "valor")
    check_serve(ServerConfig(host="0.0.0.0", port=8000), "valor")


@pytest.mark.parametrize(("name", "prefix"), [("valor", "/"), ("valor", None), ("another", "/")])
def test_an_app_of_the_name_or_at_the_path_is_not_replaced(serve: Any, name: str, prefix: str | None) -> None:
    serve(applications={name: {"route_prefix": prefix}})
    with pytest.raises(ConfigError, match=rf"app {name} already runs .*--url.*serve\.delete\('{name}'\)"):
        check_serve(ServerConfig(), "valor")


def test_the_app_is_reached_here_where_a_proxy_runs_here(serve: Any) -> None:
    serve("0.0.0.0", proxies=proxies(there="10.0.0.2", here="10.0.0.1"))
    assert reached_at(ServerConfig(host="0.0.0.0")) == "127.0.0.1"
    assert reached_at(ServerConfig(host="127.0.0.1")) == "127.0.0.1"


def test_without_a_proxy_here_the_app_is_reached_at_a_node_that_has_one(serve: Any) -> None:
    serve("0.0.0.0", proxies=proxies(there="10.0.0.2"))
    assert reached_at(ServerConfig(host="0.0.0.0")) == "10.0.0.2"
    with pytest.raises(ServiceError, match=r"proxies run on 10\.0\.0\.2, and listen on 127\.0\.0\.1 there"):
        reached_at(ServerConfig())
    assert reached_at(ServerConfig(host="10.0.0.2")) == "10.0.0.2"


def test_a_host_that_means_every_address_is_shown_as_one() -> None:
    assert [here(host) for host in ("0.0.0.0", "::", "10.0.0.1")] == ["127.0.0.1", "::1", "10.0.0.1"]


@pytest.mark.timeout(300)
def test_a_serve_that_runs_says_its_address_its_proxies_and_its_apps() -> None:
    @ray_serve.deployment(ray_actor_options={"num_cpus": 0})
    class Nothing:  # in here, so that Ray takes all of it along
        pass

    with running_ray(Config.load("local"), lambda line: None):
        server = ServerConfig(port=free_port())
        check_serve(server, "valor")
        ray_serve.start(http_options={"host": server.host, "port": server.port})
        check_serve(server, "valor")
        assert reached_at(server) == server.host
        with pytest.raises(ServiceError, match=rf"listens on 127\.0\.0\.1:{server.port} "):
            check_serve(ServerConfig(port=free_port()), "valor")
        ray_serve.run(Nothing.bind(), name="other", route_prefix=None)
        check_serve(server, "valor")
        ray_serve.run(Nothing.bind(), name="valor", route_prefix="/")
        with pytest.raises(ConfigError, match="app valor already runs"):
            check_serve(server, "valor")
        ray_serve.shutdown()
        ray_serve.start(proxy_location="Disabled")
        with pytest.raises(ServiceError, match="without HTTP"):
            check_serve(server, "valor")
