"""Random weights in torch's own layout: scaled uniform orthogonal (SUO) and independent, with and without Delta.

A weight of shape [out, in/groups, *kernel] holds ``groups`` independent blocks of out/groups rows. With Delta
initialization (DKS, section 4.1) the m x k matrix of a block, m = out/groups and k = in/groups, stands at the central
tap of the kernel (the left one of two middles) and all other taps are zero; without it, the block is one m x (k * taps)
fan-in matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError
from qcmap.nn._random import generator_from

Sampler = Callable[[int, int, torch.Generator], Tensor]


def suo_matrix(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """A float64 sample [rows, columns] of the SUO distribution (DKS, section 4.1).

    The paper samples (X X^T)^(-1/2) X for rows <= columns. Here X^T = Q R is factorised with diag(R) > 0 and Q^T is
    returned, which has the same distribution: (1) with that sign convention Q is a function of X^T and Q(U X^T) =
    U Q(X^T) for every orthogonal U, and U X^T is distributed as X^T, so the law of Q is invariant under left
    multiplication; the same holds for X^T (X X^T)^(-1/2). (2) The orthogonal group acts transitively on matrices with
    orthonormal columns, so there is only one invariant probability law (Haar). Without the sign correction (1) fails:
    LAPACK's Householder convention makes the first entry of Q never positive.

    The scale max(sqrt(rows / columns), 1) then keeps the dimension-normalised squared norm of every input if
    rows >= columns. Otherwise the rows are orthonormal, so ||W||_F^2 = rows, and for x uniform on a sphere
    E ||W x||^2 / rows = (||W||_F^2 / columns) ||x||^2 / rows = ||x||^2 / columns: it is kept on average.
    """
    long, short = max(rows, columns), min(rows, columns)
    sample = torch.randn(long, short, dtype=torch.float64, generator=generator, device=generator.device)
    q, r = torch.linalg.qr(sample)
    q = q * torch.where(r.diagonal() < 0, -1.0, 1.0)
    return math.sqrt(rows / columns) * q if rows > columns else q.T


def gaussian_matrix(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """A float64 sample [rows, columns] with independent entries of mean 0 and variance 1/columns (DKS, section 4.1)."""
    sample = torch.randn(rows, columns, dtype=torch.float64, generator=generator, device=generator.device)
    return sample / math.sqrt(columns)


_CUT = 2.0
_CUT_DEVIATION = math.sqrt(1 - 4 * math.exp(-2) / (math.sqrt(2 * math.pi) * math.erf(math.sqrt(2))))
"""The standard deviation of x given abs(x) < 2: with p the density and P = erf(sqrt 2) the probability of that,
E[x^2; abs(x) < 2] = P - 4 p(2), from x p = -p'."""


def truncated_matrix(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Independent normal entries, cut at two standard deviations and rescaled to variance 1/columns (DKS, 28.5.1)."""
    sample = torch.empty(rows, columns, dtype=torch.float64, device=generator.device)
    nn.init.trunc_normal_(sample, a=-_CUT, b=_CUT, generator=generator)
    return sample / (_CUT_DEVIATION * math.sqrt(columns))


def uniform_matrix(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Independent entries, uniform between -sqrt(3/columns) and sqrt(3/columns): variance 1/columns (DKS, 28.5.1)."""
    sample = torch.rand(rows, columns, dtype=torch.float64, generator=generator, device=generator.device)
    return (2 * sample - 1) * math.sqrt(3 / columns)


def sign_matrix(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Independent entries, 1/sqrt(columns) or its negative with equal chance (NPF, theorem 5.1; DGN, assumption 1)."""
    sample = torch.randint(2, (rows, columns), generator=generator, device=generator.device)
    return (2.0 * sample.to(torch.float64) - 1) / math.sqrt(columns)


SAMPLERS: dict[str, Sampler] = {
    "orthogonal": suo_matrix,
    "gaussian": gaussian_matrix,
    "truncated": truncated_matrix,
    "uniform": uniform_matrix,
    "sign": sign_matrix,
}
"""Distributions of a matrix by name, each of variance 1/columns; columns of SUO matrices keep norms besides."""


def orthogonal_weight(
    shape: Sequence[int],
    *,
    groups: int = 1,
    delta: bool = True,
    gain: float = 1.0,
    seed: int = 0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """A scaled uniform orthogonal (SUO) weight (DKS, section 4).

    Parameters
    ----------
    shape
        [out, in/groups, *kernel], as torch stores the weights of linear and convolutional layers.
    groups
        The number of blocks, each with a matrix of its own.
    delta
        Whether only the central tap of the kernel is non-zero; makes no difference to a kernel of one tap.
    gain
        A factor for the whole weight.
    seed, generator
        Where the randomness comes from; a generator goes before a seed and is advanced. Sampling is in float64 on the
        generator's device, so one seed gives one weight whatever ``dtype`` and ``device``.

    Raises
    ------
    ArgumentError
        For a shape that is no weight's, groups that do not divide the outputs, or a
        gain that is not positive and finite.
    """
    source = generator_from(seed, generator)
    return draw(suo_matrix, shape, groups, gain, source, delta=delta).to(device or "cpu", dtype or _default())


def gaussian_weight(
    shape: Sequence[int],
    *,
    groups: int = 1,
    delta: bool = True,
    gain: float = 1.0,
    seed: int = 0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """A Gaussian weight of variance gain^2/k at the central tap, or gain^2/(k * taps) everywhere without Delta.

    Arguments and errors are those of `orthogonal_weight`.
    """
    source = generator_from(seed, generator)
    return draw(gaussian_matrix, shape, groups, gain, source, delta=delta).to(device or "cpu", dtype or _default())


def _default() -> torch.dtype:
    return torch.get_default_dtype()


def check_weight(shape: Sequence[int], groups: int, *, subject: str = "shape") -> None:
    """Raise `ArgumentError`, naming ``subject``, if no weight of this shape can be made."""
    sizes = tuple(shape)
    if len(sizes) < 2 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes):
        raise ArgumentError(
            subject, f"a weight has the shape [out, in/groups, *kernel] with positive sizes, not {list(sizes)}",
            "give at least two positive integers",
        )  # fmt: skip
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1 or sizes[0] % groups:
        raise ArgumentError(
            subject, f"groups must divide the {sizes[0]} outputs, but groups = {groups!r}", "give a divisor of out"
        )


def check_gain(gain: float) -> None:
    """Raise `ArgumentError` for a gain that is not positive and finite."""
    if isinstance(gain, bool) or not isinstance(gain, (int, float)) or not math.isfinite(gain) or gain <= 0:
        raise ArgumentError("gain", f"a gain is a positive finite number, not {gain!r}", "give such a number")


def draw(
    sampler: Sampler, shape: Sequence[int], groups: int, gain: float, generator: torch.Generator, *, delta: bool
) -> Tensor:
    """A float64 weight [out, in/groups, *kernel] of independent samples, one for each group."""
    check_weight(shape, groups)
    check_gain(gain)
    out, channels, *kernel = shape
    rows = out // groups
    columns = channels if delta else channels * math.prod(kernel)
    matrix = gain * torch.cat([sampler(rows, columns, generator) for _ in range(groups)])
    if not delta:
        return matrix.reshape(tuple(shape))
    weight = torch.zeros(tuple(shape), dtype=torch.float64, device=matrix.device)
    weight[(slice(None), slice(None), *((size - 1) // 2 for size in kernel))] = matrix
    return weight
