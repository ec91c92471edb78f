"""One rule for every kind of picture: what comes out is upright, opaque RGB, and what was done is noted."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pictor.data.decoding import Unusable, decode, decode_to, look


def smooth(width: int, height: int) -> Image.Image:
    """Colours that differ in all corners and survive JPEG."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return Image.fromarray((np.stack([x, y, (1 - x) * y], axis=2) * 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def at(width: int, height: int):  # type: ignore[no-untyped-def]
    return lambda across, down: (width, height)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_as_their_camera_says(orientation: int, kind: str) -> None:
    upright = smooth(48, 32)
    undo = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]  # of Image.Transpose, whose 2 and 4 are 90 and 270
    stored = upright if undo is None else upright.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, kind, exif=exif.tobytes())
    image, seen = decode(data)
    assert (seen.width, seen.height) == image.size == (48, 32)
    assert ("turned" in seen.notes) == (orientation > 1)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(upright))
    pixels, _ = decode_to(data, at(48, 32))
    np.testing.assert_array_equal(pixels, np.asarray(upright))
    small, _ = decode_to(data, at(24, 16))
    whole = np.asarray(upright.resize((24, 16), Image.Resampling.LANCZOS), int)
    assert np.abs(small.astype(int) - whole).max() <= 1


def test_transparent_pictures_are_laid_on_white() -> None:
    image = Image.new("RGBA", (16, 16), (200, 0, 0, 255))
    assert decode(encoded(image))[1].notes == ()
    image.paste((0, 0, 0, 0), (0, 0, 8, 16))
    found, seen = decode(encoded(image))
    assert seen.notes == ("transparent",)
    assert found.getpixel((2, 2)) == (255, 255, 255)
    assert found.getpixel((12, 2)) == (200, 0, 0)
    small, _ = decode_to(encoded(image), at(8, 8))
    assert small[4, 0].tolist() == [255, 255, 255]
    assert small[4, 7].tolist() == [200, 0, 0]
    # What cannot be seen has no colour: the black below must not darken the edge.
    assert small[:, :, 0].min() >= 199
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.info["transparency"] = 1
    assert decode(encoded(palette, transparency=1))[0].getpixel((0, 0)) == (255, 255, 255)


def test_other_modes() -> None:
    grey = Image.fromarray((np.arange(256, dtype=np.uint16) * 257).reshape(16, 16))
    found, seen = decode(encoded(grey))
    assert seen.notes == ("16 bits",)
    np.testing.assert_array_equal(np.asarray(found)[:, :, 1], np.arange(256).reshape(16, 16))
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    found, seen = decode(encoded(ink, "JPEG", quality=95))
    assert seen.notes == ("CMYK",)
    assert np.abs(np.asarray(found)[8, 8].astype(int) - [255, 0, 0]).max() <= 4
    one = decode(encoded(Image.new("1", (16, 16), 1)))[0]
    assert (one.mode, one.getpixel((0, 0))) == ("RGB", (255, 255, 255))
    with pytest.raises(Unusable, match="floating-point"):
        decode(encoded(Image.new("F", (16, 16)), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animations_give_their_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "white")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    found, seen = decode(data)
    assert seen.notes == ("animated",)
    assert np.abs(np.asarray(found)[8, 8].astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize(("width", "height"), [(64, 64), (80, 48), (48, 80)])
def test_jpegs_decoded_small_are_as_those_decoded_whole(width: int, height: int) -> None:
    data = encoded(smooth(700, 431), "JPEG", quality=95)
    found, seen = decode_to(data, at(width, height))
    assert found.shape == (height, width, 3)
    assert (seen.width, seen.height) == (700, 431)
    whole = Image.open(io.BytesIO(data))
    scale = min(700 / width, 431 / height)
    left, top = (700 - width * scale) / 2, (431 - height * scale) / 2
    box = (left, top, 700 - left, 431 - top)
    wanted = np.asarray(whole.resize((width, height), Image.Resampling.LANCZOS, box), int)
    assert np.abs(found - wanted).mean() < 0.6
    assert np.abs(found - wanted).max() <= 8


def test_what_is_no_picture_is_said() -> None:
    with pytest.raises(Unusable, match="it is no PNG, JPEG"):
        look(b"words")
    data = encoded(smooth(300, 300), "JPEG")
    with pytest.raises(Unusable, match="cannot be read"):
        decode(data[: len(data) // 2])
    assert look(data[: len(data) // 2]).width == 300
    wide = encoded(Image.new("1", (65_000, 1001)))
    for read in (look, decode):
        with pytest.raises(Unusable, match="more than 64 million"):
            read(wide)
