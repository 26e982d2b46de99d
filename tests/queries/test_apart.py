"""Queries kept apart from what the policy is measured with, and from what the prompts show."""

from pathlib import Path

import pytest

from valor_ray.errors import ConfigError
from valor_ray.queries.apart import check_apart, normalised, prompt_examples
from valor_ray.queries.read import read_queries
from valor_ray.records import Query
from valor_ray.tabletop.dataset import write_dataset


def picture(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def test_evaluation_rows_are_refused_and_the_same_words_about_another_picture_are_not(tmp_path: Path) -> None:
    one, copy, other = (
        picture(tmp_path / name, data) for name, data in (("1", b"x"), ("2", b"x"), ("3", b"y"))
    )
    question = "How many red balls are there?"
    asked = [("e7", "how many  red balls are there", copy)]

    def apart(query_id: str, words: str, image: str) -> bool:
        try:
            check_apart([Query("fine", "Is there a cone?"), Query(query_id, words, image)], asked)
        except ConfigError as error:
            assert f"1 query.\n  {query_id}, evaluation row e7: {words!r}" in str(error)
            return False
        return True

    assert not apart("t1", question, one)  # the same picture under another name
    assert not apart("t1", question, "")  # nothing tells them apart
    assert not apart("e7", question, other)  # the same id
    assert apart("t1", question, other)
    assert apart("t1", question, "https://host/1.png")
    assert apart("t1", "How many green balls are there?", one)
    assert apart("e7", "How many green balls are there?", one)


def test_questions_without_pictures_on_both_sides_are_equal_by_their_words() -> None:
    queries = [Query(f"t{n}", f"How many {n}?") for n in range(30)]
    with pytest.raises(ConfigError, match="25 queries") as caught:
        check_apart(queries, [(f"e{n}", f"HOW MANY {n}", "") for n in range(25)])
    lines = str(caught.value).splitlines()
    assert len(lines) == 22 and "The first 20:" in lines[0] and "Take these rows out" in lines[-1]


def test_examples_of_the_prompts_are_found_and_refused() -> None:
    examples = prompt_examples()
    assert "What colour is this chair?" in examples  # of the tools' description
    assert "Is the mug bigger than the bowl?" in examples  # of a judge's prompt
    with pytest.raises(ConfigError, match="t, an example in a prompt"):
        check_apart([Query("t", "is the mug bigger than the bowl", "https://host/x.png")], [], examples)
    check_apart([Query("t", "Is the mug bigger than the plate?")], [], examples)


def test_two_sets_of_the_tabletop_are_apart_although_they_share_wordings(tmp_path: Path) -> None:
    sets = []
    for seed in (0, 1):
        write_dataset(tmp_path / str(seed), 30, seed, "tiles")
        sets.append(read_queries(str(tmp_path / str(seed)), None))
    rows = [(query.query_id, query.question, query.image) for query in sets[1]]
    assert {normalised(query.question) for query in sets[0]} & {normalised(row[1]) for row in rows}
    check_apart(sets[0], rows, prompt_examples())
    with pytest.raises(ConfigError, match="60 queries"):
        check_apart(sets[1], rows)


def test_numbers_and_words_count_and_spelling_does_not() -> None:
    assert normalised("  Is the Ｂox 1.5 m tall?") == normalised("is the box 1.5 M tall")
    assert normalised("Is it 1.5 m?") != normalised("Is it 15 m?")
    assert normalised("a before b") != normalised("b before a")
    assert normalised("?!") == "?!"
