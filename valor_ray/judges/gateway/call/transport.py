"""One HTTP try at an OpenAI-compatible endpoint: bytes out, a typed outcome in. Never raises, never shows the key."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from valor_ray.records import JudgeRequest

if TYPE_CHECKING:
    import aiohttp

    from valor_ray.config.judging import Endpoint

MAX_REPLY = 1 << 20  # bytes of a reply that are read
NO_EXTRA: Mapping[str, Any] = MappingProxyType({})
_DETAIL = 200  # characters of the endpoint's own words


class HttpKind(StrEnum):
    ANSWERED = "answered"
    REFUSED = "refused"  # the model declined
    BROKEN = "broken"  # a reply that is no completion, or not the JSON asked for
    THROTTLED = "throttled"  # 429
    FAILED = "failed"  # 5xx
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    MISNAMED = "misnamed"  # no such host, or no such certificate
    REJECTED = "rejected"  # 400, 413, 422: this request, not the endpoint
    FORBIDDEN = "forbidden"  # 401, 403
    UNKNOWN = "unknown"  # 404: no such model or path


ENDPOINT_DOWN = (HttpKind.FAILED, HttpKind.TIMEOUT, HttpKind.UNREACHABLE, HttpKind.MISNAMED)


@dataclass(frozen=True)
class HttpOutcome:
    kind: HttpKind
    text: str = ""  # the model's words; the endpoint's when it is an error
    status: int = 0  # HTTP, 0: no answer
    retry_after_s: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


def request_body(request: JudgeRequest, model: str, extra: Mapping[str, Any] = NO_EXTRA) -> bytes:
    """The chat completion call for a request. No temperature: reasoning models refuse any but their own.

    extra: further fields, as the endpoint's settings have them; ours win.
    """
    schema = {"name": request.head, "strict": True, "schema": request.schema}
    return json.dumps(
        {
            **extra,
            "model": model,
            "messages": list(request.messages),
            "response_format": {"type": "json_schema", "json_schema": schema},
        },
        ensure_ascii=False,
    ).encode("utf-8", "replace")


class Transport:
    """Connections to one endpoint: a try ends as an HttpOutcome, whatever happens on the wire, and never shows the key.

    Called by Gateway, once for each try; belongs to the event loop of its first call, which `close` ends.
    `post` waits for the endpoint, at most `timeout_s`; any number may wait at a time.
    """

    def __init__(self, config: Endpoint, api_key: str) -> None:
        self._url = (config.base_url or "").rstrip("/") + "/chat/completions"
        self._timeout_s = config.timeout_s
        self._key = api_key
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes) -> HttpOutcome:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=60),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
            )
        try:
            async with self._session.post(self._url, data=body) as response:
                data = await _read(response)
                return self._outcome(response.status, response.headers, data)
        except (aiohttp.InvalidURL, ValueError):
            return HttpOutcome(HttpKind.MISNAMED, "not a URL that can be asked")
        except TimeoutError:
            return HttpOutcome(HttpKind.TIMEOUT, f"no answer within {self._timeout_s:g} s")
        except (aiohttp.ClientConnectorDNSError, socket.gaierror):
            return HttpOutcome(HttpKind.MISNAMED, "no such host")
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as error:
            return HttpOutcome(HttpKind.MISNAMED, f"TLS: {type(error).__name__}")
        except (aiohttp.ClientError, OSError) as error:
            return HttpOutcome(HttpKind.UNREACHABLE, type(error).__name__)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _outcome(self, status: int, headers: Mapping[str, str], data: bytes) -> HttpOutcome:
        if status == 200:
            return _completion(data)
        words = self._without_key(_words(data))
        if status == 429:
            return HttpOutcome(HttpKind.THROTTLED, words, status, _retry_after(headers.get("Retry-After")))
        if status in (401, 403):
            return HttpOutcome(HttpKind.FORBIDDEN, words, status)
        if status == 404:
            return HttpOutcome(HttpKind.UNKNOWN, words, status)
        if status >= 500 or status == 408:
            return HttpOutcome(HttpKind.FAILED, words, status, _retry_after(headers.get("Retry-After")))
        return HttpOutcome(HttpKind.REJECTED, words, status)

    def _without_key(self, text: str) -> str:
        """Endpoints repeat keys in their complaints."""
        return text.replace(self._key, "…") if len(self._key) > 4 else text


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        data += chunk
        if len(data) > MAX_REPLY:
            response.close()
            break
    return bytes(data)


def _completion(data: bytes) -> HttpOutcome:
    if len(data) > MAX_REPLY:
        return HttpOutcome(HttpKind.BROKEN, f"a reply of more than {MAX_REPLY >> 20} MiB", 200)
    try:
        reply = json.loads(data)
        message = reply["choices"][0]["message"]
        usage = reply.get("usage") or {}
        tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        content, refusal = message.get("content"), message.get("refusal")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return HttpOutcome(HttpKind.BROKEN, "a reply that is no chat completion", 200)
    if refusal and not content:
        return HttpOutcome(HttpKind.REFUSED, _plain(str(refusal))[:_DETAIL], 200, None, *tokens)
    if not isinstance(content, str) or not content.strip():
        return HttpOutcome(HttpKind.BROKEN, "an empty reply", 200, None, *tokens)
    return HttpOutcome(HttpKind.ANSWERED, _plain(content), 200, None, *tokens)


def _words(data: bytes) -> str:
    """What an error reply says: its error.message, or its text."""
    text = data[:4096].decode("utf-8", "replace")
    try:
        reply: Any = json.loads(data)
        text = str(reply["error"]["message"])
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    return " ".join(_plain(text).split())[:_DETAIL]


def _plain(text: str) -> str:
    """Without halves of surrogate pairs, which JSON may spell and no file can hold."""
    return text.encode("utf-8", "replace").decode()


def _retry_after(value: str | None) -> float | None:
    """Seconds, from a number of seconds or an HTTP date."""
    if value is None:
        return None
    try:
        return max(0.0, min(float(value), 3600.0))
    except ValueError:
        pass
    try:
        return max(0.0, min(parsedate_to_datetime(value).timestamp() - time.time(), 3600.0))
    except ValueError:
        return None
