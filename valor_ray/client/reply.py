"""What a server answers, read within limits: it may not be `valor serve` at all."""

from __future__ import annotations

from typing import IO, Any

from valor_ray.untrusted.decode import DecodeError, Limits, decode

# a depth map of the largest picture (`images.max_pixels`) is 213 MB of base64
LIMITS = Limits(max_bytes=2**29, values=2_000_000, half_pairs="replace", repeated_names="last")
_SMALL = 2**26  # bytes of every other reply


def read_object(stream: IO[bytes]) -> dict[str, Any]:
    """The JSON object that a reply holds. Raises DecodeError, a ValueError, also when it is too long."""
    return object_of(stream.read(_SMALL + 1), _SMALL)


def object_of(data: bytes, max_bytes: int = LIMITS.max_bytes) -> dict[str, Any]:
    """As `read_object`, of bytes."""
    if len(data) > max_bytes:
        raise DecodeError(f"its reply is longer than {max_bytes:,} bytes")
    content = decode(data, LIMITS)
    if not isinstance(content, dict):
        raise DecodeError(f"its reply is a {type(content).__name__}, not an object")
    return content
