"""What tests of training share: graphs of models that are alike, and tiny models and pictures to teach."""

import json

import numpy as np
import pytest
from kept_graphs import share_graphs as share_graphs
from PIL import Image


@pytest.fixture(scope="module")
def taught_pictures(tmp_path_factory):
    """A prepared folder of four pictures, three of which have a caption."""
    pictures, out = tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("prepared") / "out"
    for number in range(4):
        pixels = np.full((64, 64, 3), 30 + 10 * number, np.uint8)
        pixels[16:48, 16:48, 0] = 220
        Image.fromarray(pixels).save(pictures / f"{number}.png")
        if number:  # one picture has no caption
            (pictures / f"{number}.txt").write_text("a red cat")
    from pictor.cli import main

    assert main(["data", "prepare", str(pictures), "--out", str(out), "--size", "64", "--val", "0"]) == 0
    return out


@pytest.fixture(scope="module")
def base_of(tmp_path_factory):
    """Folders of models to be taught: the embedded one, and tiny ones by the names of `tiny_families`."""
    import tiny_families

    from pictor.engine.studio import model_folder

    made = {}

    def base(name):
        if name == "embedded":
            return model_folder(None)
        if name not in made:
            made[name] = tiny_families.build(name, tmp_path_factory.mktemp("bases") / name)
            config = made[name] / "vae" / "config.json"
            # Pictures of one latent, which training tries an encoder with, leave a channel one number.
            told = json.loads(config.read_text()) | {"norm_num_groups": 8}
            config.write_text(json.dumps(told))
        return made[name]

    return base
