"""The Serve application: every deployment bound to its settings. Start it with `valor serve`, or by Serve YAML."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from ray.serve import Application, Deployment

from deployments.parts.depth import DepthDeployment
from deployments.parts.detector import DetectorDeployment
from deployments.parts.front_door import FrontDoor
from deployments.parts.judge import JudgeDeployment
from deployments.parts.policy import PolicyDeployment
from deployments.parts.writer import WriterDeployment
from valor_ray.config.judging import JudgeConfig, Part
from valor_ray.config.models import DepthConfig, DetectorConfig, PolicyConfig
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError

NAME = "valor"
EYES = ("detector", "depth")

_ARRIVING = 4096  # requests at the front door without a place: a connection and a few kilobytes each
_JUDGED_AT_A_TIME = 1000  # replies in one gateway replica; its own limits decide how many calls that makes
_MORE_AFTER_S = 5.0  # of waiting calls, before a replica is added
_LOOK_S = 2.0  # between Serve's looks whether a replica lives: so much later at most its successor starts
# For replicas, which serve.start's do not reach: a line for every call would take the interpreter's lock from the work.
_QUIET = {"log_level": "WARNING", "enable_access_log": False}
_SEEN_AT_A_TIME = 100  # calls in one replica of an evaluation's detector or depth model: enough for batches


class AppArgs(BaseModel):
    """`args:` of the Serve YAML."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)  # an address may hold a password

    profile: str = "local"
    overrides: list[str] = []  # as with --set: a.b=c


def parts(config: Config) -> tuple[str, ...]:
    """The names of the app's deployments, in the order in which users wait for them."""
    judge = ("judge",) if has_judge(config) and config.vlm_part != "judge" else ()
    return (*judge, config.vlm_part, "detector", "depth", "policy", "front_door")


def has_judge(config: Config) -> bool:
    """Whether the app has a gateway that can choose between answers: where settings want it, or one is there anyway."""
    return config.answer.select != "vote" or config.vlm_part == "judge"


def app(args: dict[str, Any]) -> Application:
    """The builder that Serve YAML names (`import_path: deployments.app:app`): AppArgs. Raises ConfigError."""
    try:
        chosen = AppArgs.model_validate(args)
    except ValidationError as error:
        raise ConfigError(f"args of the Serve YAML: {error}. It takes profile and overrides.") from error
    return build(Config.load(chosen.profile, chosen.overrides))


def build(config: Config, policy_run: str | None = None) -> Application:
    """Bind the deployments; nothing starts yet. policy_run: as of `policy_app`."""
    in_work = 2 * config.policy.max_ongoing * config.policy.replicas  # the front door's own limit
    policy = policy_app(config, policy_run)
    if config.policy.endpoint is not None:
        policy = writer_app(config, config.policy.endpoint.cache_dir)
    eyes = _eyes(config, in_work)
    # The front door refuses by itself, in JSON, what is too much; Serve must hand it all that it takes, and requests
    # whose bodies are still arriving.
    door = _part(
        FrontDoor,
        in_work + _ARRIVING,
        max_queued_requests=in_work + _ARRIVING,
        backpressure_config={"status_code": 429, "retry_after_s": 1},
    )
    vlm = _gateway(config.vlm, config.vlm_part, in_work).bind(config.vlm, None, config.vlm_part)
    judge = None
    if has_judge(config):
        own = config.vlm_part != "judge"
        judge = _gateway(config.judge, "judge", in_work).bind(config.judge, None, "judge") if own else vlm
    return door.bind(config, policy, eyes["detector"], eyes["depth"], vlm, judge)


def gateway_name(folder: str, part: Part) -> str:
    """Name of the app with an endpoint's gateway alone: each job has its own, by where its answers are kept."""
    return f"valor-{part}-{hashlib.sha256(folder.encode()).hexdigest()[:8]}"


