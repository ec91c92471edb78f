"""`show` and `reproduce`: pictures of ours, of other tools, and damaged ones."""

import json
import re

import pytest
from PIL import Image, PngImagePlugin


def test_show(run, room):
    run("generate", "红 apple", "--steps", 2, "--negative", "b", "--out", "x.png")
    code, out, err = run("show", "x.png")
    assert (code, err) == (0, "")
    assert "prompt: 红 apple\nnegative_prompt: b\nseed: 0\n" in out
    code, out, _ = run("show", "x.png", "--json")
    assert (json.loads(out)["source"], json.loads(out)["prompt"]) == ("pictor", "红 apple")


PARAMETERS = "a cat\nNegative prompt: blur\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"


def save_foreign(path):
    image = Image.new("RGB", (8, 8))
    if path.suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("parameters", PARAMETERS)
        image.save(path, pnginfo=info)
    elif path.suffix == ".gif":
        image.save(path, comment=PARAMETERS.encode())
    else:
        exif = Image.Exif()
        order = "utf-16-be" if path.suffix == ".jpg" else "utf-16-le"
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + PARAMETERS.encode(order)
        image.save(path, exif=exif)


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.webp", "x.gif"])
def test_show_reads_the_parameters_of_other_tools(run, room, name):
    save_foreign(room / name)
    code, out, _ = run("show", name, "--json")
    assert code == 0
    assert json.loads(out) == {
        "source": "parameters",
        "prompt": "a cat",
        "negative_prompt": "blur",
        "settings": {"Steps": "20", "Sampler": "Euler a", "CFG scale": "7", "Seed": "1", "Size": "512x512"},
    }
    assert "Sampler: Euler a\n" in run("show", name)[1]
    assert run("reproduce", name)[0] == 2


def test_show_does_not_command_the_terminal(run, room):
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a \x1b[2J cat")
    Image.new("RGB", (8, 8)).save("x.png", pnginfo=info)
    assert "\x1b" not in run("show", "x.png")[1]


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "bits", "no recipe", "bad recipe", "folder"])
@pytest.mark.parametrize("verb", ["show", "reproduce"])
def test_corrupt_pictures(run, room, verb, damage):
    run("generate", "a", "--steps", 1, "--out", "x.png")
    file = room / "x.png"
    whole = file.read_bytes()
    middle = len(whole) // 2
    if damage == "folder":
        file.unlink()
        file.mkdir()
    elif damage.endswith("recipe"):
        info = PngImagePlugin.PngInfo()
        if damage == "bad recipe":
            info.add_text("pictor", '{"prompt": 3}')
        Image.new("RGB", (8, 8)).save(file, pnginfo=info)
    else:
        file.write_bytes(
            {
                "cut": whole[:middle],
                "garbage": b"no picture at all",
                "empty": b"",
                "bits": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
            }[damage]
        )
    code, out, err = run(verb, "x.png")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"error: .*\n", err)


def test_reproduce_says_how_far_off(run, room):
    run("generate", "a", "--steps", 2, "--out", "x.png")
    with Image.open("x.png") as image:
        info = PngImagePlugin.PngInfo()
        info.add_text("pictor", image.text["pictor"])
        changed = image.copy()
    red, green, blue = changed.getpixel((3, 3))
    changed.putpixel((3, 3), ((red + 100) % 256, green, blue))
    changed.save("y.png", pnginfo=info)
    code, out, _ = run("reproduce", "y.png")
    assert code == 1
    assert re.fullmatch(r"differs: by at most (100|156) of 255, by 0\.0\d+ on average\n", out)
    code, out, _ = run("reproduce", "y.png", "--json")
    assert (code, json.loads(out)["identical"], json.loads(out)["maximum"] >= 100) == (1, False, True)
    changed.resize((32, 32)).save("z.png", pnginfo=info)
    assert run("reproduce", "z.png")[:2] == (1, "differs: 32x32 pixels, made again 64x64\n")
    assert run("reproduce", "x.png", "--json")[0] == 0


def test_reproduce_needs_the_same_model(run, room, tiny_copy):
    run("generate", "a", "--steps", 1, "--out", "x.png")
    weights = tiny_copy / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    code, _, err = run("reproduce", "x.png", model=tiny_copy)
    assert (code, "--model" in err) == (2, True)
