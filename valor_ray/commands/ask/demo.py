"""`valor demo`: the whole chain on rendered scenes, a table, and a page to look at."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from valor_ray.commands.options import add_profile, load_config, local_path, positive, show
from valor_ray.doctor.listening import free_port

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

HELP = "Answer questions about rendered scenes; writes one HTML page that shows how."
EPILOG = """\
examples:
  valor demo --out demo/
  valor demo --out demo/ --questions 60 --seed 3 --look dusk

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
    from deployments.serving import serving
    from valor_ray.demo.memory import PeakMemory
    from valor_ray.demo.page import write_page
    from valor_ray.demo.questions import AskedQuestion, ask_all, depth_maps, read_questions
    from valor_ray.demo.report import rows, short
    from valor_ray.tabletop.dataset import QUESTIONS_PER_SCENE, write_dataset

    scenes = -(-args.questions // QUESTIONS_PER_SCENE)
    _say(f"rendering {scenes} scenes into {args.out}/")
    write_dataset(args.out, scenes, args.seed, args.look, split="held_out")
    questions = read_questions(args.out)[: args.questions]

    def told(done: int, outcome: AskedQuestion) -> None:
        mark = "right" if outcome.right else "wrong"
        answer = outcome.reply["error"] or short(outcome.reply["answer"])
        _say(
            f"[{done}/{len(questions)}] {mark}  {outcome.question.text} -> {answer}  ({outcome.seconds:.1f} s)"
        )

    with PeakMemory() as memory, serving(config, _say) as url:
        up = time.monotonic() - start
        _say(f"app ready after {up:.0f} s; asking {len(questions)} questions")
        token = config.server.token()
        outcomes = ask_all(questions, url, token, told)
        if any(outcome.failed for outcome in outcomes):
            depths = {}
        else:
            depths = depth_maps(iter({question.image for question in questions}), url, token)
        _say("stopping the app")
    page = write_page(args.out / "index.html", outcomes, depths, _models(config))
    show("\n".join(rows(outcomes)))
    show(
        f"app up in {up:.0f} s, all done in {time.monotonic() - start:.0f} s, "
        f"peak memory {memory.peak_bytes / 2**30:.1f} GiB\npage: {page.resolve()}"
    )
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def _models(config: Config) -> str:
    return (
        f"Models: policy {config.policy.writer}, detector {config.detector.model}, depth {config.depth.model}, "
        f"VQA {config.vlm.model}."
    )


def _say(line: str) -> None:
    show(f"valor demo: {line}", file=sys.stderr, flush=True)
