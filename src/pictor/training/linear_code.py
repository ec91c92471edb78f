"""The best linear code of picture patches, as an encoder network.

A convolutional autoencoder that learns its code from scratch spends its first hours finding what a principal
component analysis of patches gives in a second. Here the encoder IS that analysis, written exactly into the
stride-2 convolutions of an AutoencoderTiny, and only the decoder has to learn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pictor.training.planes import planes


@dataclass(frozen=True, slots=True)
class LinearCode:
    """z = weight (patch - mean), for patches in [-1, 1] laid out [3, factor, factor]."""

    weight: NDArray[np.float64]
    """[channels, 3 * factor * factor]"""
    mean: NDArray[np.float64]
    """[3 * factor * factor]"""
    psnr: float
    """Of the linear reconstruction over the fitted pictures, in dB for a range of 2."""

    @property
    def factor(self) -> int:
        """Side of a patch in pixels."""
        return math.isqrt(len(self.mean) // 3)


def patches(image_BCHW: torch.Tensor, factor: int) -> torch.Tensor:
    """Non-overlapping patches in rows, [B, h, w, C * factor * factor], each laid out [C, factor, factor]."""
    count, channels, height, width = image_BCHW.shape
    rows, columns = height // factor, width // factor
    split = image_BCHW.reshape(count, channels, rows, factor, columns, factor)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(count, rows, columns, channels * factor * factor)


class PatchEncoder(nn.Module):
    """A linear code as one matrix product, a hundredth of the cost of what `install_linear_code` makes."""

    def __init__(self, code: LinearCode) -> None:
        super().__init__()
        self.factor = code.factor
        self.weight: torch.Tensor
        self.bias: torch.Tensor
        self.register_buffer("weight", torch.from_numpy(code.weight.astype(np.float32)))
        self.register_buffer("bias", torch.from_numpy((-code.weight @ code.mean).astype(np.float32)))

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Codes [B, channels, h, w] of pictures in [-1, 1]."""
        code_BhwC = torch.nn.functional.linear(patches(image_BCHW, self.factor), self.weight, self.bias)
        return code_BhwC.permute(0, 3, 1, 2).contiguous()


def _flat_patches(pictures: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """Patches of pictures [N, H, W, 3] in [-1, 1], one a row."""
    image_BCHW = planes(torch.from_numpy(pictures))
    return patches(image_BCHW, factor).flatten(0, 2).numpy()


def _psnr(error: float) -> float:
    return float(10 * np.log10(4 / max(error, 1e-12)))


@torch.no_grad()
def read_linear_code(encoder: nn.Module, factor: int, pictures: NDArray[np.uint8]) -> LinearCode:
    """The code that `install_linear_code` wrote into an encoder.

    Args:
        encoder: `AutoencoderTiny.encoder`.
        factor: side of its patches.
        pictures: [N, H, W, 3], on which the code's own error is measured.

    Raises:
        ValueError: the encoder is no linear code.
    """
    length = 3 * factor**2
    bias_C = encoder(torch.zeros(1, 3, factor, factor)).flatten().double()
    unit = torch.eye(length).reshape(length, 3, factor, factor)
    weight = (encoder(unit).flatten(1).double() - bias_C).T.numpy()
    flat = _flat_patches(pictures, factor).astype(np.float64)
    mean = flat.mean(0)
    # Codes of equal mean differ by nothing that a decoder sees, so that any mean with this bias will do.
    mean += np.linalg.pinv(weight) @ (-bias_C.numpy() - weight @ mean)
    probe = torch.from_numpy(flat[:1].astype(np.float32)).reshape(1, 3, factor, factor)
    if np.abs(encoder(probe).flatten().numpy() - weight @ (flat[0] - mean)).max() > 1e-3:
        raise ValueError("this encoder is no linear code of patches")
    centred = flat - flat.mean(0)
    codes = centred @ weight.T
    fitted = codes @ np.linalg.lstsq(codes, centred, rcond=None)[0]
    return LinearCode(weight=weight, mean=mean, psnr=_psnr(float(np.mean((centred - fitted) ** 2))))


def fit_linear_code(
    pictures: NDArray[np.uint8], factor: int, channels: int, whitening: float, spread: float
) -> LinearCode:
    """Principal components of non-overlapping patches, scaled towards equal variance.

    Args:
        pictures: [N, H, W, 3].
        factor: side of a patch.
        channels: components to keep.
        whitening: 0 keeps each component's variance, 1 makes them equal; in between the coarse components
            stay louder, so that a denoiser settles them first.
        spread: standard deviation of the code over all channels together.

    Returns:
        The code.
    """
    flat = _flat_patches(pictures, factor)
    mean = flat.mean(0, dtype=np.float64)
    centred = flat - mean.astype(np.float32)
    covariance = (centred.T @ centred).astype(np.float64) / len(flat)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1][:channels], vectors[:, ::-1][:, :channels]
    # An eigenvector's sign is arbitrary; fixed here so that refits agree.
    vectors = vectors * np.sign(vectors.sum(0) + 1e-12)
    gain = np.maximum(values, 1e-12) ** (-whitening / 2)
    gain *= spread / np.sqrt(np.mean(gain**2 * values))
    error = float((np.trace(covariance) - values.sum()) / flat.shape[1])
    return LinearCode(weight=(vectors * gain).T, mean=mean, psnr=_psnr(error))


@torch.no_grad()
def install_linear_code(encoder: nn.Module, code: LinearCode) -> None:
    """Write a linear code into an AutoencoderTiny's encoder that has no residual blocks.

    The layers are one 3x3 convolution, a stride-2 convolution for each halving, and one 3x3 convolution. The
    stride-2 ones gather 2x2 neighbours into channels; the last of them applies the code to whole patches.
    Their kernels reach only inside the patch, so that padding is never seen.

    Args:
        encoder: `AutoencoderTiny.encoder`, with at least 48 channels for a factor of 8, 192 for 16.
        code: what it shall compute.
    """
    convolutions = [layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    entry, *halvings, exit_ = convolutions
    channels, length = code.weight.shape
    factor = 2 ** len(halvings)
    width = entry.out_channels
    if length != 3 * factor * factor or width < max(channels, length // 4):
        raise ValueError(f"{width} channels cannot carry a code of {length} -> {channels}")
    for layer in convolutions:
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()
    # The network is fed (x + 1) / 2; x comes back as 2 u - 1 in the code itself.
    for colour in range(3):
        entry.weight[colour, colour, 1, 1] = 1.0
    side = 1  # a channel index is (colour, row, column) within a patch of this side
    for number, layer in enumerate(halvings):
        last = number == len(halvings) - 1
        for colour in range(3):
            for row in range(2 * side):
                for column in range(2 * side):
                    source = (colour * side + row % side) * side + column % side
                    # Output i reads inputs 2i - 1 .. 2i + 1; 2i is the kernel's middle.
                    tap = (1 + row // side, 1 + column // side)
                    target = (colour * 2 * side + row) * 2 * side + column
                    if last:
                        layer.weight[:channels, source, tap[0], tap[1]] = torch.from_numpy(
                            2 * code.weight[:, target]
                        )
                    else:
                        layer.weight[target, source, tap[0], tap[1]] = 1.0
        side *= 2
    exit_.weight[:, :channels, 1, 1] = torch.eye(channels)
    if exit_.bias is None:
        raise ValueError("the encoder's last convolution needs a bias")
    exit_.bias.copy_(torch.from_numpy(-code.weight @ (code.mean + 1.0)))
