"""Kept latents: made once, of their own autoencoder, whole whatever happens, and what is drawn of them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("pyarrow")

from diffusers import AutoencoderKL
from line_fit import LineFit

from pictor.cli import main
from pictor.core.errors import InputError
from pictor.data.prepared import Variation
from pictor.training.captioned_latents import CaptionedPictures, PictureEncoder
from pictor.training.latent_cache import FOLDER, use_kept_latents
from pictor.training.pictures import FolderPictures


def prepare(pictures: Path, out: Path, count: int, margin: int = 0) -> Path:
    pictures.mkdir(exist_ok=True)
    for number in range(count):
        pixels = np.full((40, 40 + 20 * (number % 2), 3), 20 * number, np.uint8)
        pixels[:, :20, 0] = 250
        Image.fromarray(pixels).save(pictures / f"{number}.png")
        (pictures / f"{number}.txt").write_text(f"number {number}")
    options = ["--size", "32", "--buckets", "--step", "8", "--margin", str(margin), "--val", "0"]
    assert main(["data", "prepare", str(pictures), "--out", str(out), *options]) == 0
    return out


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    return prepare(tmp_path / "pictures", tmp_path / "prepared", 6)


class Learns(LineFit):
    """What an objective of captioned pictures has, as far as its latents are concerned."""

    def __init__(self, data: Path, *, seed: int = 0, flip: float = 0.0) -> None:
        super().__init__(0)
        torch.manual_seed(seed)
        self.encoder = PictureEncoder(
            AutoencoderKL(
                block_out_channels=(8, 8),
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                norm_num_groups=4,
                latent_channels=2,
                scaling_factor=0.5,
                shift_factor=0.25,
            )
        )
        self.source = CaptionedPictures(
            pictures=FolderPictures(data, 0, Variation(flip=flip)),
            tokenizer=None,
            channels=2,
            factor=2,
            empty_captions=0.0,
            draw_time=lambda rng: 0.5,
        )


def test_kept_latents_are_those_of_the_pictures_drawn_anew(prepared: Path) -> None:
    plain, kept = Learns(prepared, flip=0.5), Learns(prepared, flip=0.5)
    told = []
    use_kept_latents(kept, lambda done, of: told.append((done, of)))
    assert told[-1] == (12, 12)  # six pictures, as they are and mirrored
    autoencoder = plain.encoder.autoencoder
    rounds = {}
    for number in range(60):
        one, other = plain.source.batch(number, 1), kept.source.batch(number, 1)
        for key in ("t", "eps", "lot"):
            assert torch.equal(one[key], other[key])
        image = one["image"].permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            law = autoencoder.encode(image).latent_dist
            mean, deviation = (law.mean - 0.25) * 0.5, law.std * 0.5
        found = kept.encoder(other["image"])
        assert found.dtype == torch.float32
        assert torch.equal(found, other["image"])
        rounds.setdefault(one["image"].numpy().tobytes(), []).append(found)
        assert float(((found - mean) / deviation).abs().max()) < 6
        assert 0.7 < float(((found - mean) / deviation).square().mean()) < 1.4
    assert len(rounds) == 12
    for again in rounds.values():  # each step draws its own
        assert len(again) < 2 or not torch.equal(again[0], again[1])
    twice = kept.source.batch(7, 1)["image"], kept.source.batch(7, 1)["image"]
    assert torch.equal(*twice)
    copied = pickle.loads(pickle.dumps(kept.source.kept))
    rng = np.random.default_rng
    np.testing.assert_array_equal(copied(2, rng(1)), kept.source.kept(2, rng(1)))
    # What is judged is the pictures themselves.
    assert kept.source.batch(0, 1, held_out=True)["image"].dtype == torch.uint8


def made(objective: Learns, monkeypatch: pytest.MonkeyPatch) -> int:
    """Pictures that are encoded on the way."""
    counted = []
    encode = AutoencoderKL.encode

    def counting(self: AutoencoderKL, image: torch.Tensor) -> object:
        counted.append(len(image))
        return encode(self, image)

    with monkeypatch.context() as patch:
        patch.setattr(AutoencoderKL, "encode", counting)
        use_kept_latents(objective)
    return sum(counted)


def test_each_picture_is_encoded_once_by_each_autoencoder(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made(Learns(prepared), monkeypatch) == 6
    assert made(Learns(prepared), monkeypatch) == 0
    before = Learns(prepared)
    use_kept_latents(before)
    other = Learns(prepared, seed=1)
    assert made(other, monkeypatch) == 6
    assert len(list((prepared / FOLDER).iterdir())) == 2
    assert not torch.equal(before.source.batch(0, 1)["image"], other.source.batch(0, 1)["image"])
    # Pictures that come are encoded; those that stay are not.
    prepare(tmp_path / "pictures", prepared, 8)
    assert made(Learns(prepared), monkeypatch) == 2


def test_a_build_that_was_killed_goes_on(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Learns(prepared)
    use_kept_latents(whole)
    [folder] = (prepared / FOLDER).iterdir()
    lines = (folder / "index.jsonl").read_bytes().splitlines(keepends=True)
    # The last two lines are lost, and one is torn; bytes of the last reached the disk in part.
    (folder / "index.jsonl").write_bytes(b"".join(lines[:-2]) + lines[-2][:20])
    with (folder / "arrays.bin").open("r+b") as stream:
        stream.truncate((folder / "arrays.bin").stat().st_size - 100)
    again = Learns(prepared)
    assert made(again, monkeypatch) == 2
    for number in range(6):
        assert torch.equal(whole.source.batch(number, 1)["image"], again.source.batch(number, 1)["image"])


def test_what_cannot_be_kept_is_refused(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frozen autoencoder"):
        use_kept_latents(LineFit(0))
    margin = prepare(tmp_path / "pictures", tmp_path / "margin", 2, margin=4)
    with pytest.raises(InputError, match=r"drawn or cut anew each time.*--margin 0"):
        use_kept_latents(Learns(margin))
    linear = Learns(prepared)
    linear.encoder.linear = True
    with pytest.raises(InputError, match="one product of matrices"):
        use_kept_latents(linear)
    use_kept_latents(Learns(prepared))
    [folder] = (prepared / FOLDER).iterdir()
    (folder / "about.json").write_text(json.dumps({"autoencoder": "another"}))
    with pytest.raises(InputError, match="is of another autoencoder"):
        use_kept_latents(Learns(prepared))
