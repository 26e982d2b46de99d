"""Learning on a tiny set with the shipped detector: it learns, resumes exactly, and several processes are as one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as processes
from safetensors.torch import load_file
from tiny_set import settings, tiny_set
from torch import distributed

from valor_ray.config.models import CHECKPOINTS
from valor_ray.config.tree import Config
from valor_ray.errors import CheckpointError, ConfigError, StorageError
from valor_ray.grounding.dataset.negatives import Region
from valor_ray.grounding.learner.learn import LearnEnd, LearnerLeaves, LearnTask, learn

LABEL_OF_300_TOKENS = "box " * 300


def run(task: LearnTask) -> tuple[LearnEnd, list[dict]]:
    records: list[dict] = []
    end = learn(task, lambda line: None, lambda record: records.append(dict(record)))
    return end, records


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_set(tmp_path_factory.mktemp("mined") / "set")


@pytest.fixture(scope="module")
def whole(mined: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LearnEnd, list[dict]]:
    """An uninterrupted run of four steps."""
    return run(LearnTask(settings(), mined, None, tmp_path_factory.mktemp("whole")))


def test_records_tell_each_step(whole: tuple[LearnEnd, list[dict]]) -> None:
    end, records = whole
    assert (end.steps, end.resumed_from, end.pictures, end.held_back) == (4, 0, 5, 1)
    assert [record["step"] for record in records] == [1, 2, 3, 4]
    for record in records:
        assert record["boxes"] == 2 and record["seconds"] > 0 and record["grad_norm"] > 0
        assert record["loss"] == pytest.approx(sum(record["parts"].values()), abs=1e-4)
        assert set(record["parts"]) == {"layer0", "layer1", "dense"}


def test_frozen_parts_stay_and_the_rest_moves(whole: tuple[LearnEnd, list[dict]]) -> None:
    before, after = weights(CHECKPOINTS / "detector"), weights(whole[0].weights)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and not any("text_backbone" in name for name in moved)
    assert any("conv_encoder" in name for name in moved)  # the local profile lets the backbone learn


def test_the_backbone_learns_at_its_own_share_of_the_rate(mined: Path, tmp_path: Path) -> None:
    """AdamW's first step moves the surest number by the rate."""
    rate = (
        "finetune.learning_rate=1e-3",
        "finetune.weight_decay=0",
        "finetune.ema=0",
        "finetune.warmup_steps=0",
    )
    task = LearnTask(settings("finetune.steps=1", "finetune.backbone_rate=0.2", *rate), mined, None, tmp_path)
    before, after = weights(CHECKPOINTS / "detector"), weights(run(task)[0].weights)
    most = {True: 0.0, False: 0.0}
    for name, value in before.items():
        backbone = "conv_encoder" in name
        most[backbone] = max(most[backbone], float((after[name] - value).abs().max()))
    assert most[True] == pytest.approx(2e-4, rel=0.02) and most[False] == pytest.approx(1e-3, rel=0.02)


@pytest.mark.parametrize("missing", ["group", "share"])
def test_a_checkpoint_of_another_version_is_refused_with_words(
    mined: Path, whole: tuple[LearnEnd, list[dict]], tmp_path: Path, missing: str
) -> None:
    place = tmp_path / "checkpoints" / "step-000002"
    shutil.copytree(whole[0].weights.parent / "checkpoints" / "step-000002", place)
    state = torch.load(place / "state.pt", weights_only=True)
    groups = state["optimizer"]["param_groups"]
    if missing == "group":
        groups.pop()
    for group in groups:
        group.pop("share")
    torch.save(state, place / "state.pt")
    with pytest.raises(CheckpointError, match=r"another version .*another --run"):
        run(LearnTask(settings(), mined, None, tmp_path))


@pytest.mark.parametrize("left", [2])
def test_a_run_goes_on_bit_for_bit(
    mined: Path, whole: tuple[LearnEnd, list[dict]], tmp_path: Path, left: int
) -> None:
    shutil.copytree(
        whole[0].weights.parent / "checkpoints" / f"step-{left:06d}",
        tmp_path / "checkpoints" / f"step-{left:06d}",
    )
    end, records = run(LearnTask(settings(), mined, None, tmp_path))
    assert end.resumed_from == left and [record["step"] for record in records] == [1, 2, 3, 4]
    assert all(
        torch.equal(value, weights(end.weights)[name]) for name, value in weights(whole[0].weights).items()
    )
    assert [r["loss"] for r in records] == [r["loss"] for r in whole[1]]


