import asyncio
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from valor_ray import depth_map, images
from valor_ray.errors import ToolError
from valor_ray.images import from_array
from valor_ray.program.inside.placeholders import PlaceholderTools, World
from valor_ray.records import DepthMap, Detection, Picture
from valor_ray.tools import (
    IMAGE_NAME,
    SPELLINGS,
    TOOLS,
    LiveTools,
    api_text,
    check_call,
    split_phrases,
    stub_source,
    system_prompt,
)

SIZE = (100, 50)


def test_prompt_and_stubs_have_the_same_names_and_parameters() -> None:
    stubs: dict[str, Any] = {}
    exec(stub_source(), stubs)
    for tool in TOOLS:
        parameters = [parameter.name for parameter in tool.parameters]
        assert list(inspect.signature(stubs[tool.name]).parameters) == parameters
        signature = ", ".join(f"{parameter.name}: {parameter.type}" for parameter in tool.parameters)
        assert f"{tool.name}({signature}) -> {tool.returns}" in api_text()
    assert {name: list(inspect.signature(stubs[name]).parameters) for name in SPELLINGS} == {
        "gd_detect": ["img_pth", "prompt"],
        "GD_DETECT": ["prompt"],
        "depth": ["img_pth", "bbox"],
        "DEPTH": ["image", "x", "y"],
        "vqa": ["img_pth", "bbox", "prompt"],
        "VQA": ["crop", "question"],
    }


def test_the_examples_in_the_prompt_are_accepted() -> None:
    calls = []
    stubs: dict[str, Any] = {
        "_call": lambda tool, args: calls.append((tool, args)) or [{"bbox": [1, 2, 3, 4]}]
    }
    exec(stub_source(), stubs)
    for tool in TOOLS:
        exec(tool.example, stubs)
    assert [check_call(name, args, SIZE)[0] for name, args in calls] == ["gd_detect", "depth", "vqa"]


def test_the_full_prompt_holds_the_api_and_the_short_one_is_short() -> None:
    assert api_text() in system_prompt("full")
    assert "{{" not in system_prompt("full") + system_prompt("short")
    assert len(system_prompt("short")) < 200


