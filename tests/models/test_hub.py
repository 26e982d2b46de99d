"""`owner/name@revision`: what is in the hub's cache loads without a network; what is not there is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from valor_ray.config.models import CHECKPOINTS
from valor_ray.errors import ConfigError
from valor_ray.models.hub import loadable

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache of a machine without a network; `v1` is COMMIT."""
    repository = tmp_path / "models--owner--name"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "v1").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return snapshot


@pytest.mark.parametrize("revision", [COMMIT, "v1"])
def test_a_revision_is_the_folder_of_its_commit(cache: Path, revision: str) -> None:
    assert Path(loadable(f"owner/name@{revision}")) == cache


@pytest.mark.parametrize("revision", ["v2", "f" * 40])
def test_what_is_not_in_the_cache_and_cannot_be_fetched_is_said(cache: Path, revision: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"owner/name@{revision}.*hf download owner/name --revision {revision}"
    ):
        loadable(f"owner/name@{revision}")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (RevisionNotFoundError, r"owner/name has no revision 'v9' .*branch, a tag"),
        (RepositoryNotFoundError, r"no model owner/name .*HF_TOKEN"),
    ],
)
def test_the_hubs_answers_are_told_apart(monkeypatch: pytest.MonkeyPatch, kind: Any, said: str) -> None:
    def refuse(*_args: Any, **_more: Any) -> str:
        response = httpx.Response(404, request=httpx.Request("GET", "https://hub"))
        raise kind("404 Client Error", response=response)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ConfigError, match=said):
        loadable("owner/name@v9")


def test_other_names_are_what_they_were(tmp_path: Path) -> None:
    odd = tmp_path / "runs@home"
    odd.mkdir()
    assert loadable(str(odd)) == str(odd)
    assert loadable("owner/name") == "owner/name"
    assert loadable("tabletop:policy") == str(CHECKPOINTS / "policy")
