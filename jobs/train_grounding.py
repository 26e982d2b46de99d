"""Fine-tunes the detector on Ray, as a job: `valor train grounding` with the same options.

    ray job submit -- python -m jobs.train_grounding --run /shared/runs/finetuned --mined /shared/runs/boxes

On a cluster, the run folder and the set's pictures must be such that all nodes see them.
"""

import sys

from valor_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", "grounding", *sys.argv[1:]]))
