"""What `valor doctor` says about a set-up of `valor mine`."""

import json
from pathlib import Path

import pytest
from mined import saved_picture

from valor_ray import cli
from valor_ray.config.tree import Config
from valor_ray.doctor.checks import Check
from valor_ray.doctor.mining import examine_mining
from valor_ray.queries.read import read_queries
from valor_ray.records import Query

HOSTED = ("vlm.base_url=https://host/v1", "vlm.model=m", "vlm.price_in=1", "vlm.price_out=2")


def said(name: str, *overrides: str, read=read_queries, profile: str = "local") -> Check:
    config = Config.load(profile, overrides)
    checks = {check.name: check for check in examine_mining(config, read)}
    assert all(check.ok != bool(check.fix) for check in checks.values())
    return checks[f"mining {name}"]


def source(folder: Path, *images: str) -> str:
    path = folder / "queries.jsonl"
    rows = [
        {"query_id": str(n), "question": "How many?", **({"image": image} if image else {})}
        for n, image in enumerate(images)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"grounding.queries={path}"


def test_everything_is_well_as_it_ships() -> None:
    config = Config.load("local")

    def never(source: str, limit: int) -> list[Query]:
        raise AssertionError

    checks = list(examine_mining(config, never))
    assert [check.name for check in checks] == [
        "mining queries",
        "mining detector",
        "mining verifier",
        "mining pictures",
    ]
    assert all(check.ok for check in checks)


def test_some_pictures_of_the_queries_are_opened(tmp_path: Path) -> None:
    for n in range(20):
        saved_picture(tmp_path / f"{n}.png")
    check = said("queries", source(tmp_path, *[f"{n}.png" for n in range(20)]))
    assert check.ok and "20 read, 5 of their pictures opened" in check.detail


def test_a_source_that_is_not_there_is_needed(tmp_path: Path) -> None:
    check = said("queries", f"grounding.queries={tmp_path}/none.jsonl")
    assert not check.ok and check.needed and "no such file" in check.fix


def test_queries_without_pictures_cannot_be_mined(tmp_path: Path) -> None:
    check = said("queries", source(tmp_path, "", ""))
    assert not check.ok and check.needed and "`image`" in check.fix
    saved_picture(tmp_path / "a.png")
    some = said("queries", source(tmp_path, "a.png", ""))
    assert not some.ok and not some.needed and "1 of the first 2" in some.detail


def test_pictures_that_are_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    check = said("queries", source(tmp_path, "bad.png"))
    assert not check.ok and check.needed and "not a picture" in check.fix
    saved_picture(tmp_path / "a.png")
    some = said("queries", source(tmp_path, "bad.png", "a.png"))
    assert not some.ok and not some.needed and "1 of 2 pictures" in some.detail


def test_addresses_are_not_fetched_but_must_be_allowed(tmp_path: Path) -> None:
    queries = source(tmp_path, "https://nowhere.invalid/a.png")
    assert "images.url_schemes" in said("queries", queries).fix
    assert said("queries", queries, "images.url_schemes=[https]").ok


@pytest.mark.parametrize("elsewhere", ["hf:owner/name", "s3://bucket/queries.jsonl"])
def test_sources_elsewhere_are_not_looked_at(elsewhere: str) -> None:
    check = said("queries", f"grounding.queries={elsewhere}", read=None)
    assert check.ok and not check.needed


def test_the_offline_verifier_on_other_pictures_is_a_note(tmp_path: Path) -> None:
    saved_picture(tmp_path / "a.png")
    queries = source(tmp_path, "a.png")
    check = said("verifier", queries)
    assert not check.ok and not check.needed and "rule-based" in check.detail
    assert said("verifier", queries, *HOSTED).ok


def test_a_hosted_verifier_wants_prices() -> None:
    check = said("verifier", *HOSTED[:3])
    assert not check.ok and not check.needed and "vlm.price_out" in check.fix
    assert said("verifier", "vlm.base_url=http://127.0.0.1:9/v1", "vlm.model=m").ok
    assert said("verifier", profile="gpu").ok


def test_the_shipped_detector_on_other_pictures_is_a_note(tmp_path: Path) -> None:
    saved_picture(tmp_path / "a.png")
    queries = source(tmp_path, "a.png")
    assert "tabletop scenes only" in said("detector", queries).detail
    assert said("detector", queries, "detector.model=IDEA-Research/grounding-dino-tiny").ok
    assert "box_threshold" in said("detector", "grounding.box_threshold=0.9").detail


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("vlm.max_side=256", "max_side"),
        ("vlm.jpeg_quality=20", "jpeg_quality"),
        ("grounding.boxes_per_picture=90", "boxes_per_picture"),
        ("grounding.picture_format=png", "PNG"),
    ],
)
def test_pictures_that_a_verifier_sees_little_of_are_a_note(override: str, word: str) -> None:
    check = said("pictures", override)
    assert not check.ok and not check.needed and word in check.detail


def test_the_command_lists_them(capsys) -> None:
    cli.main(["doctor", "--json", "--set", "grounding.picture_format=png"])
    report = json.loads(capsys.readouterr().out)
    listed = {check["name"]: check for check in report["checks"]}
    assert {"mining queries", "mining verifier"} <= set(listed) and not listed["mining pictures"]["ok"]
