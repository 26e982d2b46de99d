"""Makes the tabletop's checkpoints and their card: valor_ray/tabletop/pretrain/checkpoints.py.

python -m jobs.pretrain_tabletop --run runs/pretrain            # about an hour and a half on two cores
"""

import sys

from valor_ray.tabletop.pretrain.checkpoints import main

if __name__ == "__main__":
    sys.exit(main())
