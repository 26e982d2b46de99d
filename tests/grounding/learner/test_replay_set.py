import json
from pathlib import Path

import pytest
from tiny_set import draw, settings

from valor_ray.errors import ConfigError
from valor_ray.grounding.dataset.training import training_images
from valor_ray.grounding.learner.examples import COMPLETE
from valor_ray.grounding.learner.replay_set import make_replay
from valor_ray.models.grounding_dino.detector import GroundingDino

PHRASES = ("Red box", "blue box", "green box", "red box")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for n in range(3):
        draw(tmp_path / "pictures" / f"{n}.png", [("red box", (10.0 + n, 20, 50, 60))])
    return tmp_path / "pictures"


def test_the_start_detectors_own_boxes_are_the_set(pictures: Path, tmp_path: Path) -> None:
    config = settings("finetune.replay_limit=2", "detector.box_threshold=0.2")
    out = make_replay(config, pictures, PHRASES, tmp_path / "replay" / "set", lambda line: None)
    made = list(training_images(out))
    assert len(made) == 2 and json.loads((out / "dataset.json").read_text())[COMPLETE]
    detector = GroundingDino(config.detector)
    from valor_ray import images

    for image in made:
        picture = images.load(Path(image.path), config.images)
        (boxes,) = detector.detect([picture], [["blue box", "green box", "red box"]], 0.1)
        sure = [pytest.approx(box.bbox, abs=0.01) for box in boxes if box.score >= 0.2]
        assert [each.bbox for each in image.positives] == sure
        assert len(image.ignored) == sum(box.score < 0.2 for box in boxes)
        assert set(image.absent).isdisjoint(box.label for box in boxes)


def test_it_is_made_once(pictures: Path, tmp_path: Path) -> None:
    out = make_replay(settings(), pictures, PHRASES, tmp_path / "set", lambda line: None)
    make_replay(settings(), pictures, PHRASES, out, lambda line: pytest.fail("made again"))


def test_no_picture_and_no_picture_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match=r"replay_pictures .*none"):
        make_replay(settings(), tmp_path / "none", PHRASES, tmp_path / "set", lambda line: None)
    (tmp_path / "none" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"a\.png"):
        make_replay(settings(), tmp_path / "none", PHRASES, tmp_path / "set", lambda line: None)
    assert not (tmp_path / "set").exists()
