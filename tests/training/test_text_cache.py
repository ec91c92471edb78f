"""Kept texts: read once by their own encoders, and what is learnt with them is what is learnt without."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("pyarrow")

from line_fit import LineFit

from pictor.core.errors import InputError
from pictor.training.latent_cache import FOLDER as LATENTS
from pictor.training.latent_cache import use_kept_latents
from pictor.training.loop import train
from pictor.training.objectives import build
from pictor.training.recipe import Recipe
from pictor.training.text_cache import FOLDER, use_kept_texts

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def objective(base, data, **table):
    torch.manual_seed(0)
    table = {"kind": "lora", "rank": 2, "base": str(base), "size": 64, **table}
    table = {key: value for key, value in table.items() if value is not None}
    return build(table | ({"data": str(data)} if data else {}), 0)


@pytest.mark.parametrize("name", ["sd1", "xl"])
def test_what_is_learnt_is_the_same(name, base_of, taught_pictures):
    plain, kept = (objective(base_of(name), taught_pictures) for _ in range(2))
    told = []
    use_kept_texts(kept, lambda done, of: told.append((done, of)))
    assert told in ([(2, 2)], [])  # "a red cat", and nothing
    batch = kept.batch(0, 8)
    assert batch["ids"].dtype == torch.float32
    assert ("pooled" in batch) == (name == "xl")
    assert "ids_2" not in batch
    tokens = plain.batch(0, 8)
    with torch.no_grad():
        words = plain.base.words(tokens)
        for key, mine in {"hidden": "ids", "pooled": "pooled"}.items():
            if key in words:
                torch.testing.assert_close(batch[mine], words[key], rtol=1e-3, atol=1e-3)
        assert len(torch.unique(batch["ids"], dim=0)) == 2
        torch.testing.assert_close(kept.loss(batch)[0], plain.loss(tokens)[0], rtol=1e-3, atol=0)
        assert kept.validate() == plain.validate()
    drawer = pickle.loads(pickle.dumps(kept.drawer()))
    for key, array in drawer(2, 4).items():
        np.testing.assert_array_equal(array, kept.batch(2, 4)[key].numpy())


def test_each_caption_is_read_once_by_each_encoder(base_of, taught_pictures, monkeypatch):
    told = []
    for name in ("sd1", "sd1", "sd2"):
        use_kept_texts(objective(base_of(name), taught_pictures), lambda done, of: told.append(done))
    assert told.count(2) <= 2  # none the second time, and where the test before read them none at all
    assert len(list((taught_pictures / FOLDER).iterdir())) >= 2
    more = objective(base_of("sd1"), taught_pictures, instance="a dog", empty_captions=0.0)
    found = []
    use_kept_texts(more, lambda done, of: found.append((done, of)))
    assert found == [(2, 2)]
    for folder in (taught_pictures / FOLDER).iterdir():
        about = json.loads((folder / "about.json").read_text())
        assert about["text encoder"].startswith(folder.name)


def test_latents_and_texts_of_a_prior_are_kept_as_well(base_of, taught_pictures):
    wish = {"kind": "fine_tuning", "prior": ["a cat"], "prior_count": 2}
    plain, kept = (objective(base_of("sd1"), taught_pictures, rank=None, **wish) for _ in range(2))
    use_kept_latents(kept)
    use_kept_texts(kept)
    batch, pictures = kept.batch(0, 4), plain.batch(0, 4)
    assert batch["image"].is_floating_point()
    for key in ("t", "eps", "lot", "weight"):
        assert torch.equal(batch[key], pictures[key])
    prior = kept.source.prior.pictures.folder
    assert (prior / LATENTS).is_dir()
    assert (prior / FOLDER).is_dir()
    with torch.no_grad():  # latents are drawn by the deviation that the autoencoder tells
        torch.testing.assert_close(kept.loss(batch)[0], plain.loss(pictures)[0], rtol=0.2, atol=0)


def test_a_run_trains_with_both(base_of, taught_pictures, tmp_path):
    table = {"kind": "lora", "rank": 2, "base": str(base_of("sd1")), "size": 64, "data": str(taught_pictures)}
    recipe = Recipe(
        name="kept",
        samples=8,
        batch_size=4,
        preview_minutes=0,
        cache_latents=True,
        cache_texts=True,
        objective=table,
    )
    told = []
    outcome = train(recipe, tmp_path / "run", device="cpu", on_kept=lambda *what: told.append(what))
    assert outcome.finished
    assert {what for what, _, _ in told} <= {"pictures", "captions"}


def test_what_cannot_be_kept_is_refused(base_of, taught_pictures):
    with pytest.raises(InputError, match="no frozen text encoders"):
        use_kept_texts(LineFit(0))
    with pytest.raises(InputError, match=r"no frozen text encoders.*text_rate = 0"):
        use_kept_texts(objective(base_of("sd1"), taught_pictures, text_rate=0.5))
    word = {"kind": "textual_inversion", "token": "<cup>", "initial": "apple", "instance": "a <cup>"}
    inversion = build(word | {"base": str(base_of("sd1")), "size": 64, "data": str(taught_pictures)}, 0)
    with pytest.raises(InputError, match="no frozen text encoders"):
        use_kept_texts(inversion)
    shuffled = objective(base_of("sd1"), taught_pictures, variation={"shuffle_tags": True})
    with pytest.raises(InputError, match=r"captions are made anew.*shuffle_tags"):
        use_kept_texts(shuffled)
    with pytest.raises(InputError, match="captions are made anew"):
        use_kept_texts(objective(base_of("sd1"), None))
