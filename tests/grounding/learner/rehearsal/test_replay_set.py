import json
from pathlib import Path

import pytest
from tiny_set import draw, settings

from valor_ray.errors import ConfigError, ImageError
from valor_ray.grounding.dataset.pictures import load_picture
from valor_ray.grounding.dataset.training import training_images
from valor_ray.grounding.learner.examples import COMPLETE
from valor_ray.grounding.learner.rehearsal.replay_set import make_replay
from valor_ray.models.grounding_dino.detector import GroundingDino

PHRASES = ("Red box", "blue box", "green box", "red box")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for n in range(3):
        draw(tmp_path / "pictures" / f"{n}.png", [("red box", (10.0 + n, 20, 50, 60))])
    return tmp_path / "pictures"


def test_the_start_detectors_own_boxes_are_the_set(pictures: Path, tmp_path: Path) -> None:
    config = settings("finetune.replay_limit=2", "detector.box_threshold=0.2")
    out = make_replay(
        config, pictures, ["Red box", "red box"], tmp_path / "replay" / "set", lambda line: None
    )
    about = json.loads((out / "dataset.json").read_text())
    made = list(training_images(out))
    assert len(made) == 2 and about[COMPLETE]
    assert about["counts"] == {"images": 2, "positives": sum(len(image.positives) for image in made)}
    detector = GroundingDino(config.detector)
    for image in made:
        (boxes,) = detector.detect([load_picture(image, config.images)], [["red box"]], 0.1)
        sure = [pytest.approx(box.bbox, abs=0.06) for box in boxes if box.score >= 0.2]
        assert sure and [each.bbox for each in image.positives] == sure
        assert len(image.ignored) == len(boxes) - len(sure) and image.absent == ()


def test_an_object_may_bear_several_names_and_what_shows_nowhere_is_absent(
    pictures: Path, tmp_path: Path
) -> None:
    config = settings("detector.box_threshold=0.2", "detector.text_threshold=0.1")
    phrases = ["red box", "red object", "green ball", "blue ball"]
    made = list(training_images(make_replay(config, pictures, phrases, tmp_path / "set", lambda line: None)))
    named = {each.phrase for image in made for each in (*image.positives, *image.ignored)}
    assert {"red box", "red object"} <= named
    for image in made:
        both = {each.bbox for each in image.positives if each.phrase == "red box"}
        assert both & {
            each.bbox for each in (*image.positives, *image.ignored) if each.phrase == "red object"
        }
        assert set(image.absent) <= {"green ball", "blue ball"}
    assert any(image.absent for image in made)


def test_odd_files_beside_the_pictures_are_passed_over(pictures: Path, tmp_path: Path) -> None:
    (pictures / "folder.png").mkdir()
    (pictures / "._0.png").write_bytes(b"what macOS leaves")
    out = make_replay(settings(), pictures, PHRASES, tmp_path / "set", lambda line: None)
    assert len(list(training_images(out))) == 3


def test_a_picture_that_has_changed_since_is_refused(pictures: Path, tmp_path: Path) -> None:
    out = make_replay(settings(), pictures, PHRASES, tmp_path / "set", lambda line: None)
    draw(pictures / "0.png", [("blue box", (30.0, 30, 60, 60))])
    with pytest.raises(ImageError, match="changed since"):
        load_picture(next(iter(training_images(out))), settings().images)


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
