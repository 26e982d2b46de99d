"""Any Pillow image to upright 8-bit RGB, some rows at a time, so that no second copy of the whole is made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from valor_ray.decoding.source import shrinkage

_STRIP_PIXELS = 2**20  # at a time
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS, _FROM_END = (5, 6, 7, 8), (3, 4, 6, 7)  # rows become columns; the first becomes the last


def upright_rgb(image: Image.Image, orientation: int, max_pixels: int) -> np.ndarray:
    """uint8 (height, width, 3) of a loaded image, alpha laid on white, halved until it has at most `max_pixels`.

    16-bit greys are scaled by their full range, 32-bit and float pixels from their smallest to their largest value.
    """
    factor = shrinkage(image.width, image.height, max_pixels)
    width, height = -(-image.width // factor), -(-image.height // factor)
    pixels = np.empty((width, height, 3) if orientation in _SIDEWAYS else (height, width, 3), np.uint8)
    rgb = _conversion(image)
    rows = max(1, _STRIP_PIXELS // image.width // factor) * factor
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        strip = rgb(image.crop((0, top, image.width, bottom)))
        if factor > 1:
            strip = strip.reduce(factor)
        if (turn := _TURNS.get(orientation)) is not None:
            strip = strip.transpose(turn)
        first, last = top // factor, -(-bottom // factor)
        if orientation in _FROM_END:
            first, last = height - last, height - first
        if orientation in _SIDEWAYS:
            pixels[:, first:last] = np.asarray(strip)
        else:
            pixels[first:last] = np.asarray(strip)
    return pixels


def _conversion(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """From rows of the image to RGB."""
    if image.mode.startswith("I;16"):
        return lambda rows: _grey(np.asarray(rows).astype(np.float32) / 257)
    if image.mode in ("I", "F"):
        low, high = _range(image)
        return lambda rows: _grey(_stretch(np.asarray(rows).astype(np.float64), low, high))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        return _on_white
    if image.mode == "RGB":
        return lambda rows: rows
    return lambda rows: rows.convert("RGB")


def _on_white(rows: Image.Image) -> Image.Image:
    layer = rows.convert("RGBA") if rows.mode != "La" else rows.convert("LA").convert("RGBA")
    paper = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(paper, layer).convert("RGB")


def _range(image: Image.Image) -> tuple[float, float]:
    """Of the finite values; (inf, -inf) where there are none."""
    low, high = np.inf, -np.inf
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        values = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        if (finite := values[np.isfinite(values)]).size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return low, high


def _stretch(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scale finite values to 0..255; what is not finite becomes 0."""
    if low > high:
        return np.zeros_like(values)
    return np.where(np.isfinite(values), (values - low) / max(high - low, 1e-12) * 255, 0)


def _grey(values: np.ndarray) -> Image.Image:
    shades = Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    return shades.convert("RGB")
