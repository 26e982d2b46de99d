"""examples/cluster: manifests that KubeRay takes, whose images, commands, settings and keys are ours.

The fields below were checked by hand against KubeRay's CRDs of version 1.7.0 (the whole manifests once against their
schemas, too); nothing here asks a cluster.
"""

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile import environment, instructions

from deployments.app import AppArgs, app
from valor_ray.cli import build_parser
from valor_ray.config.files import profile_names
from valor_ray.config.service import staging_folder
from valor_ray.config.tree import Config
from valor_ray.runs.store.place import url_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples/cluster"
RAY = ("raycluster", "rayjob", "rayservice")

# KubeRay 1.7.0, ray.io/v1: the fields of each kind that are used here, of those that there are.
CLUSTER = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs", "gcsFaultToleranceOptions"}
SPECS = {
    "RayCluster": CLUSTER,
    "RayJob": {
        *("entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"),
        *("rayClusterSpec", "runtimeEnvYAML", "submissionMode", "activeDeadlineSeconds", "metadata"),
    },
    "RayService": {"serveConfigV2", "rayClusterConfig", "serveService", "upgradeStrategy"},
}
WORKERS_NEED = {"groupName", "minReplicas", "maxReplicas", "template"}
WORKERS_MAY = WORKERS_NEED | {"replicas", "rayStartParams", "numOfHosts", "idleTimeoutSeconds", "labels"}
HEAD_NEEDS, HEAD_MAY = {"template"}, {"template", "rayStartParams", "serviceType", "headService", "labels"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text()))


def manifest(name: str) -> dict[str, Any]:
    (one,) = documents(name)
    return one


def cluster(name: str) -> dict[str, Any]:
    """The RayCluster's spec in a manifest."""
    spec = manifest(name)["spec"]
    return spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec


