"""By hand: what the released scripts say of made-up answers, as a table that test_official_verdicts.py holds us to.

    git clone https://github.com/damianomarsili/VALOR /tmp/valor
    git clone https://github.com/chanhee-luke/RoboSpatial-Eval /tmp/robospatial
    python tests/measure/official/write_verdicts.py --valor /tmp/valor --robospatial /tmp/robospatial

Runs their functions where they lie and writes verdicts.json beside this file; none of their code is kept. GQA is not in
it: there the paper's script asks a model.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pairs import PAPER, ROBOSPATIAL, Pairs

TABLE = Path(__file__).with_name("verdicts.json")
NAMES = {"omni3d_int": "omni3d-bench", "omni3d_float": "omni3d-bench", "omni3d_text": "omni3d-bench"}
NAMES["countbenchqa"] = "countbench"  # the script's own, where it is another


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--valor", type=Path, required=True, metavar="CHECKOUT")
    parser.add_argument("--robospatial", type=Path, required=True, metavar="CHECKOUT")
    args = parser.parse_args()
    metrics, robospatial = loaded(args.valor / "eval/metrics.py"), loaded(args.robospatial / "evaluation.py")
    table = {
        "made_by": {"VALOR": commit(args.valor), "RoboSpatial-Eval": commit(args.robospatial)},
        "paper": {name: marked(pairs, of_paper(metrics, name, pairs.kind)) for name, pairs in PAPER.items()},
        "robospatial_official": marked(
            ROBOSPATIAL, lambda answer, truth: robospatial.evaluate_answer(truth, answer)[0]
        ),
    }
    TABLE.write_text(json.dumps(table, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def of_paper(metrics: Any, name: str, kind: str) -> Callable[[Any, Any], float]:
    script = NAMES.get(name, name)

    def mark(answer: Any, truth: Any) -> float:
        so_far: Any = defaultdict(float) if script == "omni3d-bench" else 0
        return float(metrics.update_accuracy(script, so_far, answer, truth, kind)[1])

    return mark


def marked(pairs: Pairs, mark: Callable[[Any, Any], float]) -> dict[str, Any]:
    """A row of verdicts a truth."""
    verdicts = [[float(mark(answer, truth)) for answer in pairs.answers] for truth in pairs.truths]
    return {"truths": pairs.truths, "answers": pairs.answers, "verdicts": verdicts}


def loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"official_{path.stem}", path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commit(checkout: Path) -> str:
    said = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], check=True, capture_output=True)
    return said.stdout.decode().strip()


if __name__ == "__main__":
    sys.exit(main())
