"""What a running service says of its parts, by /healthz; with the standard library alone, as `ask`."""

from __future__ import annotations

from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from valor_ray.client.reply import read_object

_OPENER = build_opener(ProxyHandler({}))  # never through a proxy meant for the internet
_NO_SERVER = "it is not a valor server"
_WEIGHTS = ("policy", "detector")


def part_state(url: str, part: str, timeout_s: float) -> dict[str, Any] | str:
    """What /healthz says of a part, also where another is not well; or why it says nothing."""
    states = _states(url, timeout_s)
    if isinstance(states, str):
        return states
    state = states.get(part)
    return state if isinstance(state, dict) else _NO_SERVER


def versions(url: str, timeout_s: float) -> dict[str, str]:
    """Of the weights that serve, by part; without a part that does not say it in time."""
    states = _states(url, timeout_s)
    if isinstance(states, str):
        return {}
    said = {part: states.get(part) for part in _WEIGHTS}
    return {
        part: state["version"]
        for part, state in said.items()
        if isinstance(state, dict) and isinstance(state.get("version"), str)
    }


def _states(url: str, timeout_s: float) -> dict[str, Any] | str:
    try:
        with _OPENER.open(url.rstrip("/") + "/healthz", timeout=timeout_s) as response:
            health = read_object(response)
    except HTTPError as error:  # 503 while some part is not well
        try:
            health = read_object(error)
        except (ValueError, HTTPException, OSError):
            return f"it answers with status {error.code}"
    except ValueError:
        return _NO_SERVER
    except (URLError, HTTPException, OSError) as error:
        return f"no answer ({getattr(error, 'reason', error)})"
    parts = health.get("parts")
    return parts if isinstance(parts, dict) else _NO_SERVER
