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


def kernel_distance(a_ND: Features, b_MD: Features) -> tuple[float, float]:
    """Kernel distance KID (Binkowski et al. 2018, arXiv 1801.01401).

    The unbiased squared MMD with the kernel (x.y / D + 1)^3, of all pictures at once. Its variance has a part
    of single pictures and, where the distributions are near to each other, a greater one of pairs. The
    jackknife, which leaves one picture out at a time, counts the part of pairs twice (Efron and Stein 1981),
    so that this part is taken off once.

    Args:
        a_ND: features of one set.
        b_MD: of the other.

    Returns:
        The distance, and its standard error. The mean for equal distributions is 0, and a draw may be below.

    Raises:
        InputError: fewer than 4 rows, or widths that differ.
    """
    a_ND, b_MD = _pair(a_ND, b_MD, least=4)
    aa_NN, bb_MM, ab_NM = _cubic(a_ND, a_ND), _cubic(b_MD, b_MD), _cubic(a_ND, b_MD)
    np.fill_diagonal(aa_NN, 0)
    np.fill_diagonal(bb_MM, 0)
    n, m = ab_NM.shape
    value = aa_NN.sum() / (n * (n - 1)) + bb_MM.sum() / (m * (m - 1)) - 2 * ab_NM.mean()
    left_out = _jackknife(aa_NN.sum(1), ab_NM.mean(1)) + _jackknife(bb_MM.sum(1), ab_NM.mean(0))
    centred_NM = ab_NM - ab_NM.mean(0) - ab_NM.mean(1)[:, None] + ab_NM.mean()
    of_pairs = _pair_variance(aa_NN) + _pair_variance(bb_MM)
    of_pairs += 4 * np.square(centred_NM).sum() / ((n - 1) * (m - 1) * n * m)
    return float(value), math.sqrt(max(left_out - of_pairs, of_pairs, 0.0))


def _jackknife(own_N: Features, across_N: Features) -> float:
    """Variance of the squared MMD by leaving out each of one set's pictures.

    Args:
        own_N: sums of a picture's kernels with the others of its set.
        across_N: means of its kernels with the other set.
    """
    n = len(own_N)
    values_N = (own_N.sum() - 2 * own_N) / ((n - 1) * (n - 2)) - 2 * (across_N.sum() - across_N) / (n - 1)
    return float((n - 1) * values_N.var())


def _pair_variance(k_NN: Features) -> float:
    """Variance of the mean kernel of pairs that no single picture accounts for.

    Its kernels are U-centred (Szekely and Rizzo 2014, arXiv 1310.2926).

    Args:
        k_NN: kernels within a set, zeros on the diagonal; N at least 4.
    """
    n = len(k_NN)
    sums_N = k_NN.sum(1)
    centred_NN = k_NN - (sums_N + sums_N[:, None]) / (n - 2) + sums_N.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred_NN, 0)
    return float(2 * np.square(centred_NN).sum() / (n * (n - 3)) / (n * (n - 1)))


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
