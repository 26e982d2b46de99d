"""Run the app on this machine (or on the cluster of RAY_ADDRESS) for as long as a `with` block lasts."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import ray
from ray import serve
from ray.exceptions import RayTaskError
from ray.serve import Application
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.actors.judge_ledger import close_judge_ledger
from deployments.actors.publications import close_publications
from deployments.actors.sandbox_pool import close_pools
from deployments.app import (
    EYES,
    NAME,
    build,
    eye_apps,
    eye_name,
    gateway_app,
    gateway_name,
    has_judge,
    parts,
    policy_app,
    policy_name,
)
from deployments.failures import LOGS, last_line
from deployments.learner.room import Group, reserved
from deployments.parts.following import check_followed
from deployments.running.nodes import check_nodes
from deployments.running.proxies import check_serve, here, reached_at
from deployments.running.readiness import Progress, came_up, wait_ready
from deployments.running.signals import ctrl_c_waits, undisturbed
from deployments.running.threads import ray_calls
from valor_ray.config.judging import WRITER, JudgeConfig, Part
from valor_ray.config.models import PolicyConfig, resolve_model
from valor_ray.config.tree import Config
from valor_ray.doctor.listening import why_not
from valor_ray.errors import ConfigError, ServiceError
from valor_ray.placement.nodes import NeverFits, Node, Rule
from valor_ray.placement.serving import serving_placement
from valor_ray.placement.training import placement

_LOGGING = {"log_level": "WARNING", "enable_access_log": False}
_STARTS = (
    4  # Ray gives its processes 30 s, which a busy machine may not keep: no reason to end a job of hours
)
END_S = 10.0  # for processes to end by themselves before they are killed


@contextmanager
def serving(
    config: Config, progress: Progress = lambda line: None, *, policy_run: str | None = None
) -> Iterator[str]:
    """The URL of the running app; on the way out nothing that was started is left running.

    `valor serve`, `demo` and `eval` use it; entering waits until every part is ready, leaving until all has ended. An
    app that already runs on the cluster of RAY_ADDRESS is left as it is.
    progress: called with one line whenever a part gets ready, and every few seconds. policy_run: a folder of which the
    policy takes whole weights, whenever some are published for it; None: it keeps those of the settings.
    Raises ConfigError before anything is started (model files, token, port, GPUs, such an app), ServiceError when a
    part fails or the cluster's Serve listens elsewhere.
    """
    follow = config.detector.follow
    following = None if follow is None else check_followed(follow, "--follow")
    _check(config)
    if following is not None:
        progress(following)
    with running_ray(config, progress):
        if config.ray.address() is not None:
            check_serve(config.server, NAME)
        check_placed(config, progress, partial(serving_placement, config))
        # from here on what is taken away is our own
        with nullcontext() if follow is None else _closed(config, Path(follow)), _ended(config, NAME):
            yield _deploy(config, progress, policy_run)


@contextmanager
def judging(
    config: Config, folder: Path, progress: Progress = lambda line: None, part: Part = "judge"
) -> Iterator[DeploymentHandle]:
    """The gateway of one endpoint alone, for a job, on this machine or RAY_ADDRESS's: a handle of its deployment.

    part: the section of `config` that names the endpoint. folder: where answers are kept if its `cache_dir` names no
    place. Raises ConfigError, ServiceError.
    """
    endpoint: JudgeConfig = getattr(config, part)
    endpoint.check_keys(part)
    with running_ray(config, progress), _ended(config, gateway_name(str(folder), part)):
        yield deploy_gateway(endpoint, folder, part, progress)


def deploy_gateway(
    endpoint: JudgeConfig, folder: Path, part: Part, progress: Progress = lambda line: None
) -> DeploymentHandle:
    """Start an endpoint's gateway on the Ray that runs, or give the one of this folder and part these settings."""
    name = gateway_name(str(folder), part)
    serve.start(proxy_location="Disabled", logging_config=_LOGGING)
    serve.run_many(
        [serve.RunTarget(gateway_app(endpoint, str(folder), part), name=name, route_prefix=None)],
        wait_for_applications_running=False,
    )
    wait_ready(progress, name, (part,))
    return serve.get_deployment_handle(part, name)


