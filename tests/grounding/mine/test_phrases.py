"""Phrases of a program from its syntax tree and from running it in a real sandbox."""

import asyncio

import pytest

from valor_ray.config.service import SandboxConfig
from valor_ray.grounding.mine.phrases import MOST_PHRASES, ProgramPhrases, merged, program_phrases
from valor_ray.program.sandbox import Sandbox

END = "\nfinal_answer = 1"


def asked(*codes: str) -> list[ProgramPhrases]:
    async def run() -> list[ProgramPhrases]:
        async with Sandbox(SandboxConfig(wall_seconds=3, workers=1)) as sandbox:
            return [await program_phrases(code, sandbox) for code in codes]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("code", "phrases"),
    [
        ('# gd_detect(img_pth, "no")\ngd_detect(img_pth, "Red Ball . cone")', ("Red Ball", "cone")),
        ('gd_detect(img_pth, "coffee-table")\ngd_detect(img_pth, "Coffee table")', ("coffee-table",)),
        # only running tells
        ('for w in "red ball/blue cone".split("/"):\n    gd_detect(img_pth, w)', ("red ball", "blue cone")),
        ('for n in [1, 2]:\n    gd_detect(img_pth, f"shelf {n:02d}")', ("shelf 01", "shelf 02")),
        # only the tree tells: the program never gets there
        ('if False:\n    gd_detect(img_pth, "hidden")', ("hidden",)),
        ('if not gd_detect(img_pth, "sofa"):\n    gd_detect(img_pth, "seat".replace("t", "ts"))',
         ("sofa", "seats")),
        ('if vqa(img_pth, None, "Is it day?") == "no":\n    gd_detect(img_pth, "lamp")', ("lamp",)),
        # what a placeholder has said is no phrase
        ('c = vqa(img_pth, None, "What colour?")\ngd_detect(img_pth, c + " ball")', ()),
        ('n = len(gd_detect(img_pth, "cup"))\nif n:\n    gd_detect(img_pth, f"{n:d} cups")', ("cup",)),
        ('b = gd_detect(img_pth, "cup")\nif b:\n    gd_detect(img_pth, str(b[0]["bbox"][2]))', ("cup",)),
        ('b = gd_detect(img_pth, "cup")\nif b:\n    gd_detect(img_pth, f"{depth(img_pth, b[0][\'bbox\']):.3f} m")',
         ("cup",)),
        # what the program has made of a label is
        ('b = gd_detect(img_pth, "cup")\nif b:\n    gd_detect(img_pth, b[0]["label"] + " handle")',
         ("cup", "cup handle")),
        ("x = 1", ()),
    ],
)  # fmt: skip
def test_phrases_are_what_the_program_means(code: str, phrases: tuple[str, ...]) -> None:
    got = asked(code + END)[0]
    assert (got.phrases, got.status) == (phrases, "ok")


def test_a_program_that_fails_keeps_what_it_has_asked_for_and_a_broken_one_asks_for_nothing() -> None:
    failing, broken, endless = asked(
        'for w in ("a b", "c"):\n    gd_detect(img_pth, w.upper())\nraise ValueError',
        "gd_detect(img_pth, 'a'",
        'gd_detect(img_pth, "cup".title())\nwhile True:\n    pass',
    )
    assert (failing.phrases, failing.status) == (("A B", "C"), "error")
    assert broken == ProgramPhrases((), (), "rejected")
    assert (endless.phrases, endless.status) == (("Cup",), "timeout")
    assert asked('gd_detect(img_pth, "ball, \\ud800 cone")')[0].phrases == ("ball",)  # half a character


def test_phrases_of_one_program_are_limited() -> None:
    many = ", ".join(f'"thing {n} of it"' for n in range(150))
    assert len(asked(f"for w in [{many}]:\n    gd_detect(img_pth, w){END}")[0].phrases) == MOST_PHRASES


def test_merged_keeps_the_first_spelling_and_nothing_without_words() -> None:
    assert merged(["Red  ball", "red-ball", "CUP", "...", "\ud800 cup", "cup", "café"]) == (
        "Red  ball",
        "CUP",
        "café",
    )
