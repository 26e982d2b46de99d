"""Trains the policy on Ray, as a job: `valor train reasoning` with the same options.

    ray job submit -- python -m jobs.train_reasoning --run /shared/runs/first

On a cluster, the run folder must be one that all nodes see.
"""

import sys

from valor_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", "reasoning", *sys.argv[1:]]))