def gateway_app(config: JudgeConfig, folder: str, part: Part) -> Application:
    """The gateway of an endpoint alone, for jobs; its deployment is named `part`.

    folder: where answers are kept if `cache_dir` names no place. part: "judge", or `config.vlm_part` with `config.vlm`.
    """
    return _gateway(config, part, _JUDGED_AT_A_TIME).bind(config, folder, part)


def policy_name(run: str) -> str:
    """Name of the app with the policy alone, of the training run in a folder."""
    return f"valor-policy-{hashlib.sha256(run.encode()).hexdigest()[:8]}"


def policy_app(config: Config, run: str | None) -> Application:
    """The policy alone, following what the training run in a folder publishes, with room for adapters where it trains
    those (grpo.lora_rank); None: with its own weights."""
    return _part(PolicyDeployment, config.policy.max_ongoing, **_model(config.policy)).bind(
        config.policy, run, None if run is None else config.grpo.lora_rank
    )


def writer_app(config: Config, folder: str | Path | None, *, patient: bool = False) -> Application:
    """The gateway of `policy.endpoint` as the policy. folder: where replies are kept; None: for this service's life.
    patient: as of EndpointWriter."""
    kept = None if folder is None else str(folder)
    return _part(WriterDeployment, config.policy.max_ongoing, num_replicas=config.policy.replicas).bind(
        config.policy, kept, patient
    )


def eye_name(part: str, run: str) -> str:
    """Name of the app with one of EYES alone, for the evaluation of the training run in a folder."""
    return f"valor-{part}-{hashlib.sha256(run.encode()).hexdigest()[:8]}"


def eye_apps(config: Config) -> dict[str, Application]:
    """EYES, each an app of its own: one app for both would need a process more, as their ingress."""
    return _eyes(config, _SEEN_AT_A_TIME)


def _eyes(config: Config, max_ongoing: int) -> dict[str, Application]:
    detector = _part(DetectorDeployment, max_ongoing, **_model(config.detector))
    depth = _part(DepthDeployment, max_ongoing, **_model(config.depth))
    return {"detector": detector.bind(config.detector), "depth": depth.bind(config.depth)}


def _gateway(config: JudgeConfig, part: Part, max_ongoing: int) -> Deployment:
    return _part(JudgeDeployment, max_ongoing, name=part, **_replicas(config, config.first_in_flight))


# CPU shares only place the replicas, and in all they fit a machine of two cores: `serve run` counts physical ones.
def _part(deployment: Deployment, max_ongoing: int, **options: Any) -> Deployment:
    return deployment.options(
        max_ongoing_requests=max_ongoing,
        max_constructor_retry_count=1,  # a part that cannot start says so at once
        health_check_period_s=_LOOK_S,
        logging_config=_QUIET,
        graceful_shutdown_timeout_s=5,
        graceful_shutdown_wait_loop_s=0.5,
        **{"ray_actor_options": {"num_cpus": 0.2}, **options},
    )


def _replicas(config: JudgeConfig | DetectorConfig | DepthConfig, busy: int) -> dict[str, Any]:
    """busy: calls in work at a replica from which on another one would help."""
    if config.max_replicas is None or config.max_replicas <= config.replicas:
        return {"num_replicas": config.replicas}
    return {
        "autoscaling_config": {
            "min_replicas": config.replicas,
            "max_replicas": config.max_replicas,
            "target_ongoing_requests": busy,
            "upscale_delay_s": _MORE_AFTER_S,
        }
    }


def _model(config: PolicyConfig | DetectorConfig | DepthConfig) -> dict[str, Any]:
    if isinstance(config, PolicyConfig):
        replicas: dict[str, Any] = {"num_replicas": config.replicas}
    else:
        replicas = _replicas(config, 2 * config.max_batch)
    return {
        **replicas,
        "ray_actor_options": {"num_cpus": 0.4, "num_gpus": config.num_gpus},
    }
