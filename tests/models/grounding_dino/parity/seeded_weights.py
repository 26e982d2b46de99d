"""Weights and inputs that the original package and this project generate alike, from names alone."""

from __future__ import annotations

import hashlib
import math

import numpy as np

# Sizes of the small model; the original's names for them are in make_fixture.py.
EMBED_DIM, DEPTHS, SWIN_HEADS, WINDOW = 16, (1, 1, 2, 1), (1, 2, 2, 4), 5
# The original writes the width of text positions (256) into its code, so d_model is not smaller.
D_MODEL, HEADS, FFN, LAYERS, QUERIES = 256, 8, 128, 2, 20
TEXT_HIDDEN, TEXT_LAYERS, TEXT_HEADS, VOCABULARY = 32, 2, 2, 1100

# Two prompts of different length; [CLS] 101, [SEP] 102, "." 1012, [PAD] 0. The second is padded.
CAPTIONS = (
    (101, 7, 8, 1012, 9, 1012, 10, 11, 12, 1012, 13, 14, 1012, 102),
    (101, 20, 21, 1012, 22, 1012, 102, 0, 0, 0, 0, 0, 0, 0),
)
SIDES = ((90, 120), (120, 75))  # (height, width) of the two pictures; the batch is padded to 120 x 120


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values of one parameter, float32: drawn with a seed that is the hash of its name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal(shape)
    if name.endswith("bias") or len(shape) < 2:
        values *= 0.1
        if name.endswith("weight"):  # of a norm
            values += 1
    else:
        values /= math.sqrt(np.prod(shape[1:]))
    return values.astype(np.float32)


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Padded pixels (2, 3, 120, 120) float32 and their mask, True where a picture is."""
    height, width = (max(side[axis] for side in SIDES) for axis in (0, 1))
    pixels = np.zeros((len(SIDES), 3, height, width), np.float32)
    mask = np.zeros((len(SIDES), height, width), bool)
    for row, (tall, wide) in enumerate(SIDES):
        pixels[row, :, :tall, :wide] = tensor(f"picture {row} weight", (3, tall, wide)) * math.sqrt(
            tall * wide
        )
        mask[row, :tall, :wide] = True
    return pixels, mask
