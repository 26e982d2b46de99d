"""`make story`: what the Makefile types is understood, and is a shorter run than the profile it stands on."""

import re
from pathlib import Path

from valor_ray.cli import build_parser
from valor_ray.config.tree import Config

REPOSITORY = Path(__file__).parents[2]


def test_the_makefiles_line_is_a_shorter_run_that_ends_on_a_checkpoint() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    line = re.search(r"^story: .*\n\t\$\(BIN\)/valor (.+)$", makefile, re.MULTILINE)
    assert line
    given = build_parser().parse_args(line[1].split())
    assert (
        given.folder.parts[0] == "runs" and "/runs/" in (REPOSITORY / ".gitignore").read_text().splitlines()
    )
    story, whole = Config.load(str(REPOSITORY / given.profile), []), Config.load("local", [])
    for name in ("grpo", "finetune"):
        short, long = getattr(story, name), getattr(whole, name)
        assert short.steps < long.steps and short.steps % short.save_every == 0
    assert given.questions < 504 and given.eval_scenes < 300
