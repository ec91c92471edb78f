"""Given pictures: what is wrong is one clear error; what can be used is read as its maker meant it."""

import numpy as np
import pytest
from PIL import Image

from pictor import InputError
from pictor.core.levels import FlowPath
from pictor.core.plan import Defaults, Traits
from pictor.tasks.inputs import covering, digest, fitting, is_picture, read_mask, read_pixels

TRAITS = Traits(
    name="test",
    abilities=frozenset({"text", "whole", "encode"}),
    path=FlowPath(),
    prediction="flow",
    latent_channels=16,
    latent_stride=8,
    stride=16,
    min_side=32,
    max_side=128,
    max_tokens=32,
    defaults=Defaults(num_steps=4, guidance_scale=1.0, solver="euler", spacing="uniform", size=(64, 64)),
)


def noise(width, height, mode="RGB"):
    channels = len(Image.new(mode, (1, 1)).getbands())
    raw = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(raw if channels > 1 else raw[..., 0], mode if channels > 1 else "L")


def test_names_images_and_arrays_are_the_same_picture(tmp_path):
    image = noise(20, 12)
    image.save(tmp_path / "a.png")
    pixels = np.asarray(image)
    for given in (tmp_path / "a.png", str(tmp_path / "a.png"), image, pixels):
        np.testing.assert_array_equal(read_pixels(given, "image"), pixels)
    assert digest(read_pixels(image, "image")) == digest(pixels)
    assert digest(pixels) != digest(pixels.reshape(20, 12, 3))


def test_pictures_are_turned_as_the_camera_was_held(tmp_path):
    image = noise(20, 12)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png", "image"), np.rot90(np.asarray(image), -1))


def test_an_alpha_channel_that_hides_nothing_is_no_matter():
    image = noise(20, 12)
    opaque = image.convert("RGBA")
    np.testing.assert_array_equal(read_pixels(opaque, "image"), np.asarray(image))


def save(folder, image, name="a.png", **options):
    image.save(folder / name, **options)
    return folder / name


DEFECTS = {
    "transparent": (lambda f: save(f, noise(20, 12, "RGBA")), "transparent"),
    "palette": (lambda f: save(f, noise(20, 12).quantize(8), transparency=1), "transparent"),
    "cmyk": (lambda f: save(f, noise(20, 12).convert("CMYK"), "a.jpg"), "CMYK"),
    "sixteen bits": (
        lambda f: save(f, Image.fromarray(np.full((12, 20), 40000, np.uint16))),
        "8 bits",
    ),
    "animated": (
        lambda f: save(f, noise(20, 12), "a.gif", save_all=True, append_images=[Image.new("RGB", (20, 12))]),
        "animated, 2",
    ),
    "one pixel": (lambda f: save(f, noise(1, 1)), "1x1"),
    "large": (lambda f: save(f, Image.new("1", (10_000, 10_000))), "64 million"),
    "text": (lambda f: (f / "a.png").write_text("no picture") and f / "a.png", "cannot read"),
    "half": (lambda f: _half(save(f, noise(200, 120))), "cannot read"),
    "missing": (lambda f: f / "none.png", "no file"),
    "folder": (lambda f: f, "no file"),
    "a name that cannot be": (lambda f: "a\0b.png", "no file"),
    "a number": (lambda f: 7, "is a int"),
    "floats": (lambda f: np.zeros((12, 20, 3)), "float64"),
    "four channels": (lambda f: np.zeros((12, 20, 4), np.uint8), "uint8"),
}


def _half(path):
    path.write_bytes(path.read_bytes()[:2000])
    return path


@pytest.mark.parametrize("name", DEFECTS)
def test_what_is_wrong_is_said_once(tmp_path, name):
    make, words = DEFECTS[name]
    given = make(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        read_pixels(given, "image")
    assert caught.value.param == "image"


def test_masks():
    mask = np.zeros((12, 20), np.uint8)
    mask[3:5, 4:8] = 255
    read = read_mask(mask, (20, 12), "mask")
    assert read.sum() == 8
    with pytest.raises(InputError, match="20x12 and the picture 21x12"):
        read_mask(mask, (21, 12), "mask")
    with pytest.raises(InputError, match="nothing in the mask is white"):
        read_mask(np.zeros_like(mask), (20, 12), "mask")


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ((64, 64), (64, 64)),
        ((70, 100), (64, 96)),
        ((4000, 3000), (128, 96)),
        ((10, 10), (32, 32)),
        ((3000, 100), (128, 32)),
    ],
)
def test_sizes_that_fit(given, size):
    assert fitting(*given, TRAITS) == size


def test_covering_cuts_to_the_middle():
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    assert covering(pixels, (10, 10)).min() == 200
    assert covering(pixels, (60, 20)).shape == (20, 60, 3)


def test_what_is_a_picture(tmp_path):
    file = save(tmp_path, noise(8, 8))
    assert all(is_picture(given) for given in (file, str(file), noise(8, 8), np.zeros((8, 8, 3), np.uint8)))
    assert not any(is_picture(given) for given in ("a cat", 7, None))
