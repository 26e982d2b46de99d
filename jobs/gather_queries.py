"""Puts one list of queries together, apart from the evaluation: valor_ray/commands/tools/gather_queries.py.

python -m jobs.gather_queries --evaluation data/evaluation --from vsr=data/vsr --out data/mining/queries.jsonl
"""

import sys

from valor_ray.commands.tools.gather_queries import main

if __name__ == "__main__":
    sys.exit(main())
