import time

import pytest

from valor_ray.program.phrases import Phrases, detection_phrases


@pytest.mark.parametrize(
    ("code", "phrases"),
    [
        ('gd_detect(img_pth, "sofa, coffee table")', ("sofa", "coffee table")),
        ('GD_DETECT("CAR")', ("CAR",)),
        ('GD_DETECT(prompt="CAR")', ("CAR",)),
        ('gd_detect(prompt="tv", img_pth=img_pth)', ("tv",)),
        ('# gd_detect(img_pth, "no")\ns = \'gd_detect(img_pth, "no")\'', ()),
        ('vqa(img_pth, None, "a car?")', ()),
        ('x = "car"\ngd_detect(img_pth, x)', ("car",)),
        ('x = "red"\ngd_detect(img_pth, x + " " + "cube")', ("red cube",)),
        ('c, s = "red", "cube"\ngd_detect(img_pth, f"{c} {s} {2}")', ("red cube 2",)),
        ('for c in ["red", "blue"]:\n    gd_detect(img_pth, f"{c} cube")', ("red cube", "blue cube")),
        ('for i, c in enumerate(("a", "b")):\n    gd_detect(img_pth, c)', ("a", "b")),
        ('for a, b in zip(["x"], ["y"]):\n    gd_detect(img_pth, a + b)', ("xy",)),
        ('for a, b in [("x", 1), ("y", 2)]:\n    gd_detect(img_pth, a)', ("x", "y")),
        ('m = {"k": "v"}\nfor k in m:\n    gd_detect(img_pth, m[k])', ("v",)),
        ('m = {"k": "v"}\nfor k, v in m.items():\n    gd_detect(img_pth, v + k)', ("vk",)),
        ('[gd_detect(img_pth, c + s) for c in "ab" for s in ["x"]]', None),
        ('[gd_detect(img_pth, c + s) for c in ("a", "b") for s in ["x"]]', ("ax", "bx")),
        ('gd_detect(img_pth, ", ".join(["a", "b"]))', ("a", "b")),
        ('w = ["a"]\nw.append("b")\nfor x in w:\n    gd_detect(img_pth, x.upper())', ("A", "B")),
        ('p = "a"\np += ", b"\ngd_detect(img_pth, p)', ("a", "b")),
        ('gd_detect(img_pth, "a" if big else "b")', ("a", "b")),
        ('w = ["a", "b"]\ngd_detect(img_pth, w[-1])', ("b",)),
        ('def find(name):\n    return gd_detect(img_pth, name)\nfind("a")\nfind(name="b")', ("a", "b")),
        ('find = gd_detect\nfind(img_pth, "a")', ("a",)),
        ('if gd_detect(img_pth, "TV, tv") or gd_detect(img_pth, "Tv"):\n    pass', ("TV",)),
    ],
)
def test_phrases_are_found_in_the_syntax_tree(code: str, phrases: tuple[str, ...] | None) -> None:
    expected = Phrases((), (1,)) if phrases is None else Phrases(phrases, ())
    assert detection_phrases(code) == expected


@pytest.mark.parametrize(
    ("code", "phrases"),
    [
        ('gd_detect(img_pth, vqa(img_pth, None, "what?"))', Phrases((), (1,))),
        ("gd_detect(img_pth, *args)", Phrases((), (1,))),
        ("gd_detect(img_pth)", Phrases((), (1,))),
        ('x = 1\ngd_detect(img_pth, f"{x:>5} cars")', Phrases((), (2,))),
        ('x = "a"\nif y:\n    x = vqa(img_pth, None, "?")\ngd_detect(img_pth, x)', Phrases(("a",), (4,))),
        ('for x in ["a", unknown]:\n    gd_detect(img_pth, x)', Phrases(("a",), (2,))),
    ],
)
def test_what_only_running_tells_is_reported_by_line(code: str, phrases: Phrases) -> None:
    assert detection_phrases(code) == phrases


@pytest.mark.parametrize(
    "code",
    [
        "def f(:",
        "a\0b",
        "(" * 5000,
        "-" * 50_000 + "1",
        "x = " + "1+" * 5000 + "1",
        "x = 'a'\n" + "x = x + x\n" * 60 + "gd_detect(img_pth, x)",
        "\n".join(f"x{i} = [{', '.join([f'x{i - 1}'] * 9)}]" for i in range(1, 40))
        + "\ngd_detect(img_pth, x39)",
    ],
)
def test_no_program_takes_long_to_look_at(code: str) -> None:
    started = time.process_time()
    assert detection_phrases(code).phrases in ((), ("a",)) or "x + x" in code
    assert time.process_time() - started < 3
