"""Where the Serve of a cluster listens, and whether an app has room there: asked before one is deployed, and after.

Serve outlives the jobs that use it, and keeps the address that the first of them has given, none where that wanted no
HTTP. What `serve.start` asks for later is passed over, and an app of the same name is replaced.
"""

from __future__ import annotations

from typing import Any

import ray

from valor_ray.config.service import ServerConfig
from valor_ray.errors import ConfigError, ServiceError

# Every address of a machine: the one by which it reaches itself.
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_ITSELF = ("127.0.0.1", "::1", "localhost")
_OR_HERE = "or unset RAY_ADDRESS: the app then runs on this machine."


def check_serve(server: ServerConfig, app: str) -> None:
    """Whether an app can come up at host and port of the cluster, at the path /; nothing where no Serve runs there yet.

    Raises ConfigError for an app that is there already, ServiceError where Serve does not listen so.
    """
    client = _client()
    if client is None:
        return
    details: dict[str, Any] = client.get_serve_details()
    for name, other in details["applications"].items():
        if name == app or other["route_prefix"] == "/":
            raise ConfigError(
                f"The app {name} already runs on the cluster of RAY_ADDRESS; it is not replaced. Ask that one (--url), "
                f"or end it first, there: python -c \"from ray import serve; serve.delete('{name}')\" (a RayService: "
                f"kubectl delete), {_OR_HERE}"
            )
    if not details["proxies"]:
        raise ServiceError(
            "Serve already runs on the cluster of RAY_ADDRESS, for a job and without HTTP: nothing would listen. When "
            f"no job needs it, end it there (`serve shutdown`, which ends all its apps) and try again, {_OR_HERE}"
        )
    host, port = client.http_config.host, client.http_config.port
    if (host, port) != (server.host, server.port):
        raise ServiceError(
            f"Serve on the cluster of RAY_ADDRESS listens on {host}:{port} for as long as it runs, not on "
            f"{server.host}:{server.port}. Give `valor serve` --host {host} --port {port}, or end Serve there (`serve "
            f"shutdown`, which ends all its apps), {_OR_HERE}"
        )


def here(host: str) -> str:
    """By which a machine reaches what listens on `host` of its own."""
    return _ANYWHERE.get(host, host)


def reached_at(server: ServerConfig) -> str:
    """The host by which this machine reaches the app that is up on a cluster: its own where a proxy runs here, else
    that of a node that has one. Raises ServiceError where those listen for their own machines alone."""
    proxies: dict[str, Any] = _client().get_serve_details()["proxies"]
    up = ("STARTING", "HEALTHY")  # as Serve knows it, a little late
    listening = {node: proxy["node_ip"] for node, proxy in proxies.items() if proxy["status"] in up}
    if ray.get_runtime_context().get_node_id() in listening or server.host not in (*_ANYWHERE, *_ITSELF):
        return here(server.host)
    if server.host in _ANYWHERE and listening:
        return str(min(listening.values()))
    nodes = ", ".join(sorted(listening.values())) or "no node"
    raise ServiceError(
        f"Nothing listens on this machine: Serve's proxies run on {nodes}, and listen on {server.host} there. Give "
        f"--host 0.0.0.0, {_OR_HERE}"
    )


def _client() -> Any:
    """Of the Serve that runs; None where none does. There is no public way to its address.

    Looked up anew: what serve.status asks may be of a Ray that has ended, where this process had one before.
    """
    from ray.serve.context import _connect

    return _connect(raise_if_no_controller_running=False)
