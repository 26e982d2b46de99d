"""One HTTP try at an OpenAI-compatible endpoint: bytes out, a typed outcome in. Never raises, never shows a secret."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from valor_ray.judges.gateway.call.complaint import DETAIL, plain
from valor_ray.judges.gateway.call.outcome import HttpKind, HttpOutcome
from valor_ray.judges.gateway.call.reply import MAX_REPLY, outcome_of

if TYPE_CHECKING:
    import aiohttp

    from valor_ray.config.access import Access
    from valor_ray.config.judging import Endpoint

_SHORT = 4  # characters of a secret that may stand anywhere by chance


class Transport:
    """Connections to one endpoint: a try ends as an HttpOutcome, whatever happens on the wire; it shows no secret.

    Called by EndpointCalls, once for each try; belongs to the event loop of its first call, which `close` ends.
    `post` waits for the endpoint, at most `timeout_s`; any number may wait at a time.
    """

    def __init__(self, config: Endpoint, access: Access) -> None:
        self._url = completions_url(config.base_url or "")
        self._timeout_s = config.timeout_s
        self._access = access
        self._secrets = [secret for secret in access.secrets if len(secret) > _SHORT]
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes, sent: Callable[[], None] = lambda: None) -> HttpOutcome:
        """sent: told when there is a connection and the request goes out, whatever comes back."""
        return self._without_secrets(await self._post(body, sent))

    async def _post(self, body: bytes, told: Callable[[], None]) -> HttpOutcome:
        import aiohttp

        try:
            # an address that sends us on is told, not followed: the key and the headers are for this one
            sent = self._open().post(
                self._url, data=body, proxy=self._access.proxy, allow_redirects=False, trace_request_ctx=told
            )
            async with sent as response:
                data = await _read(response)
                headers = {name.lower(): value for name, value in response.headers.items()}
                return outcome_of(response.status, headers, data)
        except (aiohttp.InvalidURL, ValueError):
            return HttpOutcome(HttpKind.MISNAMED, "not a URL that can be asked")
        except TimeoutError:
            return HttpOutcome(HttpKind.TIMEOUT, f"no answer within {self._timeout_s:g} s")
        except aiohttp.ClientProxyConnectionError as error:
            return HttpOutcome(
                HttpKind.UNREACHABLE, f"the proxy {error.host}:{error.port}: {_why(error.os_error)}"
            )
        except aiohttp.ClientHttpProxyError as error:
            if error.status == 407:
                return outcome_of(407, {}, b"")
            return HttpOutcome(
                HttpKind.MISNAMED, f"the proxy answers {error.status} {plain(error.message)[:DETAIL]}"
            )
        except (aiohttp.ClientConnectorDNSError, socket.gaierror):
            return HttpOutcome(HttpKind.MISNAMED, "no such host")
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as error:
            return HttpOutcome(HttpKind.MISNAMED, f"TLS: {type(error).__name__}")
        except aiohttp.ClientPayloadError as error:
            if "content-encoding" in str(error).lower():
                return HttpOutcome(HttpKind.BROKEN, "a reply that cannot be unpacked", 200)
            return HttpOutcome(HttpKind.UNREACHABLE, "the reply broke off")
        except (aiohttp.ClientError, OSError) as error:
            return HttpOutcome(HttpKind.UNREACHABLE, _why(error))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                headers={**self._access.headers, "Content-Type": "application/json"},
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[_telling()],
            )
        return self._session

    def _without_secrets(self, outcome: HttpOutcome) -> HttpOutcome:
        """Endpoints repeat keys in their complaints."""
        text = outcome.text
        for secret in self._secrets:
            text = text.replace(secret, "…")
        others = tuple(map(self._without_secrets, outcome.others))
        return outcome if text == outcome.text and not others else replace(outcome, text=text, others=others)


def _telling() -> aiohttp.TraceConfig:
    """Calls what `post` was given."""
    import aiohttp

    async def headers_sent(session: Any, context: Any, headers: Any) -> None:
        context.trace_request_ctx()

    tracing = aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(headers_sent)
    return tracing


def completions_url(base_url: str) -> str:
    """Where completions are asked for; a query, as Azure's api-version, stays at the end."""
    parts = urlsplit(base_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, f"{parts.path.rstrip('/')}/chat/completions", parts.query, ""))


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """At most a little over MAX_REPLY, unpacked: aiohttp unpacks no further than is read."""
    data = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > MAX_REPLY:
            response.close()
            break
    return bytes(data)