def pods(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(head or the group's name, pod spec)"""
    yield "head", cluster(name)["headGroupSpec"]["template"]["spec"]
    for group in cluster(name)["workerGroupSpecs"]:
        yield group["groupName"], group["template"]["spec"]


def secret_keys() -> dict[str, set[str]]:
    return {one["metadata"]["name"]: set(one["stringData"]) for one in documents("secret")}


def served() -> dict[str, Any]:
    return yaml.safe_load(manifest("rayservice")["spec"]["serveConfigV2"])


def trained() -> Any:
    """The parsed options of the RayJob's command."""
    words = shlex.split(manifest("rayjob")["spec"]["entrypoint"])
    assert words[:2] == ["python", "-m"]
    import_module(words[2])
    command = {"jobs.train_reasoning": ["train", "reasoning"]}[words[2]]
    return build_parser(command[:1]).parse_args([*command, *words[3:]])


@pytest.mark.parametrize(("name", "kind"), zip(RAY, SPECS, strict=True))
def test_kind_version_and_fields_are_kuberays(name: str, kind: str) -> None:
    whole, spec = manifest(name), cluster(name)
    assert (whole["apiVersion"], whole["kind"]) == ("ray.io/v1", kind)
    assert set(whole["spec"]) <= SPECS[kind] and set(spec) <= CLUSTER
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?", whole["metadata"]["name"])
    assert HEAD_NEEDS <= set(spec["headGroupSpec"]) <= HEAD_MAY
    for group in spec["workerGroupSpecs"]:
        assert WORKERS_NEED <= set(group) <= WORKERS_MAY
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    assert spec["authOptions"] == {"mode": "token"}  # else whoever reaches the port runs code with all keys
    assert spec["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}  # strings, and no work on the head


@pytest.mark.parametrize("name", RAY)
def test_ray_is_the_locks_and_the_image_is_ours(name: str) -> None:
    lock = (ROOT / "requirements/gpu.lock").read_text()
    assert f"\nray=={cluster(name)['rayVersion']}\n" in lock
    images = {container["image"] for _, pod in pods(name) for container in pod["containers"]}
    assert images == {"registry.example.com/valor-ray:gpu"}
    assert "-t valor-ray:gpu ." in (ROOT / "docker/gpu.Dockerfile").read_text()


@pytest.mark.parametrize("name", RAY)
def test_pods_run_as_the_images_user_with_its_folders_as_volumes(name: str) -> None:
    (user,) = [int(rest.split(":")[0]) for word, rest in instructions("gpu") if word == "USER"]
    image = environment("gpu")
    for _, pod in pods(name):
        rights = pod["securityContext"]
        assert rights["runAsNonRoot"] and {rights[f"runAs{who}"] for who in ("User", "Group")} == {user}
        assert rights["fsGroup"] == user
        (container,) = pod["containers"]
        volumes = {volume["name"]: volume["emptyDir"] for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        assert mounts.keys() >= {"/dev/shm", image["VALOR_STAGING"], image["HF_HOME"]}
        assert mounts["/dev/shm"]["medium"] == "Memory" and mounts[image["VALOR_STAGING"]] == {}
        assert len(mounts) == len(volumes)
        assert gib(mounts["/dev/shm"]["sizeLimit"]) < gib(container["resources"]["limits"]["memory"]) / 2


@pytest.mark.parametrize("name", RAY)
def test_the_environment_is_what_our_code_reads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = "".join(path.read_text() for path in (ROOT / "valor_ray/config").glob("*.py"))
    for _, pod in pods(name):
        (container,) = pod["containers"]
        given = {variable["name"]: variable["value"] for variable in container["env"]}
        assert given.keys() == {"VALOR_STAGING", "HF_HOME"} and given.items() <= environment("gpu").items()
        assert container["envFrom"] == [{"secretRef": {"name": "valor-keys"}}]
        monkeypatch.setenv("VALOR_STAGING", given["VALOR_STAGING"])
        assert staging_folder() == given["VALOR_STAGING"] and '"VALOR_STAGING"' in sources


@pytest.mark.parametrize("name", RAY)
def test_pods_are_probed_and_scraped(name: str) -> None:
    for group, pod in pods(name):
        (container,) = pod["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports["metrics"] == 8080
        for probe in ("readinessProbe", "livenessProbe"):
            command = " ".join(container[probe]["exec"]["command"])
            assert "http://localhost:52365/api/local_raylet_healthz | grep success" in command
            assert ("8265/api/gcs_healthz" in command) == (group == "head")
            serving = name == "rayservice" and group != "head" and probe == "readinessProbe"
            assert (":8000/-/healthz" in command) == serving
            assert "wget" in " ".join(rest for word, rest in instructions("gpu") if word == "RUN")
    (scraped,) = documents("podmonitor")
    assert scraped["spec"]["podMetricsEndpoints"][0]["port"] == "metrics"


def test_the_keys_that_the_profile_names_are_in_the_secret() -> None:
    keys = secret_keys()["valor-keys"]
    for config in (trained_config(), served_config()):
        for part in ("judge", "vlm"):
            named = {
                one.api_key_env for one in getattr(config, part).endpoints(part).values() if one.base_url
            }
            assert named and named <= keys
        assert config.server.token_env is None or config.server.token_env in keys
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= keys  # the run is at s3://
    written = (FOLDER / "secret.yaml").read_text()
    values = [value for one in documents("secret") for value in one["stringData"].values()]
    assert set(values) == {"CHANGE-ME"} and "CHANGE-ME" in written


def trained_config() -> Config:
    return Config.load(trained().profile, trained().overrides)


def served_config() -> Config:
    args = AppArgs.model_validate(served()["applications"][0]["args"])
    return Config.load(args.profile, args.overrides)


def test_the_job_is_a_command_of_ours_on_a_run_at_a_url() -> None:
    options = trained()
    assert url_of(options.folder) == "s3://bucket/runs/first" and options.profile == "gpu"
    spec = manifest("rayjob")["spec"]
    assert spec["shutdownAfterJobFinishes"] and spec["backoffLimit"] > 0  # the same command goes on


def test_the_service_is_the_app_with_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    config = served()
    (application,) = config["applications"]
    module, _, builder = application["import_path"].partition(":")
    assert getattr(import_module(module), builder) is app
    assert app(application["args"])._bound_deployment.name == "front_door"
    assert config["http_options"] == {"host": "0.0.0.0", "port": 8000}
    monkeypatch.setenv("VALOR_TOKEN", "secret")
    assert served_config().server.token() == "secret"  # who is reached from elsewhere asks for one


@pytest.mark.parametrize("name", RAY)
def test_a_group_of_workers_has_the_gpus_that_the_profile_wants(name: str) -> None:
    config = served_config() if name == "rayservice" else trained_config()
    eyes = sum(part.num_gpus * part.replicas for part in (config.detector, config.depth))
    policy, learner = (
        config.policy.num_gpus * config.policy.replicas,
        config.grpo.num_gpus * config.grpo.workers,
    )
    wanted = policy + (eyes if name == "rayservice" else max(learner, eyes))
    (group,) = cluster(name)["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    limits, requests = container["resources"]["limits"], container["resources"]["requests"]
    assert limits["nvidia.com/gpu"] == requests["nvidia.com/gpu"]
    assert wanted <= group["replicas"] * limits["nvidia.com/gpu"]
    assert learner <= limits["nvidia.com/gpu"] or name == "rayservice"  # on one node
    assert "nvidia.com/gpu" not in str(cluster(name)["headGroupSpec"])


def test_all_can_be_applied_beside_each_other() -> None:
    """Names of kinds and of the services that KubeRay makes of them."""
    named = [manifest(name)["metadata"]["name"] for name in RAY]
    assert len(set(named)) == len(named)
    page = (ROOT / "docs/cluster.md").read_text()
    assert (
        f"service/{named[0]}-head-svc" in page
        and f"job/{named[1]}" in page
        and f"{named[2]}-serve-svc" in page
    )


def test_ray_keeps_its_state_in_the_redis_that_is_there() -> None:
    service, redis = documents("redis")
    (container,) = redis["spec"]["template"]["spec"]["containers"]
    for name in ("raycluster", "rayservice"):
        options = cluster(name)["gcsFaultToleranceOptions"]
        port = service["spec"]["ports"][0]["port"]
        assert options["redisAddress"] == f"{service['metadata']['name']}:{port}"
        wanted = options["redisPassword"]["valueFrom"]["secretKeyRef"]
        assert wanted["key"] in secret_keys()[wanted["name"]]
        assert container["env"][0]["valueFrom"]["secretKeyRef"] == wanted
    assert service["spec"]["selector"] == redis["spec"]["template"]["metadata"]["labels"]
    assert redis["spec"]["serviceName"] == service["metadata"]["name"]


def gib(text: str) -> float:
    return float(text.removesuffix("Gi"))


def test_the_page_on_clusters_applies_what_there_is_and_its_commands_parse() -> None:
    page = (ROOT / "docs/cluster.md").read_text()
    lines = [
        shlex.split(line)
        for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
        for line in block.splitlines()
    ]
    applied = {words[-1] for words in lines if words[:2] == ["kubectl", "apply"]}
    assert applied == {f"examples/cluster/{path.name}" for path in FOLDER.glob("*.yaml")}
    ours = [words[1:] for words in lines if words and words[0].endswith("/valor")]
    assert len(ours) == 2
    for words in ours:
        build_parser([words[0]]).parse_args(words)
    (job,) = [words[words.index("--") + 1 :] for words in lines if words[:2] == ["ray", "job"]]
    assert shlex.join(job) == manifest("rayjob")["spec"]["entrypoint"]
    sized = re.findall(r"^\| [^|]+ \| `([\w-]+)` \|", page, re.MULTILINE)
    assert sorted(sized) == profile_names()
    for link in re.findall(r"\]\(([\w./-]+)\)", page):
        assert (ROOT / "docs" / link).exists(), link
    titles = {
        panel["title"] for panel in yaml.safe_load((FOLDER / "grafana/valor_ray.json").read_text())["panels"]
    }
    assert {"Seconds of a step, by what they went on", "Share of missing verdicts"} <= titles


@pytest.mark.parametrize("name", RAY)
def test_a_worker_that_must_go_says_so_to_ray_and_waits_within_its_grace(name: str) -> None:
    for group, pod in pods(name):
        (container,) = pod["containers"]
        if group == "head":
            assert "lifecycle" not in container
            continue
        python, _m, module, option, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
        assert (python, module, option) == ("python", "jobs.leave_node", "--seconds")
        import_module(module)
        assert int(seconds) + 10 <= pod["terminationGracePeriodSeconds"]
