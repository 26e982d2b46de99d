"""Both sides take the same pictures through the same checks; how fast is for `valor bench boxes` to say."""

import json

import pytest

from valor_ray.cli import main
from valor_ray.perf.boxes.account import Figures
from valor_ray.perf.boxes.bench import summary
from valor_ray.perf.boxes.load import HEIGHT, WIDTH, pictures
from valor_ray.perf.boxes.ours import numbered


def test_the_bench_gives_its_ratio_and_both_sides_make_the_same_calls(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--images", "2", "--plain-images", "1", "--runs", "1", "--at-a-time", "2", "--gateways", "none"]
    assert main(["bench", "boxes", *words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"ours", "baseline", "ratio", "cpu_ratio", "work", "machine"} <= set(result)
    ours, plain = result["ours"], result["baseline"]
    assert (ours["images"], plain["images"]) == (2, 1)
    assert plain["calls_per_image"] == 22 and 22 <= ours["calls_per_image"] < 26  # with hedges
    assert ours["boxes_kept_per_image"] == plain["boxes_kept_per_image"] == 20
    assert ours["cpu_s_per_image"] > 0 and plain["cpu_s_per_image"] > 0
    assert result["ratio"] == pytest.approx(ours["images_per_second"] / plain["images_per_second"], rel=0.01)


def test_pictures_differ_are_the_same_each_time_and_look_like_photographs() -> None:
    first, second = pictures(2)
    assert first.picture.key != second.picture.key and first.picture.key == pictures(1)[0].picture.key
    assert (first.picture.width, first.picture.height) == (WIDTH, HEIGHT)
    assert 10 < first.picture.rgb.std() < 100
    for box in first.candidates:
        assert 0 <= box.bbox[0] < box.bbox[2] <= WIDTH and 0 <= box.bbox[1] < box.bbox[3] <= HEIGHT
    again = numbered([first], 7)[0]
    assert again.picture is first.picture and again.candidates[0].label == "coffee table 7"


def test_the_run_in_the_middle_stands_for_all() -> None:
    runs = [Figures(10, wall, 5.0, 220, 200) for wall in (2.0, 1.0, 4.0)]
    said = summary(runs)
    assert said["images_per_second"] == 5 and said["runs"] == [5, 10, 2.5]
    assert (said["cpu_s_per_image"], said["calls_per_image"], said["boxes_kept_per_image"]) == (0.5, 22, 20)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_gateways_are_measured_with_their_calls_in_flight(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--images", "2", "--plain-images", "1", "--runs", "1", "--gateways", "2,1", "--seconds", "6"]
    assert main(["bench", "boxes", *words, "--in-flight", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["gateways"]) == {"1", "2"} and set(result["scaling"]) == {"2"}
    assert result["served"]["boxes_kept_per_image"] == 20 and result["in_flight_each"] == 2
    rates = {int(number): each["calls_per_second"] for number, each in result["gateways"].items()}
    assert 0 < rates[1] <= 1.5 * 2 / 0.3 and 0 < rates[2] <= 1.5 * 4 / 0.3  # about what is in flight
    assert result["scaling"]["2"] == pytest.approx(rates[2] / (2 * rates[1]), abs=0.01)
