"""By hand: both paths of the sandbox on as many generated programs as one likes, other ones than in `make test`.

    python tests/by_hand/service/same_verdict.py [--programs 10000] [--first 1000000]

About 6 minutes for 10,000. Ends with exit code 1 and the first differences when there is one.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS / "support"), str(TESTS.parent)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--programs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=1_000_000, help="seed of the first program")
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location("same_verdict", TESTS / "program/test_same_verdict.py")
    assert spec is not None and spec.loader is not None
    test = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = test
    spec.loader.exec_module(test)
    test.check(args.programs, first_seed=args.first)


if __name__ == "__main__":
    main()