@pytest.mark.parametrize(
    ("name", "args", "canonical"),
    [
        ("gd_detect", {"img_pth": IMAGE_NAME, "prompt": " a, b "}, {"prompt": "a, b"}),
        ("GD_DETECT", {"prompt": "CAR"}, {"prompt": "CAR"}),
        ("gd_detect", {"img_pth": {"crop": None}, "prompt": "a"}, {"prompt": "a"}),
        (
            "gd_detect",
            {"img_pth": {"crop": [1, 2, 3, 4]}, "prompt": "a"},
            {"prompt": "a", "image_bbox": [1, 2, 3, 4]},
        ),
        ("depth", {"img_pth": IMAGE_NAME, "bbox": [1, 2, 3, 4.5]}, {"bbox": [1, 2, 3, 4.5]}),
        ("depth", {"img_pth": IMAGE_NAME, "bbox": [-5, -5, 200, 200]}, {"bbox": [0, 0, 100, 50]}),
        ("depth", {"img_pth": {"crop": [10, 10, 30, 30]}, "bbox": [1, 2, 3, 90]}, {"bbox": [11, 12, 13, 30]}),
        ("DEPTH", {"image": IMAGE_NAME, "x": 3.7, "y": 4}, {"bbox": [3, 4, 4, 5]}),
        ("DEPTH", {"image": {"crop": [10, 20, 30, 40]}, "x": 1, "y": 2}, {"bbox": [11, 22, 12, 23]}),
        ("vqa", {"img_pth": IMAGE_NAME, "bbox": None, "prompt": "what?"}, {"bbox": None, "prompt": "what?"}),
        (
            "vqa",
            {"img_pth": IMAGE_NAME, "bbox": [1, 2, 3, 4], "prompt": "q"},
            {"bbox": [1, 2, 3, 4], "prompt": "q"},
        ),
        ("VQA", {"crop": {"crop": [1, 2, 3, 4]}, "question": "q"}, {"bbox": [1, 2, 3, 4], "prompt": "q"}),
        ("VQA", {"crop": IMAGE_NAME, "question": "q"}, {"bbox": None, "prompt": "q"}),
    ],
)
def test_both_spellings_give_canonical_arguments(
    name: str, args: dict[str, Any], canonical: dict[str, Any]
) -> None:
    assert check_call(name, args, SIZE) == (SPELLINGS[name][0].name, canonical)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("gd_detect", {"img_pth": "photo.jpg"}, "img_pth must be the predefined img_pth"),
        ("gd_detect", {"img_pth": 3}, "img_pth must be"),
        ("gd_detect", {"prompt": ["car"]}, "prompt must be a str, got ['car']"),
        ("gd_detect", {"prompt": " , "}, "prompt is empty"),
        ("gd_detect", {"prompt": " . ;"}, "prompt is empty"),
        ("gd_detect", {"prompt": ",".join(map(str, range(65)))}, "65 phrases, pass at most 64 at a time"),
        ("gd_detect", {"prompt": "a\ud800"}, "half a character"),
        ("vqa", {"prompt": "\udfffa"}, "half a character"),
        ("depth", {"bbox": [10**5000]}, "bbox must be four numbers"),
        ("gd_detect", {"prompt": [[[[[["a"]]]]]] * 9}, "prompt must be a str"),
        ("gd_detect", {"prompt": "x" * 3000}, "3000 characters, pass at most 2000"),
        ("depth", {"bbox": None}, "bbox must be four numbers [x1, y1, x2, y2], got None"),
        ("depth", {"bbox": {"bbox": [1, 2, 3, 4], "label": "car"}}, 'pass its ["bbox"]'),
        ("depth", {"bbox": [1, 2, 3]}, "bbox must be four numbers"),
        ("depth", {"bbox": "1234"}, "bbox must be four numbers"),
        ("depth", {"bbox": [1, 2, "3", 4]}, "bbox[2] must be a number, got '3'"),
        ("depth", {"bbox": [1, 2, True, 4]}, "bbox[2] must be a number"),
        ("depth", {"bbox": [1, 2, float("inf"), 4]}, "bbox[2] must be a finite number"),
        ("depth", {"bbox": [1, 2, 10**400, 4]}, "bbox[2] must be a finite number"),
        ("depth", {"bbox": [3, 2, 1, 4]}, "is empty: x1 < x2"),
        ("depth", {"bbox": [1, 2, 1, 4]}, "is empty"),
        ("depth", {"bbox": [200, 2, 300, 4]}, "outside the 100 x 50 px image"),
        ("DEPTH", {"x": 100}, "outside the 100 x 50 px image"),
        ("DEPTH", {"y": "low"}, "y must be a number"),
        ("vqa", {"prompt": None}, "prompt must be a str, got None"),
        ("VQA", {"question": 1}, "question must be a str"),
        ("VQA", {"crop": [1, 2, 3, 4]}, "crop must be the predefined img_pth (or image)"),
    ],
)
def test_wrong_arguments_are_named_with_what_to_pass(name: str, change: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {"img_pth": IMAGE_NAME, "image": IMAGE_NAME, "crop": IMAGE_NAME, "prompt": "car"}
    good |= {"question": "what?", "bbox": [1, 2, 3, 4], "x": 1, "y": 1}
    args = {parameter: good[parameter] for parameter in SPELLINGS[name][1]} | change
    with pytest.raises(ToolError) as error:
        check_call(name, args, SIZE)
    assert words in str(error.value) and str(error.value).startswith(name)


def test_unknown_tools_and_parameters_are_refused() -> None:
    for name, args in (("os.system", {}), ("depth", {"img_pth": IMAGE_NAME, "box": [1, 2, 3, 4]})):
        with pytest.raises(ToolError):
            check_call(name, args, SIZE)


@pytest.mark.parametrize(
    ("prompt", "phrases"),
    [
        ("sofa, coffee  table,,Sofa , TV", ("sofa", "coffee table", "TV")),
        ("chair . table .", ("chair", "table")),
        ("chair. table.", ("chair", "table")),
        ("chair .table", ("chair", "table")),
        ("Chair; table ; TV", ("Chair", "table", "TV")),
        ("猫，犬；鳥、red cup。", ("猫", "犬", "鳥", "red cup")),
        ("3.5 inch disk, .45 pistol", ("3.5 inch disk", ".45 pistol")),
        ("U.S. flag . J. Smith . Dr. Pepper can. cup", ("U.S. flag", "J. Smith", "Dr. Pepper can", "cup")),
        ("flag of the U.S.", ("flag of the U.S.",)),
        ("red cube . blue ball .", ("red cube", "blue ball")),
        ("red cube .blue ball.\nsofa\r\nlamp", ("red cube", "blue ball", "sofa", "lamp")),
        ("chair. table.\nsofa", ("chair", "table", "sofa")),
        ("قطة، كلب؛ طائر", ("قطة", "كلب", "طائر")),
        ("a､b｡c﹐d﹔e﹑f", ("a", "b", "c", "d", "e", "f")),
        ("red.blue ball", ("red.blue ball",)),
        ("'chair', \"red cup\" . “TV”", ("chair", "red cup", "TV")),
        ('"stop" sign, 5" disk, person\'s hat', ('"stop" sign', '5" disk', "person's hat")),
        ("café-table", ("café-table",)),
        (" . ;, ... ''", ()),
    ],
)
def test_phrases_are_split_at_separators_and_nowhere_else(prompt: str, phrases: tuple[str, ...]) -> None:
    assert split_phrases(prompt) == phrases
    assert split_phrases("\n".join(phrases)) == phrases  # as phrases that were split come again


@pytest.mark.parametrize("boxes", [0, 1, 5])
def test_placeholder_boxes_lie_in_the_picture(boxes: int) -> None:
    tools = PlaceholderTools(SIZE, World(boxes=(boxes,)))
    found = asyncio.run(tools("gd_detect", {"prompt": "car, tv"}))
    assert [one["label"] for one in found] == ["car"] * boxes + ["tv"] * boxes
    for one in found:
        args = {"img_pth": IMAGE_NAME, "bbox": one["bbox"]}
        assert check_call("depth", args, SIZE)[1]["bbox"] == pytest.approx(one["bbox"])
        assert asyncio.run(tools("depth", {"bbox": one["bbox"]})) >= 1.5
    assert asyncio.run(tools("vqa", {"bbox": None, "prompt": "what?"})) in ("red", "wooden table")


class Models:
    """All three ports, on a depth ramp."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        self.seen.append(((picture.width, picture.height), tuple(phrases)))
        return [Detection((1.0, 2.0, 3.0, 4.0), phrase, 0.5) for phrase in phrases]

    async def depth(self, picture: Picture) -> DepthMap:
        self.seen.append("depth")
        return DepthMap(np.full((picture.height, picture.width), 2.0, np.float32), 100.0)

    async def vqa(self, picture: Picture, question: str) -> str:
        self.seen.append(((picture.width, picture.height), question))
        return "red"


def test_live_tools_ask_the_models_and_give_json() -> None:
    models = Models()
    tools = LiveTools(from_array(np.zeros((50, 100, 3), np.uint8)), models, models, models)

    async def main() -> list[Any]:
        return [
            await tools("gd_detect", {"prompt": "sofa, coffee table"}),
            await tools("gd_detect", {"prompt": "car", "image_bbox": [0.0, 0.0, 10.0, 20.0]}),
            await tools("depth", {"bbox": [1.0, 1.0, 5.0, 5.0]}),
            await tools("depth", {"bbox": [2.0, 2.0, 6.0, 6.0]}),
            await tools("vqa", {"bbox": None, "prompt": "what?"}),
            await tools("vqa", {"bbox": [0.0, 0.0, 10.0, 20.0], "prompt": "which?"}),
        ]

    found, _, metres, _, answer, _ = asyncio.run(main())
    assert found == [{"bbox": [1, 2, 3, 4], "label": "sofa"}, {"bbox": [1, 2, 3, 4], "label": "coffee table"}]
    assert type(metres) is float and metres == 2.0
    assert answer in ("red", "wooden table")
    assert models.seen == [
        ((100, 50), ("sofa", "coffee table")),
        ((10, 20), ("car",)),
        "depth",  # once for the picture
        ((100, 50), "what?"),
        ((10, 20), "which?"),
    ]


@pytest.mark.parametrize(("side", "beside"), [(20, False), (800, True)])
def test_work_on_many_pixels_is_done_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, side: int, beside: bool
) -> None:
    threads: list[bool] = []

    def noted(work: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any) -> Any:
            threads.append(threading.current_thread() is not threading.main_thread())
            return work(*args)

        return noting

    monkeypatch.setattr(images, "crop", noted(images.crop))
    monkeypatch.setattr(depth_map, "depth_at", noted(depth_map.depth_at))
    models = Models()
    tools = LiveTools(from_array(np.zeros((side, side, 3), np.uint8)), models, models, models)
    box = [0.0, 0.0, float(side), side - 5.0]

    async def main() -> list[Any]:
        return [
            await tools("gd_detect", {"prompt": "car", "image_bbox": box}),
            await tools("depth", {"bbox": [1.0, 1.0, 3.0, 3.0]}),  # small, but of a large map
            await tools("vqa", {"bbox": box, "prompt": "which?"}),
        ]

    assert asyncio.run(main())[1:] == [2.0, "red"] and threads == [beside] * 3
    assert models.seen == [((side, side - 5), ("car",)), "depth", ((side, side - 5), "which?")]
