"""Models that draw without denoising: what they are asked, and what the engine makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from pictor.core.errors import Cancelled, InputError
from pictor.core.noise import picture_noise
from pictor.core.plan import Defaults, Drawing, Traits
from pictor.engine.reproduce import reproduce
from pictor.engine.studio import Studio
from pictor.families.bundle import Bundle

TRAITS = Traits(
    name="painter",
    abilities=frozenset({"whole", "draw"}),
    stride=8,
    min_side=8,
    max_side=64,
    max_tokens=0,
    defaults=Defaults(num_steps=0, guidance_scale=1.0, solver="", spacing="", size=(16, 8)),
)


def draw(drawing: Drawing, seeds: Sequence[int], watch: Callable[[int, int], None]) -> list[np.ndarray]:
    """Noise as a picture, shifted by the words and scaled by temperature and guidance."""
    width, height = drawing.size
    pictures = []
    watch(0, len(seeds))
    for seed, conditions in zip(seeds, drawing.conditions, strict=True):
        noise = picture_noise(seed, (height, width, 3)) * drawing.temperature
        noise += len(conditions.prompt) - len(conditions.negative_prompt) + conditions.guidance_scale
        pictures.append(np.clip(noise * 5 + 100, 0, 255).astype(np.uint8))
        watch(len(pictures), len(seeds))
    return pictures


class Looker:
    """Tells how dark a picture is."""

    def too_long(self, text: str) -> bool:
        return len(text) > 20

    def look(self, picture: np.ndarray) -> np.ndarray:
        return np.array([-picture.mean()], np.float32)

    def logits(self, seen: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        return np.repeat(seen, len(texts))


def studio(*abilities: str) -> Studio:
    traits = dataclasses.replace(TRAITS, abilities=TRAITS.abilities | set(abilities))
    return Studio(
        Bundle(
            traits=traits,
            draw=draw,
            prepare=lambda: None,
            hash_weights=lambda: "0" * 64,
            backend="numpy",
            dtype="float32",
            describer=Looker() if "describe" in abilities else None,  # type: ignore[arg-type]
        )
    )


def test_draws_each_picture_from_its_seed_and_makes_it_again() -> None:
    model = studio()
    first = model.generate(seed=3, count=4)
    alone = model.generate(seed=5)[0]
    assert first[0].image.size == (16, 8)
    assert np.array_equal(first[2].image, alone.image)
    assert (first[2].recipe.num_steps, first[2].recipe.solver, first[2].recipe.seed) == (0, "", 5)
    assert np.array_equal(reproduce(alone.recipe, model).image, alone.image)
    assert not np.array_equal(first[0].image, first[1].image)


def test_words_temperature_and_guidance_reach_the_model_and_its_recipe() -> None:
    model = studio("text")
    wish = {"negative_prompt": "x", "guidance_scale": 2.0, "temperature": 0.5, "size": (8, 8)}
    picture = model.generate("a red apple", **wish)[0]
    assert picture.image.size == (8, 8)
    assert not np.array_equal(picture.image, model.generate("a red apple", size=(8, 8))[0].image)
    assert picture.recipe.parameters == {"temperature": 0.5}
    assert np.array_equal(reproduce(picture.recipe, model).image, picture.image)


def test_words_are_refused_where_none_are_read_and_wanted_where_they_are() -> None:
    with pytest.raises(InputError, match="reads no words"):
        studio().generate("a red apple")
    with pytest.raises(InputError, match="reads no words"):
        studio().generate(guidance_scale=3.0)
    with pytest.raises(InputError, match="the prompt is empty"):
        studio("text").generate()


@pytest.mark.parametrize(
    "wish", [{"num_steps": 4}, {"solver": "euler"}, {"tile": "x"}, {"latents": np.zeros((3, 8, 16))}]
)
def test_what_says_how_to_denoise_is_refused(wish: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wish))} is given, and painter does not denoise"):
        studio().generate(**wish)


@pytest.mark.parametrize("temperature", [-0.1, 11.0, float("nan"), "hot"])
def test_a_temperature_out_of_range_is_refused(temperature: object) -> None:
    with pytest.raises(InputError, match="temperature"):
        studio().generate(temperature=temperature)


def test_frames_and_edits_are_refused() -> None:
    with pytest.raises(InputError, match="no frames"):
        studio().generate(frames=True)
    with pytest.raises(InputError, match="cannot vary"):
        studio("text").vary(np.zeros((8, 8, 3), np.uint8))


def test_can_be_watched_and_cancelled() -> None:
    seen: list[int] = []
    studio().generate(count=3, on_progress=lambda progress: seen.append(progress.done))
    assert seen == [1, 2, 3]
    with pytest.raises(Cancelled, match="after 1 of 3"):
        studio().generate(count=3, should_stop=lambda: len(seen) > 3, on_progress=lambda p: seen.append(0))


def test_keeps_the_candidates_that_fit_best() -> None:
    model = studio("text", "describe")
    everything = model.generate(["a cat", "a dog"], seed=2, count=5)
    chosen = model.generate(["a cat", "a dog"], seed=2, count=2, candidates=5)
    assert len(chosen) == 4
    for first, prompt in ((0, "a cat"), (2, "a dog")):
        own = [one for one in everything if one.recipe.prompt == prompt]
        darkest = sorted(own, key=lambda one: np.asarray(one.image).mean())[:2]
        assert [one.recipe.seed for one in chosen[first : first + 2]] == [one.recipe.seed for one in darkest]
    assert np.array_equal(reproduce(chosen[0].recipe, model).image, chosen[0].image)


def test_candidates_need_a_model_that_describes_and_words_that_it_reads() -> None:
    with pytest.raises(InputError, match="cannot choose among candidates"):
        studio("text").generate("a cat", candidates=4)
    with pytest.raises(InputError, match="candidates"):
        studio("text", "describe").generate("a cat", count=3, candidates=2)
    with pytest.raises(InputError, match="has 30 characters"):
        studio("text", "describe").generate("a" * 30, candidates=2)