@contextmanager
def training(
    config: Config,
    run: Path,
    answers: Path,
    progress: Progress = lambda line: None,
    *,
    evaluated: bool = True,
    learns: bool = True,
) -> Iterator[DeploymentHandle]:
    """The judge gateway and the policy that follows the weights published in `run`: a handle of the policy.

    The policy is placed beside room for the learner's group (`learns`), which is then free for whoever has his turn.

    `deployments.reasoning` uses it; entering waits until both are ready, the policy with the newest published weights.
    answers: the folder of judge answers, which names the gateway. evaluated: whether there will be `seeing`.
    Raises ConfigError, ServiceError.
    """
    for model in (config.policy.model, *((config.detector.model, config.depth.model) if evaluated else ())):
        resolve_model(model)
    config.judge.check_keys("judge")
    if evaluated:
        config.vlm.check_keys(config.vlm_part)
    name, judge = policy_name(str(run)), gateway_name(str(answers), "judge")
    with (
        running_ray(config, progress),
        _closed(config, run),
        _ended(config, name),
        _ended(config, judge),
    ):
        without = _without(config, learns=learns, evaluated=evaluated)
        check_placed(config, progress, partial(placement, without))
        serve.start(proxy_location="Disabled", logging_config=_LOGGING)
        with reserved(Group(config.grpo.workers, config.grpo.num_gpus if learns else 0), progress):
            serve.run_many(
                [
                    serve.RunTarget(
                        gateway_app(config.judge, str(answers), "judge"), name=judge, route_prefix=None
                    ),
                    serve.RunTarget(policy_app(config, str(run)), name=name, route_prefix=None),
                ],
                wait_for_applications_running=False,
            )
            wait_ready(progress, judge, ("judge",))
            wait_ready(progress, name, ("policy",))
        yield serve.get_deployment_handle("policy", name)


@asynccontextmanager
async def seeing(
    config: Config, run: Path, progress: Progress = lambda line: None
) -> AsyncIterator[dict[str, DeploymentHandle]]:
    """Handles of the detector and of the depth model, by name, on the Ray that runs; in memory for the block only.

    The evaluation of a training run uses it, before and after learning; entering waits until both are ready, leaving
    until they are gone. Raises ServiceError.
    """
    names = {part: eye_name(part, str(run)) for part in EYES}
    try:
        serve.run_many(
            [
                serve.RunTarget(app, name=names[part], route_prefix=None)
                for part, app in eye_apps(config).items()
            ],
            wait_for_applications_running=False,
        )
        for part, name in names.items():
            await came_up(progress, name, (part,))
        yield {part: serve.get_deployment_handle(part, name) for part, name in names.items()}
    finally:
        if ray.is_initialized():
            for name in names.values():
                serve.delete(name)


@contextmanager
def apps_up(
    config: Config, apps: Mapping[str, tuple[str, Application]], progress: Progress, *, ends: bool = False
) -> Iterator[dict[str, DeploymentHandle]]:
    """Apps on the Ray that runs, for the block, by their one deployment: handles of these.

    Mining and evaluation use it; entering waits until all are ready. ends: take them down also where all of our own Ray
    will end, for their memory. Raises ServiceError.
    """
    serve.start(proxy_location="Disabled", logging_config=_LOGGING)
    try:
        serve.run_many(
            [serve.RunTarget(app, name=name, route_prefix=None) for name, app in apps.values()],
            wait_for_applications_running=False,
        )
        for part, (name, _app) in apps.items():
            wait_ready(progress, name, (part,))
        yield {part: serve.get_deployment_handle(part, name) for part, (name, _app) in apps.items()}
    finally:
        if ray.is_initialized() and (ends or config.ray.address() is not None):
            for name, _app in apps.values():
                serve.delete(name)


@contextmanager
def _closed(config: Config, run: Path) -> Iterator[None]:
    """Ends the actor of a run's published weights on a cluster that goes on; on our own Ray all ends anyway."""
    try:
        yield
    finally:
        if config.ray.address() is not None and ray.is_initialized():
            close_publications(str(run))


@contextmanager
def _ended(config: Config, app: str) -> Iterator[None]:
    """Takes an app away again from a cluster that goes on without us; on our own Ray all ends anyway."""
    try:
        yield
    finally:
        if config.ray.address() is not None and ray.is_initialized():
            with suppress(RayServeException):  # what failed before Serve was up is the error to be told
                serve.delete(app)


@contextmanager
def running_ray(config: Config, progress: Progress) -> Iterator[None]:
    """A Ray for as long as the block lasts: our own, or the cluster of RAY_ADDRESS, which goes on afterwards.

    Raises ServiceError where it does not start, ConfigError for a cluster whose nodes are not like this machine.
    """
    address = config.ray.address()
    before = _descendants()
    ray_calls.open()
    try:
        progress("starting Ray" if address is None else f"connecting to Ray at {address}")
        _start_ray(config, address, progress)
        if address is not None:
            check_nodes(config)
        yield
    finally:
        with undisturbed():
            if (
                ray.is_initialized() and address is None
            ):  # a cluster keeps its ledger and sandboxes for others
                close_judge_ledger()
                close_pools()
            started = _descendants() - before
            try:
                ray_calls.close()
            finally:
                ray.shutdown()
                _end(started)


