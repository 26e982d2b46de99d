"""Scores replies on Ray, as a job: `valor score` with the same options.

ray job submit -- python -m jobs.score --replies /shared/replies.jsonl --out /shared/runs/score
"""

import sys

from valor_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["score", *sys.argv[1:]]))
