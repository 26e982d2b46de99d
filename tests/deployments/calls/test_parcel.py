"""Pictures as files between front door and parts: the same pixels there, whatever the file."""

from __future__ import annotations

import asyncio
import io
import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deployments.calls import parcel
from deployments.calls.parcel import Opened, Parcel, Sent, packed
from valor_ray import images
from valor_ray.config.service import ImageConfig
from valor_ray.errors import ImageError, ServiceError
from valor_ray.images import FilePicture, crop
from valor_ray.records import Picture

SIZE = (90, 60)
LIMITS = ImageConfig()


def colours() -> Image.Image:
    """No two corners alike, so that a turn shows; smooth, so that files are small."""
    across, down = np.meshgrid(np.linspace(0, 255, SIZE[0]), np.linspace(0, 255, SIZE[1]))
    return Image.fromarray(np.stack([across, down, 255 - across], -1).astype(np.uint8))


def file_of(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def turned(form: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return file_of(colours(), form, exif=exif)


FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: file_of(colours(), "JPEG"),
    "progressive jpeg": lambda: file_of(colours(), "JPEG", progressive=True),
    "png": lambda: file_of(colours(), "PNG"),
    "webp": lambda: file_of(colours(), "WEBP"),
    "turned jpeg": lambda: turned("JPEG"),
    "turned png": lambda: turned("PNG"),
    "cmyk": lambda: file_of(colours().convert("CMYK"), "JPEG"),
    "palette": lambda: file_of(colours().convert("P"), "PNG"),
    "16-bit grey": lambda: file_of(Image.fromarray(np.arange(5400, dtype=np.uint16).reshape(60, 90)), "PNG"),
    "alpha": lambda: file_of(colours().convert("RGBA"), "PNG"),
    "two colours": lambda: file_of(colours().convert("1"), "PNG"),
    "float tiff": lambda: file_of(colours().convert("F"), "TIFF"),
    "animation": lambda: file_of(
        colours(), "GIF", save_all=True, append_images=[Image.new("RGB", SIZE, "red")]
    ),
}


@pytest.fixture(autouse=True)
def every_picture_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "LEAST_BYTES", 1)
    monkeypatch.setattr(parcel, "_LEAST_GAIN", 0)


def at_the_door(data: bytes, limits: ImageConfig = LIMITS) -> FilePicture:
    return asyncio.run(images.decode_with_file(data, limits))


def opened(sent: Sent) -> Picture:
    return asyncio.run(Opened().picture(sent))


@pytest.mark.parametrize("kind", FILES)
def test_a_part_sees_what_the_door_has_checked(kind: str) -> None:
    picture = at_the_door(FILES[kind]())
    sent = packed(picture)
    assert isinstance(sent, Parcel) and not hasattr(sent, "rgb")
    there = opened(sent)
    assert there.key == picture.key and np.array_equal(there.rgb, picture.rgb)


def test_a_turned_picture_is_upright_there() -> None:
    assert opened(packed(at_the_door(turned("JPEG")))).rgb.shape == (SIZE[0], SIZE[1], 3)


@pytest.mark.parametrize("kind", ["jpeg", "png", "progressive jpeg"])
def test_a_picture_that_was_halved_is_halved_there(kind: str) -> None:
    limits = ImageConfig(max_pixels=1500)
    picture = at_the_door(FILES[kind](), limits)
    assert (picture.width, picture.height) == (45, 30)
    there = opened(packed(picture))
    assert (there.width, there.height, there.key) == (45, 30, picture.key)


@pytest.mark.parametrize("kind", ["jpeg", "turned jpeg", "png"])
def test_a_part_of_a_picture_travels_as_its_file_and_place(kind: str) -> None:
    picture = at_the_door(FILES[kind]())
    part = crop(picture, (3.5, 4.2, 30.1, 41.9))
    sent = packed(part)
    assert isinstance(sent, Parcel) and sent.region == (3, 4, 31, 42) and sent.whole == picture.key
    there = opened(sent)
    assert there.key == part.key and np.array_equal(there.rgb, part.rgb)


def test_a_part_of_a_halved_picture_is_in_its_pixels() -> None:
    part = crop(at_the_door(FILES["jpeg"](), ImageConfig(max_pixels=1500)), (10, 10, 20, 25))
    assert opened(packed(part)).key == part.key


def test_a_part_of_a_part_travels_as_pixels() -> None:
    twice = crop(crop(at_the_door(FILES["png"]()), (10, 10, 50, 50)), (5, 5, 20, 20))
    assert type(packed(twice)) is Picture and opened(packed(twice)).key == twice.key


def test_few_pixels_travel_as_they_are_and_without_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "LEAST_BYTES", 10**9)
    picture = at_the_door(FILES["jpeg"]())
    sent = packed(picture)
    assert type(sent) is Picture and sent.rgb is picture.rgb


def test_a_file_that_is_hardly_smaller_than_its_pixels_stays_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "_LEAST_GAIN", 2)
    noise = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    assert type(packed(at_the_door(file_of(Image.fromarray(noise), "PNG")))) is Picture
    assert isinstance(packed(at_the_door(FILES["jpeg"]())), Parcel)


def test_twelve_megapixels_travel_in_the_bytes_of_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pixels = np.zeros((3000, 4000, 3), np.uint8)
    sent = packed(FilePicture(pixels, "key", b"j" * 3_000_000, LIMITS, "key"))
    assert isinstance(sent, Parcel) and 3_000_000 < len(pickle.dumps(sent)) < 3_010_000


def test_a_file_is_decoded_once_in_a_replica_whatever_is_asked_of_it() -> None:
    decoded: list[int] = []

    async def decode(data: bytes, limits: ImageConfig) -> Picture:
        decoded.append(len(data))
        return await images.decode_soon(data, limits)

    async def run(sent: list[Sent]) -> list[Picture]:
        kept = Opened(decode)
        together = await asyncio.gather(*map(kept.picture, sent))
        return [*together, await kept.picture(sent[0])]

    whole = at_the_door(FILES["jpeg"]())
    asked = [packed(whole), packed(crop(whole, (0, 0, 9, 9))), packed(whole)]
    assert [one.key for one in asyncio.run(run(asked))] == [*(one.key for one in asked), whole.key]
    assert len(decoded) == 1


def test_pixels_that_are_others_there_are_no_answer() -> None:
    sent = packed(at_the_door(FILES["jpeg"]()))
    assert isinstance(sent, Parcel)
    with pytest.raises(ServiceError, match="decoded otherwise here"):
        opened(replace(sent, key="0" * 64))
    with pytest.raises(ServiceError, match="decoded otherwise here"):
        opened(replace(sent, file=sent.file[:200]))


def test_what_passed_the_door_by_a_little_passes_there() -> None:
    """CPU is measured, and differs from time to time."""
    limits: list[ImageConfig] = []

    async def decode(data: bytes, allowed: ImageConfig) -> Picture:
        limits.append(allowed)
        return await images.decode_soon(data, allowed)

    asyncio.run(Opened(decode).picture(packed(at_the_door(FILES["webp"]()))))
    (allowed,) = limits
    assert allowed.decode_seconds > 2 * LIMITS.decode_seconds
    assert allowed.model_copy(update={"decode_seconds": LIMITS.decode_seconds}) == LIMITS


@pytest.mark.parametrize("data", [b"", b"no picture", FILES["png"]()[:100], FILES["jpeg"]()[:300]])
def test_what_is_no_picture_ends_at_the_door(data: bytes) -> None:
    with pytest.raises(ImageError):
        at_the_door(data)
