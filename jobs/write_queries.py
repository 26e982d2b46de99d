"""Has a VLM write a question for each picture: valor_ray/commands/train/write_queries.py.

python -m jobs.write_queries --images photos/ --out photos/queries.jsonl --profile judge.yaml
"""

import sys

from valor_ray.commands.train.write_queries import main

if __name__ == "__main__":
    sys.exit(main())