def test_a_learner_that_must_leave_saves_first_and_goes_on_bit_for_bit(
    mined: Path, whole: tuple[LearnEnd, list[dict]], tmp_path: Path
) -> None:
    task = LearnTask(settings("finetune.save_every=100"), mined, None, tmp_path)
    made: list[int] = []
    with pytest.raises(LearnerLeaves) as leaves:
        learn(task, print, lambda record: made.append(record["step"]), lambda: len(made) == 3)
    assert leaves.value.step == 3 and made == [1, 2, 3]
    end = learn(task, print, lambda record: None, lambda: True)  # a step later all is done: nobody leaves
    assert end.resumed_from == 3
    assert all(
        torch.equal(value, weights(end.weights)[name]) for name, value in weights(whole[0].weights).items()
    )


def test_a_checkpoint_that_is_cut_off_is_named(
    mined: Path, whole: tuple[LearnEnd, list[dict]], tmp_path: Path
) -> None:
    shutil.copytree(whole[0].weights.parent / "checkpoints", tmp_path / "checkpoints")
    state = tmp_path / "checkpoints" / "step-000004" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="step-000004"):
        run(LearnTask(settings(), mined, None, tmp_path))


@pytest.mark.parametrize("spoilt", [b"", b"not a checkpoint"])
def test_a_spoilt_checkpoint_is_named(
    mined: Path, whole: tuple[LearnEnd, list[dict]], tmp_path: Path, spoilt: bytes
) -> None:
    shutil.copytree(whole[0].weights.parent / "checkpoints", tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / "step-000004" / "state.pt").write_bytes(spoilt)
    with pytest.raises(CheckpointError, match="step-000004"):
        run(LearnTask(settings(), mined, None, tmp_path))


