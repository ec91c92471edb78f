"""The loop: rows do not know of each other, noise and edits come in their place, work can be stopped."""

import math

import numpy as np
import pytest
from sampling_oracles import Points, even_grid, flow, vp

from pictor.core.errors import Cancelled, InputError
from pictor.core.levels import CLEAN, FlowPath, vp_scaled_linear
from pictor.core.noise import picture_noise
from pictor.core.spacings import spacing
from pictor.sampling import Coefficients, Step, all_solvers, sample, solver

SHAPE = (2, 3, 3)
PROGRAMS = [
    solver("unipc")(spacing("uniform")(FlowPath(3.0), 7)),
    solver("dpmpp_2m_sde")(spacing("karras")(vp_scaled_linear(), 11)),
    solver("heun")(spacing("trailing")(vp_scaled_linear(zero_terminal_snr=True), 4)),
    solver("dpmpp_3m")(even_grid(9.0, 0.5, 6)),
    [],
    solver("euler")(spacing("uniform")(FlowPath(), 1)),
]


def points(x, levels, rows):
    """Row by row, as a network does: its answer for one row does not depend on the others."""
    return np.stack([Points().x0(x[i], level) for i, level in enumerate(levels)]).astype(x.dtype)


def noise(row, step, seeds=range(100)):
    return picture_noise(seeds[row], SHAPE, step=step)


def start():
    return np.stack([picture_noise(row, SHAPE) for row in range(len(PROGRAMS))])


def test_rows_of_one_batch_are_bit_equal_to_rows_alone():
    together = sample(points, start(), PROGRAMS, noise)
    assert together.dtype == np.float32
    for row, program in enumerate(PROGRAMS):
        alone = sample(points, start()[row : row + 1], [program], lambda _, step, row=row: noise(row, step))
        np.testing.assert_array_equal(together[row], alone[0])
    np.testing.assert_array_equal(together[4], start()[4])


def test_ended_rows_leave_the_batch_and_the_model_is_told_who_is_left():
    seen = []

    def denoise(x, levels, rows):
        assert len(x) == len(levels) == len(rows)
        seen.append((list(rows), list(levels)))
        return points(x, levels, rows)

    sample(denoise, start(), PROGRAMS, noise)
    assert len(seen) == max(map(len, PROGRAMS))
    for index, (rows, levels) in enumerate(seen):
        assert rows == [row for row, program in enumerate(PROGRAMS) if index < len(program)]
        assert levels == [PROGRAMS[row][index].level for row in rows]


def test_what_is_given_is_left_as_it_is():
    x = start()
    kept = x.copy()
    sample(points, x, PROGRAMS, noise)
    np.testing.assert_array_equal(x, kept)


def test_a_model_may_answer_in_one_buffer_again_and_again():
    buffer = np.empty((len(PROGRAMS), *SHAPE), np.float32)

    def denoise(x, levels, rows):
        buffer[: len(rows)] = points(x, levels, rows)
        return buffer[: len(rows)]

    expected = sample(points, start(), PROGRAMS, noise)
    np.testing.assert_array_equal(sample(denoise, start(), PROGRAMS, noise), expected)


def test_noise_is_asked_for_by_row_and_step_from_one_and_only_where_it_counts():
    asked = []

    def watch(row, step):
        asked.append((row, step))
        return noise(row, step)

    sample(points, start(), PROGRAMS, watch)
    assert asked == [(1, step) for step in range(1, 11)]
    calm = [solver("euler")(even_grid(9.0, 0.5, 3))]
    sample(points, start()[:1], calm)
    with pytest.raises(InputError, match="without noise"):
        sample(points, start()[:1], [solver("ddpm")(even_grid(9.0, 0.5, 3))])


def test_progress_counts_from_one_and_shows_every_row():
    seen = []
    end = sample(
        points,
        start(),
        PROGRAMS,
        noise,
        on_step=lambda index, total, x, x0: seen.append((index, total, x.copy(), x0.copy())),
    )
    assert [entry[:2] for entry in seen] == [(i, 11) for i in range(1, 12)]
    np.testing.assert_array_equal(seen[-1][2], end)
    np.testing.assert_array_equal(seen[-1][3][5], seen[0][3][5])  # an ended row keeps its last estimate
    np.testing.assert_array_equal(seen[-1][2][5], seen[-1][3][5])


def test_stopping_comes_before_the_next_evaluation():
    calls = []

    def denoise(x, levels, rows):
        calls.append(len(calls))
        return points(x, levels, rows)

    with pytest.raises(Cancelled, match="before step 4 of 11"):
        sample(denoise, start(), PROGRAMS, noise, should_stop=lambda: len(calls) == 3)
    assert len(calls) == 3
    with pytest.raises(Cancelled):
        sample(denoise, start(), PROGRAMS, noise, should_stop=lambda: True)
    assert len(calls) == 3


def test_edits_are_applied_to_each_row_after_each_step_in_order():
    levels = [*even_grid(9.0, 0.5, 3, flow), CLEAN]
    known, mask = np.float32(0.25), np.arange(9).reshape(1, 3, 3) < 4
    seen = []

    def keep(row, x, then, step):
        """As inpainting does it: what is known is set, with the noise that it has here."""
        seen.append((row, then, step))
        return np.where(mask, then.alpha * known + then.sigma * noise(row, 0), x).astype(x.dtype)

    end = sample(
        points,
        start()[:2],
        [solver("euler")(levels)] * 2,
        edits=[lambda row, x, then, step: x * 1e9, keep, lambda row, x, then, step: np.where(mask, x, 7.0)],
    )
    np.testing.assert_array_equal(end[:, :, mask[0]], known)
    np.testing.assert_array_equal(end[:, :, ~mask[0]], 7.0)
    assert seen == [(row, levels[step], step) for step in range(1, 5) for row in range(2)]


def test_programs_and_rows_must_match():
    with pytest.raises(InputError, match="5 programs for 6 rows"):
        sample(points, start(), PROGRAMS[:5], noise)
    assert sample(points, start()[:0], []).shape == (0, *SHAPE)


def test_a_step_of_no_weights_is_zero():
    step = Step(level=vp(1.0), x=Coefficients(), then=vp(0.5))
    np.testing.assert_array_equal(sample(points, start()[:1], [[step]]), 0.0)


@pytest.mark.parametrize("name", all_solvers())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_and_numpy_make_the_same_picture(name, dtype):
    torch = pytest.importorskip("torch")
    levels = [flow(math.inf), *even_grid(9.0, 0.1, 6, flow), CLEAN]
    programs = [solver(name)(levels), solver(name)(levels[2:])]
    x = start()[:2].astype(dtype)

    def denoise(x, levels, rows):
        return 0.9 * x / (1 + x * x) ** 0.5 + 0.1 / (1 + levels[0].sigma)

    ours = sample(denoise, x, programs, lambda row, step: noise(row, step).astype(dtype))
    theirs = sample(
        denoise,
        torch.from_numpy(x),
        programs,
        lambda row, step: torch.from_numpy(noise(row, step).astype(dtype)),
    )
    assert isinstance(theirs, torch.Tensor)
    assert str(theirs.dtype) == f"torch.{dtype}"
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=tolerance, atol=tolerance)
