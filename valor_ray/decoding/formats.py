"""Which format a file is of, by its first bytes, and words for what is no picture."""

from __future__ import annotations

import re

from valor_ray.errors import ImageError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF", "HEIF")
ACCEPTED = "Send a PNG, JPEG, WebP, GIF, TIFF, BMP, AVIF or HEIC."
_STARTS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"BM": "BMP",
}
_AVIF = {b"avif", b"avis"}
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_OTHERS = {
    b"%PDF": "a PDF document: export the page as PNG",
    b"%!PS": "a PostScript drawing: export it as PNG",
    b"\0\0\1\0": "an icon file (ICO): save it as PNG",
    b"8BPS": "a Photoshop document: export it as PNG",
    b"\xff\x0a": "a JPEG XL: save it as JPEG or PNG",
    b"\0\0\0\x0cJXL ": "a JPEG XL: save it as JPEG or PNG",
    b"\0\0\0\x0cjP  ": "a JPEG 2000: save it as JPEG or PNG",
    b"\xff\x4f\xff\x51": "a JPEG 2000: save it as JPEG or PNG",
    b"PK\3\4": "a ZIP archive: take the picture out of it",
    b"\x1f\x8b": "a gzip archive: take the picture out of it",
    b"\x1a\x45\xdf\xa3": "a video: take one of its frames",
    b"version https://git-lfs": "a Git LFS pointer, the file itself has not been downloaded: run git lfs pull",
}
_TEXTS = (
    (rb"<svg", "an SVG drawing: export it as PNG"),
    (rb"<(?:!doctype\s+html|html|head|body)", "a web page (an error, or a log-in?): see what its address shows"),
    (rb"[{\[]\s*[\"}\]{]", "JSON (an error message?): read it"),
    (rb"data:image/", "a data URI saved as a file: save the picture itself"),
)  # fmt: skip


def format_of(data: bytes) -> str:
    """One of FORMATS. Raises ImageError, which says what the file is where its beginning tells."""
    for start, form in _STARTS.items():
        if data.startswith(start):
            return form
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3].isspace():
        return "PPM"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _by_brands(data)
    raise ImageError(f"This is {_kind_of(data)}")


def _by_brands(data: bytes) -> str:
    """Of a file made of ISO boxes: pictures and videos alike begin with the brands that they follow."""
    box = data[8 : max(12, min(int.from_bytes(data[:4], "big"), 512))]
    brands = {box[:4]} | {box[place : place + 4] for place in range(8, len(box), 4)}
    if box[:4] in _AVIF or (box[:4] not in _HEIF - {b"mif1", b"msf1"} and brands & _AVIF):
        return "AVIF"
    if brands & _HEIF:
        return "HEIF"
    raise ImageError(f"This is not a picture but a video or raw camera file: take one frame. {ACCEPTED}")


def _kind_of(data: bytes) -> str:
    for start, words in _OTHERS.items():
        if data.startswith(start):
            return _words(words)
    head = data[:2048].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(b"<"):
        for pattern, words in _TEXTS[:2]:
            if re.search(pattern, head):
                return _words(words)
    for pattern, words in _TEXTS[2:]:
        if re.match(pattern, head):
            return _words(words)
    return f"not a picture that can be read ({len(data):,} bytes). {ACCEPTED}"


def _words(words: str) -> str:
    what, _, advice = words.partition(": ")
    return f"not a picture but {what}: {advice}. {ACCEPTED}"
