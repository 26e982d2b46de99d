"""`valor demo`: the whole chain on rendered scenes, a table, and a page to look at."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from valor_ray.commands.options import add_profile, load_config, local_path, positive, show
from valor_ray.doctor.listening import free_port

if TYPE_CHECKING:
    import numpy as np

    from valor_ray.config.tree import Config
    from valor_ray.demo.questions import AskedQuestion, DemoTurn, Question

HELP = "Answer questions about rendered scenes; writes one HTML page that shows how."
EPILOG = """\
examples:
  valor demo --out demo/
  valor demo --out demo/ --questions 60 --seed 3 --look dusk

Where the settings name shipped weights that training gave, the same questions are first asked of the bases that
these were trained from, by the same seeds; the app then takes the trained weights without a restart, and table and
page show both answers. `--set policy.model=tabletop:policy --set detector.model=tabletop:detector`: the bases alone.

The app runs on a free port while the demo lasts. Progress is on stderr, the table on stdout.
Exit code 0: every question got a reply, right or wrong; 1: the service failed.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=local_path, default=Path("demo"), metavar="DIR", help="where to write (default demo/)"
    )
    parser.add_argument(
        "--questions", type=positive, default=24, metavar="N", help="how many to ask (default 24)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the scenes and questions (default 0)"
    )
    parser.add_argument(
        "--look",
        default=None,
        metavar="NAME",
        help="tiles, wood, dusk, loud (default: these four in turn), lamp or quilt",
    )
    add_profile(parser)


def run(args: Namespace) -> int:
    start = time.monotonic()
    config = load_config(args, f"server.port={free_port()}")
    _say("loading the libraries")
    from valor_ray.demo.memory import PeakMemory
    from valor_ray.demo.page import write_page
    from valor_ray.demo.questions import read_questions
    from valor_ray.demo.report import change, rows, worth
    from valor_ray.tabletop.dataset import QUESTIONS_PER_SCENE, write_dataset

    scenes = -(-args.questions // QUESTIONS_PER_SCENE)
    _say(f"rendering {scenes} scenes into {args.out}/")
    write_dataset(args.out, scenes, args.seed, args.look, split="held_out")
    questions = read_questions(args.out)[: args.questions]
    with PeakMemory() as memory:
        shown = _asked(args, config, questions, start)
    said = worth(config.policy.temperature)
    page = write_page(args.out / "index.html", shown.turns, shown.depths, _models(config), said)
    show("\n".join(rows(shown.turns)))
    if len(shown.turns) > 1:
        show(f"{change(*shown.turns)}\n{said}")
    show(
        f"app up in {shown.up_s:.0f} s, all done in {time.monotonic() - start:.0f} s, "
        f"peak memory {memory.peak_bytes / 2**30:.1f} GiB\npage: {page.resolve()}"
    )
    return 1 if shown.failed else 0


@dataclass(frozen=True)
class _Asked:
    """What the page is made of."""

    turns: tuple[DemoTurn, ...]
    depths: dict[Path, np.ndarray]  # metres by picture
    up_s: float  # from the start of the command to the first question

    @property
    def failed(self) -> bool:
        return any(outcome.failed for turn in self.turns for outcome in turn.outcomes)


def _asked(args: Namespace, config: Config, questions: Sequence[Question], start: float) -> _Asked:
    """All questions, of the bases too where the settings name what was trained from them; the app is up meanwhile."""
    from deployments.serving import serving
    from valor_ray.demo.questions import DemoTurn, depth_maps
    from valor_ray.demo.trained import turns

    with TemporaryDirectory() as folder:
        two = turns(config, Path(folder))
        first, policy_run = (config, None) if two is None else (two.config, two.policy_run)
        with serving(first, _say, policy_run=policy_run) as url:
            up = time.monotonic() - start
            _say(f"app ready after {up:.0f} s; asking {len(questions)} questions")
            token = config.server.token()
            asked = [DemoTurn("base" if two else "", _ask(args, questions, url, token))]
            if two is not None:
                two.go_over()
                _say(f"the same questions, now of {' and '.join(two.trained.values())}")
                asked.append(DemoTurn("trained", _ask(args, questions, url, token)))
            shown = _Asked(tuple(asked), {}, up)
            if not shown.failed:
                pictures = {question.image for question in questions}
                shown = replace(shown, depths=depth_maps(iter(pictures), url, token))
            _say("stopping the app")
    return shown


def _ask(
    args: Namespace, questions: Sequence[Question], url: str, token: str | None
) -> tuple[AskedQuestion, ...]:
    from valor_ray.demo.questions import ask_all
    from valor_ray.demo.report import mark, short

    def told(done: int, outcome: AskedQuestion) -> None:
        answer = outcome.reply["error"] or short(outcome.reply["answer"])
        words = f"{outcome.question.text} -> {answer}  ({outcome.seconds:.1f} s)"
        _say(f"[{done}/{len(questions)}] {mark(outcome)}  {words}")

    return ask_all(questions, url, token, args.seed, told)


def _models(config: Config) -> str:
    from valor_ray.models.shipped import told

    return (
        f"Models: policy {told(config.policy.model) if config.policy.endpoint is None else config.policy.writer}, "
        f"detector {told(config.detector.model)}, depth {config.depth.model}, VQA {config.vlm.model}."
    )


def _say(line: str) -> None:
    show(f"valor demo: {line}", file=sys.stderr, flush=True)
