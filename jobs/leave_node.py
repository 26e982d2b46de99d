"""Tells Ray that this machine is about to be taken away, and waits until the work on it has left.

python -m jobs.leave_node --seconds 100

The learner of a run saves what it has learnt and is begun again elsewhere, Serve starts its replicas elsewhere, where
there is room. A pod's preStop hook calls it (examples/cluster), and so may whoever ends a machine of a cluster.

Exit code 0: nothing is left here; 1: something still is after so many seconds, or Ray does not let the machine go.
"""

import argparse
import sys

from valor_ray.commands.options import exit_code, positive


def say(line: str) -> None:
    print(f"leave_node: {line}", file=sys.stderr, flush=True)


def main() -> int:
    import ray

    from deployments.learner.leaving import leave_node

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=positive, default=100, help="until it is taken (default 100)")
    seconds = parser.parse_args().seconds
    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    return 0 if leave_node(seconds, say) else 1


if __name__ == "__main__":
    sys.exit(exit_code("leave_node", main))
