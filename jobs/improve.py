"""Does the whole paper as one job on Ray: `valor improve` with the same options.

    ray job submit -- python -m jobs.improve --run /shared/runs/paper

On a cluster, the run folder must be one that all nodes see. Each stage goes to Ray by itself.
"""

import sys

from valor_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["improve", *sys.argv[1:]]))
