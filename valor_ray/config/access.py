"""How an endpoint is reached: its headers and its proxy, with the secrets that only the environment holds."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit, urlunsplit

from valor_ray.config.section import secret
from valor_ray.errors import ConfigError

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_NAME = re.compile(r"[!#$%&'*+.^`|~\w-]+", re.ASCII)
_OURS = {
    "content-type", "content-length", "content-encoding", "host", "connection", "transfer-encoding", "accept-encoding",
    "expect", "te", "upgrade", "trailer",
}  # fmt: skip
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"]+", re.IGNORECASE)
_SECRET = re.compile(r"auth|key|token|secret|cookie|password|credential|signature", re.I)


@dataclass(frozen=True)
class Access:
    """Made by `access_to`, used by the gateway's Transport; never saved or sent to another process."""

    headers: Mapping[str, str] = field(repr=False)  # the key's among them
    proxy: str | None = field(default=None, repr=False)  # URL, with its password
    secrets: tuple[str, ...] = field(default=(), repr=False)  # what no message may show


def check_address(base_url: str) -> None:
    """Raises ValueError, without the address in it, for what nobody can be asked at."""
    try:
        parts = urlsplit(base_url)
        asked = parts.scheme.lower() in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        asked = False
    if not asked:
        raise ValueError("it is no address of an endpoint: give it as https://host/v1")


def check_headers(headers: Mapping[str, str]) -> None:
    """Raises ValueError for what is no header, is set by the gateway, or is a secret that would be saved."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an HTTP header")
        if name.lower() in _OURS:
            raise ValueError(f"{name} is set by the gateway and cannot be a further header")
        if _SECRET.search(name) and not _VARIABLE.search(value):
            raise ValueError(
                f"{name} looks like a secret, and headers are saved with the run. Name the variable that holds it: "
                f"{name}: ${{MY_VARIABLE}}"
            )
        if not _can_travel(value):
            raise ValueError(f"the value of {name} holds characters that no HTTP header can carry")


def access_to(base_url: str, section: str, headers: Mapping[str, str], key: str | None) -> Access:
    """section: of the settings, for messages: "judge", "judge.others[0]". key: to send as bearer; None: none is needed.

    Raises ConfigError when a variable that the headers name is not set, or a value cannot be sent.
    """
    secrets = [] if key is None else [key]
    sent = {"Authorization": f"Bearer {key or 'none'}"}
    _check(key or "", f"the API key ({section}.api_key_env)")
    if login := urlsplit(base_url).netloc.rpartition("@")[0]:  # a key wins over what stands in the address
        basic = base64.b64encode(unquote(login).encode()).decode()
        secrets += [login, basic, *_passwords(login)]
        if key is None:
            sent["Authorization"] = f"Basic {basic}"
    # of the query, too: a server's page of an error repeats the address that it was asked at
    for part in filter(None, urlsplit(base_url).query.split("&")):
        value = part.partition("=")[2] or part
        secrets += [value, unquote(value)]
    for name, value in headers.items():
        if name.lower() == "authorization":
            del sent["Authorization"]
        sent[name] = _filled(value, section, name, secrets)
    proxy = proxy_for(base_url)
    if proxy is not None and (login := urlsplit(proxy).netloc.rpartition("@")[0]):
        secrets += [login, *_passwords(login)]
    return Access(sent, proxy, tuple(sorted(set(secrets), key=len, reverse=True)))


def proxy_for(url: str) -> str | None:
    """The proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY for an endpoint; None: by NO_PROXY, and for this machine.

    Raises ConfigError for a proxy that is none we can speak to.
    """
    from requests.utils import get_environ_proxies, select_proxy  # knows NO_PROXY in all its forms

    try:
        if _is_here(urlsplit(url).hostname or ""):
            return None
        proxy = select_proxy(url, get_environ_proxies(url))
    except ValueError:  # no URL: the gateway says so
        return None
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    scheme = urlsplit(proxy).scheme.lower()
    if scheme not in ("http", "https"):
        raise ConfigError(
            f"The environment names a {scheme} proxy for {shown_address(url)}; only http:// and https:// proxies are "
            "spoken to. Set HTTPS_PROXY (HTTP_PROXY for an http:// address) to one, or name the host in NO_PROXY."
        )
    return proxy


def shown_address(url: str) -> str:
    """An address without what may be a secret in it: user, password, query."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL: where a secret stands in it cannot be told
        return "…"
    path = parts.path if parts.netloc else parts.path.rpartition("@")[2]  # https:// was left out
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "", ""))


def without_secrets(text: str) -> str:
    """A text of the user's, as a setting, with each URL in it as `shown_address`."""
    return _URL.sub(lambda url: shown_address(url[0]), text)


def _is_here(host: str) -> bool:
    """The offline judge, or one that runs beside us: no proxy knows our loopback."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _filled(value: str, section: str, name: str, secrets: list[str]) -> str:
    """A header's value with what its variables hold, which is entered into `secrets`."""

    def held(variable: re.Match[str]) -> str:
        text = secret(variable[1], f"{section}.headers.{name}", "its value")
        _check(text, f"the environment variable {variable[1]} ({section}.headers.{name})")
        secrets.append(text)
        return text

    return _VARIABLE.sub(held, value)


def _check(value: str, what: str) -> None:
    if not _can_travel(value):
        raise ConfigError(
            f"{what[0].upper()}{what[1:]} holds characters that no HTTP header can carry. Set it again."
        )


def _can_travel(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _passwords(login: str) -> list[str]:
    """As it stands, and as it is meant."""
    password = login.partition(":")[2]
    return [password, unquote(password)] if password else []
