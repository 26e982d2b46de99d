"""Has a VLM propose boxes on a mining run's pictures: valor_ray/commands/train/propose_boxes.py.

python -m jobs.propose_boxes --run runs/mine --out runs/generator
"""

import sys

from valor_ray.commands.train.propose_boxes import main

if __name__ == "__main__":
    sys.exit(main())
