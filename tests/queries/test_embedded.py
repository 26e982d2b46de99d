"""Pictures that rows hold in themselves, and names that no file has."""

import base64
import hashlib
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from valor_ray.errors import ConfigError, StorageError
from valor_ray.queries.apart import check_apart
from valor_ray.queries.embedded import hash_named, picture_in, put, suffix_of
from valor_ray.queries.read import read_queries
from valor_ray.records import Query


def encoded(kind: str = "PNG", red: int = 0) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), (red, 0, 0)).save(data, kind)
    return data.getvalue()


KINDS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF")
PICTURE = encoded()


def source(path: Path, *images: object) -> str:
    rows = [{"query_id": str(n), "question": "Which?", "image": image} for n, image in enumerate(images)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def refused(source: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_queries(source)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_is_known_as_bytes_base64_and_data_uri(kind: str) -> None:
    data = encoded(kind)
    text = base64.b64encode(data).decode()
    assert suffix_of(data)
    forms = (
        data,
        {"bytes": data, "path": "x"},
        [data],
        f"data:image/x;base64,{text}",
        f"DATA:;base64,{text}",
    )
    assert all(picture_in(form) == data for form in forms)
    lines = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    assert picture_in(text) == picture_in(lines) == data


def test_names_stay_names() -> None:
    for name in (
        "",
        "a.png",
        "/9j/a.png",
        "photos/" + "x" * 80 + ".jpg",
        "iVBORw0KGgo",
        "https://host/a.png",
    ):
        assert picture_in(name) == name
    assert picture_in({"bytes": None, "path": "a.png"}) == picture_in(["a.png"]) == "a.png"
    assert picture_in(None) == picture_in([]) == picture_in({"bytes": None, "path": None}) == ""


def test_pictures_become_files_of_the_run_once_each_and_can_be_looked_at(tmp_path: Path) -> None:
    text = base64.b64encode(PICTURE).decode()
    named = source(tmp_path / "q.jsonl", text, f"data:image/png;base64,{text}")
    one, two = read_queries(named, pictures=tmp_path / "run" / "pictures")
    assert one.image == two.image and Path(one.image).read_bytes() == PICTURE
    assert Path(one.image).suffix == ".png" and len(list((tmp_path / "run" / "pictures").iterdir())) == 1
    assert read_queries(named, pictures=tmp_path / "run" / "pictures")[0].image == one.image
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"Cannot write a picture of .*q.jsonl to .*file"):
        read_queries(named, pictures=tmp_path / "file")


def test_where_only_questions_are_asked_a_picture_is_its_hash_and_is_kept_apart_by_it(tmp_path: Path) -> None:
    pq.write_table(pa.table({"query_id": ["a"], "question": ["Which?"], "image": [PICTURE]}), tmp_path / "t")
    (query,) = read_queries(str(tmp_path / "t"))
    assert hash_named(query.image) == hashlib.sha256(PICTURE).hexdigest() and hash_named("a.png") is None
    same, other = tmp_path / "same.png", tmp_path / "other.png"
    same.write_bytes(PICTURE)
    other.write_bytes(encoded(red=9))
    check_apart([query], [("e", "Which?", str(other))])
    with pytest.raises(ConfigError, match="a, evaluation row e"):
        check_apart([query], [("e", "Which?", str(same))])


def test_rows_of_evaluation_kits_name_the_row_that_holds_their_picture(tmp_path: Path) -> None:
    text = base64.b64encode(PICTURE * 3000).decode()
    sheet = f"index\timage\tquestion\tanswer\n4\t{text}\tWhich?\tA\n5\t4\tWhere?\tB\n"
    (tmp_path / "t.tsv").write_text(sheet)
    one, two = read_queries(str(tmp_path / "t.tsv"))
    assert one == Query("4", "Which?", two.image) and two == Query("5", "Where?", put(PICTURE * 3000, None))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("x" * 300 + ".png", "line 1: field 'image': there is no file "),
        ("x" * 100_000, "100,"),
        ("a\0b.png", "there is no file /"),
        ("a\x1b[31m.png", r"a\x1b[31m.png"),
        ("../" * 2000, "there is no file"),
        (r"C:\photos\a.png", r"field 'image': C:\photos\a.png is a path of another machine (Windows). Copy"),
        ("D:/photos/a.png", "is a path of another machine"),
        (base64.b64encode(PICTURE).decode()[:-9] + "*", "field 'image' holds base64 that is damaged or cut short"),
        (7.5, "field 'image' must name or hold a picture, not a number"),
        (True, "not true or false"),
        ({"a": 1}, "no file"),
    ],
)  # fmt: skip
def test_a_picture_that_cannot_be_had_names_row_and_field_and_stays_short(
    tmp_path: Path, image: object, words: str
) -> None:
    if image == {"a": 1}:
        assert read_queries(source(tmp_path / "q.jsonl", image))[0].image == ""
        return
    message = refused(source(tmp_path / "q.jsonl", image))
    assert words in message and "line 1" in message and len(message) < 1200
    assert message.replace("\n", "").isprintable()


def test_paths_of_windows_are_found_where_they_are_relative(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    (query,) = read_queries(source(tmp_path / "q.jsonl", r"photos\a.png"))
    assert query.image == f"{tmp_path}/photos/a.png"
