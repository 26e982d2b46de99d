"""The Dockerfiles: linted, and what they promise is in them. No image is built here: that needs a registry."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dockerfile import FOLDER, environment, instructions, usage

from valor_ray import cli
from valor_ray.config.tree import Config

ROOT = FOLDER.parent
IMAGES = ("cpu", "gpu")


@pytest.mark.parametrize("image", IMAGES)
def test_hadolint_has_nothing_to_say(image: str) -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("no hadolint: make setup installs it")
    done = subprocess.run([hadolint, FOLDER / f"{image}.Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "", done.stdout + done.stderr


@pytest.mark.parametrize("image", IMAGES)
def test_what_is_copied_is_there(image: str) -> None:
    sources = [rest for word, rest in instructions(image) if word == "COPY" and "--from=" not in rest]
    assert sources
    ignored = (ROOT / ".dockerignore").read_text().split()
    for rest in sources:
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source not in ignored
    stages = {
        rest.split(" AS ")[1] for word, rest in instructions(image) if word == "FROM" and " AS " in rest
    }
    assert {part for _, rest in instructions(image) for part in re.findall(r"--from=(\S+)", rest)} == stages


@pytest.mark.parametrize("image", IMAGES)
def test_nothing_runs_as_root_and_folders_for_volumes_are_the_users(image: str) -> None:
    done = instructions(image)
    (user,) = [rest for word, rest in done if word == "USER"]
    (made,) = [rest for _, rest in done if "useradd" in rest]
    uid, name = re.search(r"useradd --create-home --uid (\d+) (\w+)", made).groups()
    assert user == f"{uid}:{uid}"  # a number, so that Kubernetes can see that it is not root
    after = [word for word, _ in done[[word for word, _ in done].index("USER") :]]
    assert {"CMD", "HEALTHCHECK"} <= set(after) and "RUN" not in after
    owned = re.search(rf"install -d -o {name} -g {name} (.*)", made).group(1).split()
    mounted = re.findall(r"-v \w+:(\S+)", usage(image))
    folders = {environment(image)[variable] for variable in ("HF_HOME", "VALOR_STAGING")}
    assert folders | set(mounted) <= set(owned)
    assert f"/home/{name}/.cache" in owned  # the parent would be root's
    assert ("WORKDIR", f"/home/{name}") in done


def test_the_environment_that_the_documents_name_is_the_profiles() -> None:
    config = Config.load("gpu")
    assert re.findall(r"-e (\w+)", usage("gpu")) == [config.vlm.api_key_env]
    assert "-v hub:" + environment("gpu")["HF_HOME"] in usage("gpu")
    readme = (ROOT / "README.md").read_text()
    for variable in (config.vlm.api_key_env, config.judge.api_key_env):
        assert f"`{variable}`" in readme


@pytest.mark.parametrize("image", IMAGES)
def test_it_serves_on_the_port_that_it_shows_and_checks(image: str) -> None:
    done = dict(instructions(image))
    words = [word.strip(' "') for word in done["CMD"].strip("[]").split(",")]
    parsed = cli.build_parser([words[1]]).parse_args(words[1:])
    config = Config.load(parsed.profile)
    port = done["EXPOSE"]
    assert parsed.host == "0.0.0.0" and int(port) == config.server.port
    assert f"http://127.0.0.1:{port}/healthz" in done["HEALTHCHECK"] and "wget" in done["HEALTHCHECK"]
    assert re.search(r"apt-get install .*\bwget\b", " ".join(rest for _, rest in instructions(image)))
    assert f":{port}:{port}" in usage(image)


def test_cuda_is_that_of_the_locks_torch_and_python_is_a_release() -> None:
    bases = [rest for word, rest in instructions("gpu") if word == "FROM"]
    toolkit = re.search(
        r"^cuda-toolkit==(\d+\.\d+)", (ROOT / "requirements/gpu.lock").read_text(), re.M
    ).group(1)
    assert re.fullmatch(rf"nvidia/cuda:{re.escape(toolkit)}\.\d-devel-\w+[\d.]+ AS cuda", bases[0])
    assert any(f"/usr/local/cuda-{toolkit} " in rest for word, rest in instructions("gpu") if word == "COPY")
    assert bases[1] == "python:3.11-slim-bookworm" == dict(instructions("cpu"))["FROM"]