def _check(config: Config) -> None:
    """What can be known to fail before minutes are spent on starting."""
    check_policy(config.policy)
    for model in (config.detector.model, config.depth.model):
        resolve_model(model)
    config.server.token()
    config.vlm.check_keys(config.vlm_part)
    if has_judge(config):
        config.judge.check_keys("judge")
    host, port = config.server.host, config.server.port
    if config.ray.address() is None and (reason := why_not(host, port)):  # a cluster's are other machines
        raise ServiceError(
            f"Cannot listen on {host}:{port} ({reason}). Another program may use the port: "
            f"stop it, or choose another with --port."
        )


def check_policy(config: PolicyConfig) -> None:
    """Raises ConfigError where its model is not there, or the key of its endpoint is not set."""
    if config.endpoint is None:
        resolve_model(config.model)
    else:
        config.endpoint.access(WRITER)


def cluster_nodes() -> list[Node]:
    """The machines of the Ray that runs, and how many GPUs each has."""
    own, nodes = ray.get_runtime_context().get_node_id(), [node for node in ray.nodes() if node["Alive"]]
    addresses = Counter(node["NodeManagerAddress"] for node in nodes)

    def name(node: dict[str, Any]) -> str:
        address = str(node["NodeManagerAddress"])
        return address if addresses[address] == 1 else f"{address} ({node['NodeID'][:8]})"

    return [
        Node.of(name(node), int(node["Resources"].get("GPU", 0)), here=node["NodeID"] == own)
        for node in nodes
    ]


def check_placed(config: Config, progress: Progress, rule: Rule) -> None:
    """Raises ConfigError where this machine cannot hold what a rule places; a cluster may get more nodes."""
    try:
        rule(cluster_nodes())
    except ConfigError as error:
        if config.ray.address() is None or isinstance(error, NeverFits):
            raise
        progress(f"{error} Waiting for more of them.")


def _without(config: Config, *, learns: bool, evaluated: bool) -> Config:
    """The settings of a training run that does not learn, or is not evaluated."""
    grpo = config.grpo.model_copy(
        update={
            "num_gpus": config.grpo.num_gpus if learns else 0,
            "eval_questions": config.grpo.eval_questions if evaluated else 0,
        }
    )
    return config.model_copy(update={"grpo": grpo})


def _start_ray(config: Config, address: str | None, progress: Progress) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 makes a service starve beside any other load
    # At four processes a core it warns of "too many": every job of ours on two cores has as many, and waits in most.
    # It leaves twice this number out of the count; they are started where objects are spilled, and only then.
    os.environ.setdefault("RAY_max_io_workers", "12")
    store = config.ray.object_store_mib
    own: dict[str, Any] = {
        "num_cpus": config.ray.num_cpus,
        "object_store_memory": None if store is None else store * 2**20,
        "include_dashboard": False,
    }
    before = _descendants()
    for tries_left in reversed(range(_STARTS)):
        try:
            with ctrl_c_waits():
                # "local": never some other Ray that happens to run on this machine
                ray.init(
                    address=address or "local",
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                    **(own if address is None else {}),
                )
            break
        except Exception as error:  # Ray raises a bare Exception when its processes do not come up
            ray.shutdown()
            # Ray leaves what came up late, and the next try has to bear it.
            _end(_descendants() - before, after_s=0)
            if not tries_left:
                raise ServiceError(
                    f"Ray did not start, tried {_STARTS} times: {error} `valor doctor` checks memory and ports."
                ) from error
            progress(f"Ray did not start ({error}); trying again, {tries_left} tries left")
    logging.getLogger("ray.serve").setLevel(logging.ERROR)  # it warns of every slow answer


def _deploy(config: Config, progress: Progress, policy_run: str | None = None) -> str:
    host, port = config.server.host, config.server.port
    try:
        serve.start(http_options={"host": host, "port": port}, logging_config=_LOGGING)
    except RayTaskError as error:  # the port was free when Ray began to start
        raise ServiceError(
            f"Ray Serve does not listen on {host}:{port}: {last_line(error)} Where the port is taken meanwhile, give "
            f"it once more, or choose another with --port. Logs: {LOGS}/serve."
        ) from error
    serve.run_many(
        [serve.RunTarget(build(config, policy_run), name=NAME, route_prefix="/")],
        wait_for_applications_running=False,
        wait_for_ingress_deployment_creation=False,
    )
    wait_ready(progress, NAME, parts(config))
    shown = here(host) if config.ray.address() is None else reached_at(config.server)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def _end(processes: set[psutil.Process], after_s: float = END_S) -> None:
    """Wait for the processes of a Ray that was shut down (engines, judges, workers), then kill what is left."""
    _, alive = psutil.wait_procs(processes, timeout=after_s)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=END_S)
