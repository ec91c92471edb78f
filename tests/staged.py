"""A stage of a plan by hand, for tests that compare latents before they become pixels."""

import numpy as np

from pictor.core.plan import Conditions, Stage
from pictor.engine.denoise import denoiser
from pictor.engine.states import States
from pictor.engine.words import Words
from pictor.sampling import sample, solver


def stage_latents(bundle, stage, seeds):
    """Clean latents [N, C, h, w] of a stage alone."""
    words, states, batch = Words(stage, bundle), States(stage, bundle, seeds), range(len(seeds))
    return sample(
        denoiser(bundle, stage, words, states, batch),
        states.start(batch, None, 0),
        [solver(stage.solver)(stage.levels)] * len(seeds),
        states.fresh_noise(batch, 0),
        edits=states.edits(batch, 0),
    )


def decoded(bundle, latents):
    """Pictures in [0, 1] as diffusers returns them, [N, 3, H, W]."""
    return np.clip(bundle.autoencoder.decode(latents) / 2 + 0.5, 0, 1)


def plain_stage(conditions: Conditions, state, levels, solver_name, stride, **more):
    """A stage from this very state [N, C, h, w] that all pictures share their words in."""
    shape = state.shape[1:]
    return Stage(
        size=(shape[2] * stride, shape[1] * stride),
        latent_shape=shape,
        conditions=(conditions,) * len(state),
        solver=solver_name,
        levels=tuple(levels),
        noise=state / np.float32(np.hypot(levels[0].alpha, levels[0].sigma)),
        **more,
    )
