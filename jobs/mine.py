"""Mines a detection set on Ray, as a job: `valor mine` with the same options.

ray job submit -- python -m jobs.mine --run /shared/runs/boxes --queries /shared/photos
"""

import sys

from valor_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["mine", *sys.argv[1:]]))
