"""Questions for bare pictures: what is sent, what is kept, what becomes of bad pictures and answers."""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image
from rough_endpoint import endpoint, failed, said

from valor_ray import images
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError, JudgeError
from valor_ray.queries.apart import prompt_examples
from valor_ray.queries.kinds import QuestionKind, choose, kind_of
from valor_ray.queries.pictures import Shot, list_shots
from valor_ray.queries.read import read_queries
from valor_ray.queries.write import FAILED, SCHEMA, Writing, usable
from valor_ray.wiring import judging

FOUR = [
    "How many mugs stand left of the lamp?",
    "The door is 2 m high. How tall is the shelf in m?",
    "Is the lamp in front of the sofa?",
    "What colour is the nearest chair?",
]


def questions(*texts: str) -> web.Response:
    return said(json.dumps({"questions": texts}))


async def four(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
    return questions(*FOUR)


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        Image.new("RGB", (40, 30), (n, 10 * n, 255)).save(folder / f"p{n:02d}.png")
    return folder


def write(
    folder: Path, url: str, out: Path, seed: int = 0, limit: int | None = None, **vlm: Any
) -> dict[str, Any]:
    settings = {"base_url": url, "api_key_env": None, "timeout_s": 30, "retries": 0, "hedge": False, **vlm}
    config = Config.load()
    config = config.model_copy(update={"vlm": config.vlm.model_copy(update=settings)})

    async def run() -> dict[str, Any]:
        async with judging(config.vlm, out.parent / "vlm_cache", config.vlm_part) as chat:
            return await Writing(out, seed, lambda line: None).run(
                list_shots(str(folder), limit, folder), chat, config, 4
            )

    out.parent.mkdir(parents=True, exist_ok=True)
    return asyncio.run(run())


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_picture_gets_one_question_and_the_kinds_stay_even(tmp_path: Path) -> None:
    out = pictures(tmp_path / "set", 12) / "queries.jsonl"
    with endpoint(four) as judge:
        summary = write(out.parent, judge.url, out)
    assert judge.calls == 12
    counted = [
        summary[name] for name in ("images", "before", "written", "failed", "missing", "unusable", "calls")
    ]
    assert counted == [12, 0, 12, 0, 0, 0, 12]
    assert summary["kinds"] == {"count": 3, "size": 3, "relation": 3, "attribute": 3, "other": 0}
    assert [row["query_id"] for row in rows(out)] == [f"p{n:02d}.png" for n in range(12)]
    assert rows(out)[0].keys() == {"query_id", "image", "question"} and rows(out)[0]["image"] == "p00.png"
    queries = read_queries(str(out.parent), None)  # what training reads
    assert len(queries) == 12 and all(Path(query.image).is_file() for query in queries)


def test_the_request_carries_the_picture_the_number_and_the_schema(tmp_path: Path) -> None:
    with endpoint(four) as judge:
        write(pictures(tmp_path / "set", 1), judge.url, tmp_path / "q.jsonl", jpeg_quality=95)
    (body,) = judge.bodies
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    system, user = body["messages"]
    assert "one right answer" in system["content"]
    assert user["content"][1]["text"] == "Write 4 questions about this picture."
    sent = images.from_data_uri(user["content"][0]["image_url"]["url"], Config.load().images)
    assert user["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert (sent.width, sent.height) == (40, 30)


def test_the_same_seed_keeps_the_same_questions_whatever_order_answers_come_in(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "set", 10)

    async def shuffled(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(random.random() / 20)
        return questions(*random.sample(FOUR, 4))

    with endpoint(shuffled) as judge:
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            write(folder, judge.url, tmp_path / name / "q.jsonl", seed)
    a, b, c = (rows(tmp_path / name / "q.jsonl") for name in "abc")
    assert a == b != c
    assert Path(a[0]["image"]) == folder / "p00.png"  # not below the queries' folder: absolute


def test_bad_pictures_and_answers_are_rows_and_are_tried_again(tmp_path: Path) -> None:
    folder, out = pictures(tmp_path / "set", 5), tmp_path / "q.jsonl"
    (folder / "p00.png").write_bytes(b"no picture")
    mended = False
    places: dict[str, int] = {}

    async def malformed(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        url = body["messages"][1]["content"][0]["image_url"]["url"]
        place = places.setdefault(url, len(places))
        answers: list[web.Response] = [
            said('{"questions": "How many?"}'),  # not the schema
            said("How many mugs are there?"),  # not JSON
            questions("", " ", "x" * 2001, prompt_examples()[0].upper()),  # nothing of use
            questions("", "How many mugs?", "how many mugs"),
        ]
        return questions(*FOUR) if mended else answers[place]

    with endpoint(malformed) as judge:
        summary = write(folder, judge.url, out, first_in_flight=1, max_in_flight=1)
        assert [summary[name] for name in ("written", "failed", "missing", "unusable")] == [1, 1, 2, 1]
        assert judge.calls == 6  # those that broke the schema were asked for once more
        (kept,) = rows(out)
        assert kept["question"] == "How many mugs?"
        found = {row["query_id"]: (row["what"], row["error"]) for row in rows(tmp_path / FAILED)}
        assert Counter(what for what, _ in found.values()) == {"failed": 1, "missing": 2, "unusable": 1}
        assert found["p00.png"][0] == "failed" and "not a picture that can be read" in found["p00.png"][1]
        assert all("answer format" in text for what, text in found.values() if what == "missing")
        mended = True
        pictures(folder, 1)  # a picture where there was none
        summary = write(folder, judge.url, out)
    assert (
        judge.calls == 9
    )  # the mended picture and the two without an answer; stored answers are not asked for again
    assert [summary[name] for name in ("before", "written", "missing", "unusable", "cache_hits")] == [
        1,
        3,
        0,
        1,
        1,
    ]
    assert len(rows(tmp_path / FAILED)) == 1 and len(rows(out)) == 4


def test_a_judge_that_refuses_ends_the_run_and_what_was_written_stays(tmp_path: Path) -> None:
    async def key_expires(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return questions(*FOUR) if n < 3 else failed(401)

    folder, out = pictures(tmp_path / "set", 8), tmp_path / "q.jsonl"
    with endpoint(key_expires) as judge, pytest.raises(JudgeError, match="API key"):
        write(folder, judge.url, out, first_in_flight=1, max_in_flight=1)
    before = rows(out)
    with endpoint(four) as judge:
        summary = write(folder, judge.url, out)
    assert rows(out)[: len(before)] == before and len(rows(out)) == 8
    assert summary["written"] == 8 - len(before) and judge.calls == 5  # three answers had been stored


def test_pictures_of_a_list_are_found_beside_it(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "set", 3)
    (folder / "deep").mkdir()
    (folder / "p02.png").rename(folder / "deep" / "P.JPG")
    (folder / "notes.txt").touch()
    assert [shot.query_id for shot in list_shots(str(folder), None, folder)] == [
        "deep/P.JPG",
        "p00.png",
        "p01.png",
    ]
    assert len(list_shots(str(folder), 1, folder)) == 1
    listed = tmp_path / "list.jsonl"
    names = ["set/p01.png", "https://host/x.png", "set/p01.png", f"{folder}/p00.png"]
    listed.write_text("".join(json.dumps({"image": name, "answer": 3}) + "\n" for name in names))
    one, two, three = list_shots(str(listed), None, tmp_path)
    assert one == Shot("set/p01.png", folder / "p01.png") and three.path == folder / "p00.png"
    assert "not on this machine" in two.error
    listed.write_text('{"image": "a.png"}\n{"picture": "b.png"}\n')
    with pytest.raises(ConfigError, match="line 2: field 'image' must name or hold a picture"):
        list_shots(str(listed), None, tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="no picture"):
        list_shots(str(tmp_path / "none"), None, tmp_path)


def test_a_name_that_no_json_can_hold_is_a_row(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "set", 1)
    (folder / "p00.png").rename(str(folder / "p\udcff.png"))
    with endpoint(four) as judge:
        assert write(folder, judge.url, tmp_path / "q.jsonl")["failed"] == 1
    assert "not UTF-8" in rows(tmp_path / FAILED)[0]["error"] and judge.calls == 0


@pytest.mark.parametrize("text", ['{"reply_id": "a"}', '{"query_id": "a", "answer": 3}\n', "notes"])
def test_a_file_of_something_else_is_not_touched(tmp_path: Path, text: str) -> None:
    out = tmp_path / "mine"
    out.write_text(text)
    with endpoint(four) as judge, pytest.raises(ConfigError, match="something other than the queries"):
        write(pictures(tmp_path / "set", 1), judge.url, out)
    assert out.read_text() == text and judge.calls == 0


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / FAILED).mkdir()
    with endpoint(four) as judge, pytest.raises(ConfigError, match="Give a file that can be written"):
        write(pictures(tmp_path / "set", 1), judge.url, tmp_path / "q.jsonl")


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("How many cups are taller than the jug?", QuestionKind.COUNT),
        ("Count the cars.", QuestionKind.COUNT),
        ("How many times wider is the bed than the desk?", QuestionKind.SIZE),
        ("The mug is 10 cm high. How many cm tall is the jug?", QuestionKind.SIZE),
        ("Which is bigger, the tram or the bus?", QuestionKind.SIZE),
        ("Is the dog to the right of the bench?", QuestionKind.RELATION),
        ("Which chair is closest to the camera?", QuestionKind.RELATION),
        ("What color is the nearest kettle?", QuestionKind.ATTRIBUTE),
        ("Is a dog asleep?", QuestionKind.OTHER),
        ("Is the account open?", QuestionKind.OTHER),
    ],
)
def test_kinds_are_told_by_words(question: str, kind: QuestionKind) -> None:
    assert kind_of(question) is kind


def test_the_rarest_kind_is_kept_and_ties_depend_on_seed_and_picture_only() -> None:
    assert (
        choose(FOUR, {QuestionKind.COUNT: 1, QuestionKind.SIZE: 1, QuestionKind.ATTRIBUTE: 1}, 0, "a")
        == FOUR[2]
    )
    assert choose(FOUR[:1], {QuestionKind.COUNT: 9}, 0, "a") == FOUR[0]
    picks = {choose(FOUR, {}, 0, str(n)) for n in range(40)}
    assert picks == set(FOUR)
    assert all(choose(FOUR, {}, 0, str(n)) == choose(FOUR[::-1], {}, 0, str(n)) for n in range(40))


def test_unusable_questions_are_left_out() -> None:
    assert usable({"questions": ["  Is  it\nred? ", "is it red", "", prompt_examples()[0]]}) == ["Is it red?"]
