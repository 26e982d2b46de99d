"""`python -m valor_ray` is `valor`."""

import sys

from valor_ray.cli import main

if __name__ == "__main__":
    sys.exit(main())
