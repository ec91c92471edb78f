"""How noise comes over a picture, and how a model takes it away: states of both ways, side by side.

Legend of array shapes: C latent channels, h, w latent rows and columns, H, W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pictor.core.errors import InputError
from pictor.core.noise import picture_noise
from pictor.core.pixels import from_pixels, to_pixels
from pictor.engine.denoise import denoiser
from pictor.engine.pictures import tile
from pictor.engine.states import States
from pictor.engine.words import Words
from pictor.sampling import sample, solver
from pictor.tasks.inputs import covering, read_pixels
from pictor.tasks.text2image import Text2Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.core.plan import Pixels
    from pictor.engine.studio import Studio

MAX_COLUMNS = 64


def noising(studio: Studio, image: Any, *, columns: int = 9, seed: int = 0) -> list[Pixels]:
    """A picture at noise levels of the model's path, even in its clock, from the picture to pure noise.

    Args:
        studio: whose path, autoencoder and size count.
        image: a file's name, a PIL image, or uint8 pixels [H, W, 3]; its middle is shown.
        columns: states, at least 2.
        seed: of the noise, which is the same in all states.

    Returns:
        States [H, W, 3], each decoded: x = alpha * x0 + sigma * eps.

    Raises:
        InputError: the picture cannot be read, the model does not denoise or take in pictures, or a
            parameter is out of range.
    """
    _check(studio, columns, "encode")
    bundle = studio.bundle
    pixels = covering(read_pixels(image, "image"), studio.traits.defaults.size)
    x0_1Chw = bundle.autoencoder.encode(from_pixels(pixels[None]))
    eps_Chw = picture_noise(seed, x0_1Chw.shape[1:])
    path = studio.traits.path_for(studio.traits.defaults.size)
    shares = np.linspace(0.0, 1.0, columns)[1:]
    levels = [path.at(path.t_min + float(share) * (path.t_max - path.t_min)) for share in shares]
    noised = [np.float32(level.alpha) * x0_1Chw + np.float32(level.sigma) * eps_Chw for level in levels]
    return _decoded(studio, [x0_1Chw, *noised])


def denoising(studio: Studio, *, columns: int = 9, **wish: Any) -> tuple[list[Pixels], list[Pixels]]:
    """The way of `studio.generate`, from noise to the picture.

    Args:
        studio: the model.
        columns: of its steps, evenly chosen, at least 2.
        wish: what `generate` takes, for one picture.

    Returns:
        States [H, W, 3], the first of them noise and the last the picture; and under each what the network
        takes the picture for in the step that leads to it (under the noise, in the first step).

    Raises:
        InputError: see `noising`, and `generate`.
    """
    _check(studio, columns, "whole")
    plan, bundle = studio.plan(Text2Image(**wish)), studio.bundle
    [stage], batch = plan.stages, range(1)
    if len(plan.seeds) > 1:
        raise InputError(f"{len(plan.seeds)} pictures", expected="one, whose way is shown", param="count")
    state = States(stage, bundle, plan.seeds)
    start = state.start(batch, None, 0)
    states: list[NDArray[np.float32]] = [start]
    estimates: list[NDArray[np.float32]] = []

    def watch(_index: int, _total: int, x: Any, x0: Any) -> None:
        states.append(x.copy())
        estimates.append(x0.copy())

    program = solver(stage.solver)(stage.levels)
    looking = denoiser(bundle, stage, Words(stage, bundle), state, batch)
    sample(looking, start, [program], state.fresh_noise(batch, 0), on_step=watch)
    shown = np.unique(np.linspace(0, len(program), columns).round().astype(int))
    below = [estimates[max(0, at - 1)] for at in shown]
    return _decoded(studio, [states[at] for at in shown]), _decoded(studio, below)


def sheet(rows: list[list[Pixels]]) -> Image.Image:
    """Rows of states as one image."""
    images = [Image.fromarray(state) for row in rows for state in row]
    return tile(images, len(rows[0]), gap=max(2, images[0].width // 32))


def _check(studio: Studio, columns: int, ability: str) -> None:
    if studio.traits.path is None or ability not in studio.traits.abilities:
        raise InputError(
            f"{studio.traits.name} has no such way", expected="a model that denoises", param="model"
        )
    if not 2 <= columns <= MAX_COLUMNS:
        raise InputError(
            f"columns is {columns}", expected=f"a number from 2 to {MAX_COLUMNS}", param="columns"
        )


def _decoded(studio: Studio, latents: list[NDArray[np.float32]]) -> list[Pixels]:
    return [to_pixels(studio.bundle.autoencoder.decode(one))[0] for one in latents]
