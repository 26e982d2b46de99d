"""What a file is by its first bytes, and words for what is no picture."""

from __future__ import annotations

import sys

import pytest
from hostile_pictures import encode
from PIL import Image

from valor_ray import images
from valor_ray.config.service import ImageConfig
from valor_ray.decoding.formats import FORMATS, format_of
from valor_ray.decoding.here import register_heif
from valor_ray.errors import ImageError

LIMITS = ImageConfig()
PLAIN = Image.new("RGB", (40, 24), (200, 30, 40))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_known_by_its_first_bytes_and_decodes(form: str) -> None:
    register_heif()
    data = encode(PLAIN, form)
    assert format_of(data) == form
    picture = images.decode(data, LIMITS)
    assert (picture.width, picture.height) == (40, 24)
    assert abs(int(picture.rgb[12, 20, 0]) - 200) < 8


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing: export it as PNG"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg>", "an SVG drawing"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><html><title>403", "a web page"),
        (b"<HTML><BODY>gone", "a web page"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript drawing"),
        (b'{"error": "no such key"}', "JSON"),
        (b"data:image/png;base64,iVBOR", "a data URI saved as a file"),
        (b"\0\0\1\0\1\0\x10\x10", "an icon file"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"\xff\x0a\xfa\x1f", "a JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000"),
        (b"PK\3\4", "a ZIP archive"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "a video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "raw camera file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89PN", "not a picture that can be read"),
        (b"GIF", "not a picture that can be read"),
    ],
)
def test_what_is_no_picture_is_refused_as_what_it_is(data: bytes, words: str) -> None:
    with pytest.raises(ImageError, match="not a picture") as refused:
        images.decode(data, LIMITS)
    assert words in str(refused.value)


def test_heic_without_its_decoder_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match="pip install pillow-heif"):
        register_heif()
