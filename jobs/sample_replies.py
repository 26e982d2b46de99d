"""Samples replies from the policy for `valor score`: valor_ray/commands/train/sample_replies.py.

python -m jobs.sample_replies --queries scenes/queries.jsonl --n 4 --out replies.jsonl
"""

import sys

from valor_ray.commands.train.sample_replies import main

if __name__ == "__main__":
    sys.exit(main())
