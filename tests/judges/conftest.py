"""Lets the tests of this folder import `rough_endpoint`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