def test_a_full_disk_leaves_no_half_checkpoint(
    mined: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(StorageError, match="Free some space"):
        run(LearnTask(settings(), mined, None, tmp_path))
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_rate_that_is_too_high_says_so(mined: Path, tmp_path: Path) -> None:
    wild = settings("finetune.learning_rate=1e6", "finetune.warmup_steps=0", "finetune.max_grad_norm=1e9")
    with pytest.raises(CheckpointError, match=r"Lower finetune\.learning_rate"):
        run(LearnTask(wild, mined, None, tmp_path))


def test_as_the_paper_does_text_and_backbone_frozen_and_one_to_one(mined: Path, tmp_path: Path) -> None:
    paper = settings("finetune.freeze=[text,backbone]", "finetune.encoder_loss=one_to_one")
    end, records = run(LearnTask(paper, mined, None, tmp_path))
    before, after = weights(CHECKPOINTS / "detector"), weights(end.weights)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and not any("text_backbone" in name or "conv_encoder" in name for name in moved)
    assert set(records[0]["parts"]) == {"layer0", "layer1", "encoder"}


def test_more_steps_lower_the_loss(mined: Path, tmp_path: Path) -> None:
    _end, records = run(LearnTask(settings("finetune.steps=20", "finetune.flip=0"), mined, None, tmp_path))
    losses = [record["loss"] for record in records]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_start_detectors_boxes_can_be_rehearsed_as_labels(mined: Path, tmp_path: Path) -> None:
    replay = tiny_set(tmp_path / "replay", 3)
    boxes = settings("finetune.replay=0.5", "finetune.replay_loss=boxes", "finetune.steps=2")
    _end, records = run(LearnTask(boxes, mined, replay, tmp_path / "run"))
    assert records[0]["boxes"] == 3 and set(records[0]["parts"]) == {"layer0", "layer1", "dense"}


REPLAYED = {"replay_layer0", "replay_layer1", "replay_dense"}


def test_what_is_rehearsed_begins_with_nothing_to_learn_and_goes_on_bit_for_bit(
    mined: Path, whole: tuple[LearnEnd, list[dict]], tmp_path: Path
) -> None:
    replay = tiny_set(tmp_path / "replay", 3)
    task = LearnTask(settings("finetune.replay=0.5"), mined, replay, tmp_path / "run")
    end, records = run(task)
    for record, alone in zip(records, whole[1], strict=True):
        assert record["boxes"] == 2 and set(record["parts"]) - set(alone["parts"]) == REPLAYED
    first = records[0]["parts"]
    assert {name: first[name] for name in whole[1][0]["parts"]} == whole[1][0]["parts"]
    assert all(abs(first[name]) < 1e-5 for name in REPLAYED)
    assert sum(records[-1]["parts"][name] for name in REPLAYED) > 1e-4
    ended = weights(end.weights)
    shutil.rmtree(task.run / "checkpoints" / "step-000004")
    shutil.rmtree(end.weights)
    again, repeated = run(task)
    assert again.resumed_from == 2
    assert [record["loss"] for record in repeated] == [record["loss"] for record in records]
    assert all(torch.equal(value, weights(again.weights)[name]) for name, value in ended.items())


def test_pictures_without_a_box_give_no_nan(mined: Path, tmp_path: Path) -> None:
    bare = tiny_set(tmp_path / "set", 6, positives=(), ignored=())
    lines = (bare / "train.jsonl").read_text().splitlines()
    kept = json.loads(lines[0])
    kept["positives"] = [{"bbox": [10, 20, 50, 60], "phrase": "red box"}]
    (bare / "train.jsonl").write_text("\n".join([json.dumps(kept), *lines[1:]]))
    _end, records = run(LearnTask(settings("finetune.held_back=0.01"), bare, None, tmp_path / "run"))
    assert 0 in {record["boxes"] for record in records}
    assert all(record["loss"] == record["loss"] and record["grad_norm"] < 1e6 for record in records)


def test_one_class_and_labels_beyond_the_budget(tmp_path: Path) -> None:
    box = Region((10.0, 20.0, 50.0, 60.0), LABEL_OF_300_TOKENS.strip())
    long = tiny_set(tmp_path / "set", positives=(box,), absent=(), hard_negatives=())
    _end, records = run(LearnTask(settings("finetune.steps=2"), long, None, tmp_path / "run"))
    assert [record["boxes"] for record in records] == [2, 2]


def test_a_set_without_a_confirmed_box_is_refused(tmp_path: Path) -> None:
    empty = tiny_set(tmp_path / "set", positives=())
    with pytest.raises(ConfigError, match="no confirmed box"):
        run(LearnTask(settings(), empty, None, tmp_path / "run"))


def test_a_picture_that_has_gone_is_named(tmp_path: Path) -> None:
    mined = tiny_set(tmp_path / "set")
    for path in (mined / "pictures").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match=r"\.png"):
        run(LearnTask(settings(), mined, None, tmp_path / "run"))


def _process(rank: int, world: int, store: str, task: LearnTask, out: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    _end, records = run(task)
    if rank == 0:
        Path(out).write_text(json.dumps(records))
    distributed.destroy_process_group()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("rehearsed", [False, True])
def test_two_processes_have_the_loss_and_the_weights_of_one(
    mined: Path, tmp_path: Path, rehearsed: bool
) -> None:
    """With one picture to rehearse a step, one of two processes has none."""
    replay = tiny_set(tmp_path / "replay", 3) if rehearsed else None
    alone, records = run(LearnTask(settings("finetune.replay=0.5"), mined, replay, tmp_path / "alone"))
    config: Config = settings("finetune.batch=1", "finetune.workers=2", "finetune.replay=0.5")
    task = LearnTask(config, mined, replay, tmp_path / "run")
    out = tmp_path / "records.json"
    processes.spawn(_process, (2, str(tmp_path / "store"), task, str(out)), nprocs=2)
    for one, two in zip(records, json.loads(out.read_text()), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], abs=1e-4) and two["boxes"] == one["boxes"]
        assert set(two["parts"]) == set(one["parts"])
    both = weights(tmp_path / "run" / "averaged")
    for name, value in weights(alone.weights).items():
        assert torch.allclose(value, both[name], atol=1e-4), name
