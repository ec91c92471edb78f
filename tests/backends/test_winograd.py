"""Winograd's convolutions against the direct sum in double precision."""

import pytest

torch = pytest.importorskip("torch")

from pictor.backends import winograd as module
from pictor.backends.winograd import SIDES, transform_weight, winograd

SHAPES = [(1, 3, 4, 8, 8), (2, 5, 7, 13, 10), (1, 8, 2, 1, 1), (3, 1, 1, 5, 2), (1, 16, 16, 33, 31)]


def drawn(shape, seed=0):
    batch, into, out, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, into, height, width, generator=generator)
    weight = torch.randn(out, into, 3, 3, generator=generator) / (3 * into**0.5)
    return x, weight, torch.randn(out, generator=generator)


def error(made, x, weight, bias):
    direct = torch.nn.functional.conv2d(
        x.double(), weight.double(), None if bias is None else bias.double(), padding=1
    )
    return float((made.double() - direct).norm() / direct.norm())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("biased", [True, False])
def test_equals_the_direct_sum(side, shape, biased):
    x, weight, bias = drawn(shape)
    bias = bias if biased else None
    made = winograd(x, transform_weight(weight, side), bias, side)
    assert made.shape == (shape[0], shape[2], shape[3], shape[4])
    assert error(made, x, weight, bias) < 1e-5


@pytest.mark.parametrize("side", SIDES)
def test_bands_make_one_whole(side, monkeypatch):
    x, weight, bias = drawn((2, 6, 5, 29, 17))
    monkeypatch.setattr(module, "_SCRATCH", 1)
    assert error(winograd(x, transform_weight(weight, side), bias, side), x, weight, bias) < 1e-5


def test_takes_any_memory_layout():
    x, weight, bias = drawn((2, 6, 5, 12, 12))
    turned = transform_weight(weight, 4)
    plain = winograd(x, turned, bias, 4)
    last = winograd(x.to(memory_format=torch.channels_last), turned, bias, 4)
    torch.testing.assert_close(plain, last)
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_results_do_not_share_the_scratch_memory():
    x, weight, bias = drawn((1, 4, 4, 8, 8))
    turned = transform_weight(weight, 2)
    first = winograd(x, turned, bias, 2)
    kept = first.clone()
    winograd(2 * x, turned, bias, 2)
    assert torch.equal(first, kept)


def test_memory_kept_from_inference_serves_beyond_it():
    x, weight, _ = drawn(SHAPES[0])
    with torch.inference_mode():
        inside = winograd(x, transform_weight(weight, 2), None, 2)
    assert torch.equal(winograd(x, transform_weight(weight, 2), None, 2), inside)
