"""Measures of pictures by their features, and intervals of shares: pure functions on arrays.

Legend of array shapes: N and M pictures, D numbers a feature vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pictor.core.errors import InputError

Features = NDArray[np.floating[Any]]
"""[N, D], one row a picture."""


def wilson(right: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Interval of a share (Wilson 1927), which stays inside [0, 1] and is sane at 0 and at `total`.

    Args:
        right: successes, 0 to total.
        total: trials, at least 1.
        z: quantile of the normal distribution; the default gives 95%.

    Returns:
        Its lower and upper end.
    """
    if not 0 <= right <= total or total < 1:
        raise InputError(f"{right} right of {total}", expected="0 <= right <= total, and total at least 1")
    share, z2 = right / total, z * z
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    # The formula meets the share itself at 0 and at total, but for rounding.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def frechet_distance(a_ND: Features, b_MD: Features) -> float:
    """Frechet distance of two Gaussians fitted to features (Heusel et al. 2017, arXiv 1706.08500).

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)). The trace of the root is the sum of the singular values
    of A^(1/2) B^(1/2), and of the centred features' product alike: no root of a matrix is needed. The figure
    grows as sets shrink; compare only sets of equal sizes.

    Raises:
        InputError: fewer than 2 rows, or widths that differ.
    """
    a_ND, b_MD = _pair(a_ND, b_MD, least=2)
    a0, b0 = a_ND - a_ND.mean(0), b_MD - b_MD.mean(0)
    gap = float(np.square(a_ND.mean(0) - b_MD.mean(0)).sum())
    n, m = len(a0) - 1, len(b0) - 1
    # A = a0' a0 / n: the eigenvalues of A B that are not zero are the squared singular values of a0 b0',
    # over n m.
    cross = float(np.linalg.svd(a0 @ b0.T, compute_uv=False).sum()) / math.sqrt(n * m)
    spread = float(np.square(a0).sum() / n + np.square(b0).sum() / m)
    return max(0.0, gap + spread - 2 * cross)


def kernel_distance(
    a_ND: Features, b_MD: Features, *, subsets: int = 50, size: int = 100, seed: int = 0
) -> tuple[float, float]:
    """Kernel distance KID (Binkowski et al. 2018, arXiv 1801.01401).

    The unbiased squared MMD with the kernel (x.y / D + 1)^3, averaged over random subsets.

    Args:
        a_ND: features of one set.
        b_MD: of the other.
        subsets: random subsets that are averaged.
        size: pictures of each set in a subset; at most the smaller set.
        seed: of the subsets.

    Returns:
        Mean over the subsets, and its standard error. The mean of equal distributions is 0, and a draw of it
        may be below.

    Raises:
        InputError: fewer than 2 rows, or widths that differ.
    """
    a_ND, b_MD = _pair(a_ND, b_MD, least=2)
    size = min(size, len(a_ND), len(b_MD))
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        x = a_ND[rng.choice(len(a_ND), size, replace=False)]
        y = b_MD[rng.choice(len(b_MD), size, replace=False)]
        xx, yy, xy = _cubic(x, x), _cubic(y, y), _cubic(x, y)
        own = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (size * (size - 1))
        values.append(float(own - 2 * xy.mean()))
    error = float(np.std(values, ddof=1) / math.sqrt(subsets)) if subsets > 1 else 0.0
    return float(np.mean(values)), error


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifold:
    """How a made set lies in the neighbourhoods of a real one, and the other way round."""

    precision: float
    """Made pictures inside of some real picture's ball."""
    recall: float
    """Real pictures inside of some made picture's ball."""
    density: float
    """Real balls that a made picture lies in, over k; may exceed 1."""
    coverage: float
    """Real pictures whose ball holds a made one."""


def manifold(real_ND: Features, made_MD: Features, *, k: int = 5) -> Manifold:
    """Precision and recall, density and coverage.

    Kynkaanniemi et al. 2019 (arXiv 1904.06991) and Naeem et al. 2020 (arXiv 2002.09797). Balls reach to the
    k-th nearest neighbour in the ball's own set.

    Raises:
        InputError: a set has no k neighbours, or widths differ.
    """
    real_ND, made_MD = _pair(real_ND, made_MD, least=k + 1)
    between_NM = distances(real_ND, made_MD)
    real_radius = np.sort(distances(real_ND, real_ND), axis=1)[:, k]
    made_radius = np.sort(distances(made_MD, made_MD), axis=1)[:, k]
    in_real = between_NM <= real_radius[:, None]
    in_made = between_NM <= made_radius[None, :]
    return Manifold(
        precision=float(in_real.any(0).mean()),
        recall=float(in_made.any(1).mean()),
        density=float(in_real.sum(0).mean() / k),
        coverage=float(in_real.any(1).mean()),
    )


def vendi_score(features_ND: Features) -> float:
    """Effective number of different pictures (Friedman and Dieng 2022, arXiv 2210.02410), 1 to N.

    exp of the entropy of the eigenvalues of K / N, K the cosine similarities. Those are the squared singular
    values of the normalised features over N.

    Raises:
        InputError: no rows, or a row of zeros.
    """
    x = _checked(features_ND, 1)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    if not (norms > 0).all():
        raise InputError("a feature vector is zero", expected="directions that can be compared")
    shares = np.square(np.linalg.svd(x / norms, compute_uv=False)) / len(x)
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def distances(a_ND: Features, b_MD: Features) -> Features:
    """Euclidean distances, [N, M]."""
    a_ND, b_MD = _pair(a_ND, b_MD, least=1)
    # Differences and not the expanded square: equal rows must be at distance zero exactly.
    rows = [np.sqrt(np.square(b_MD - row).sum(1)) for row in a_ND]
    return np.asarray(rows)


def _cubic(x_ND: Features, y_MD: Features) -> Features:
    return np.asarray((x_ND @ y_MD.T / x_ND.shape[1] + 1) ** 3)


def _checked(x_ND: Features, least: int) -> Features:
    x = np.asarray(x_ND, np.float64)
    if x.ndim != 2 or len(x) < least or not np.isfinite(x).all():
        raise InputError(f"features of shape {list(x.shape)}", expected=f"[N, D], finite, N at least {least}")
    return x


def _pair(a_ND: Features, b_MD: Features, *, least: int) -> tuple[Features, Features]:
    a, b = _checked(a_ND, least), _checked(b_MD, least)
    if a.shape[1] != b.shape[1]:
        raise InputError(f"features of {a.shape[1]} and {b.shape[1]} numbers", expected="equal widths")
    return a, b
