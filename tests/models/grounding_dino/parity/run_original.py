"""What the original GroundingDINO computes from a checkpoint, loaded by its own program: run as make_fixture.py is.

    .venv-oracle/bin/python tests/models/grounding_dino/parity/run_original.py CHECKPOINT.pth OUTPUTS.npz

OUTPUTS.npz: logits, boxes, and the names of weights that the checkpoint lacks or has too many.
tests/models/grounding_dino/test_to_original.py calls it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import make_fixture
from groundingdino.util.inference import load_model
from groundingdino.util.misc import clean_state_dict


def main(checkpoint: str, written: str) -> None:
    make_fixture.without_downloads()
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "settings.py"
        fields = {"modelname": "groundingdino", **make_fixture.SETTINGS}
        settings.write_text("".join(f"{name} = {value!r}\n" for name, value in fields.items()))
        model = load_model(str(settings), checkpoint, device="cpu")
    # load_model does not say what it has left out, so it is asked a second time
    held = torch.load(checkpoint, map_location="cpu")["model"]
    said = model.load_state_dict(clean_state_dict(held), strict=False)
    np.savez_compressed(
        written,
        **make_fixture.outputs(model),
        missing=np.array(said.missing_keys, str),
        unexpected=np.array(said.unexpected_keys, str),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
