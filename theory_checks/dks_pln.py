"""Per-location normalization: DKS, section 10.2."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from theory_checks.registry import Outcome, Tally, checks

Tensor = Any
Normalise = Callable[[Tensor, str], Tensor]
"""An example [channels, locations] and a variant to k + 1 channels."""


def _examples(seed: int, count: int) -> Iterator[Tensor]:
    import torch

    random = np.random.default_rng(seed)
    for channels, locations in (
        (1, 1),
        (3, 1),
        (1, 4),
        *((int(a), int(b)) for a, b in random.integers(2, 7, (count, 2))),
    ):
        scale = 10.0 ** random.uniform(-3, 3)
        yield torch.from_numpy(scale * random.standard_normal((channels, locations)))


def pln(x: Tensor, variant: str) -> Tensor:
    """PLN by qcmap, of one example."""
    import qcmap.nn as qnn

    return qnn.pln(x, 0, variant, batch_axis=None)  # pyright: ignore[reportArgumentType]


def _old_dimension(x: Tensor, variant: str) -> Tensor:
    """Scaled by the number of channels before the extra one came."""
    return pln(x, variant) * math.sqrt(x.shape[0] / (x.shape[0] + 1))


@checks(
    "dks-11",
    part="q",
    source="DKS 10.2",
    claim="PLN is sqrt(k+1) (x_i, e) / |(x_i, e)|, e the root mean square entry of the example or 1: q = 1 everywhere",
    subject=pln,
    broken=_old_dimension,
)
def unit_q(subject: Normalise, effort: int) -> Outcome:
    """Random examples of one and more channels and locations, over six orders of size; the formula by numpy."""
    tally = Tally()
    for x in _examples(11, 10 * effort):
        for variant in ("mean", "constant"):
            found, k = subject(x, variant).numpy(), x.shape[0]
            gap = float(np.abs((found**2).mean(axis=0) - 1).max())
            tally.add(gap, 1e-13, f"{variant}: a q value of {1 + gap:.6g} with {k} channels")
            extra = math.sqrt((x.numpy() ** 2).sum(axis=0).mean() / k) if variant == "mean" else 1.0
            whole = np.vstack([x.numpy(), np.full((1, x.shape[1]), extra)])
            want = math.sqrt(k + 1) * whole / np.linalg.norm(whole, axis=0)
            tally.add(float(np.abs(found - want).max()), 1e-13, f"{variant}: not the formula, with {k} channels")
    return tally.outcome()


def inverse(y: Tensor) -> Tensor:
    """The inverse of the constant variant by qcmap."""
    import qcmap.nn as qnn

    return qnn.pln_inverse(y, 0)


@checks(
    "dks-11",
    part="inverse",
    source="DKS 10.2",
    claim="The constant variant destroys nothing: dividing by the last channel gives x",
    subject=inverse,
    broken=lambda y: y[:-1],
)
def invertible(subject: Callable[[Tensor], Tensor], effort: int) -> Outcome:
    """Random examples as above."""
    tally = Tally()
    for x in _examples(111, 20 * effort):
        gap = float((subject(pln(x, "constant")) - x).abs().max() / x.abs().max())
        tally.add(gap, 1e-13, f"x of shape {list(x.shape)} comes back with the relative error {gap:.3g}")
    return tally.outcome()


LOST = {"constant": 0, "mean": 1}


@checks(
    "dks-11",
    part="freedom",
    source="DKS 10.2",
    claim="The constant variant loses no degree of freedom, the other exactly one of the whole example (its norm), and "
    "without an extra channel each location would lose one",
    subject=LOST,
    broken={"constant": 0, "mean": 0},
)
def freedom(subject: dict[str, int], effort: int) -> Outcome:
    """Ranks of Jacobians by automatic differentiation, singular values above 1e-8 counted; and the lost direction."""
    import torch

    tally = Tally()
    for x in _examples(112, 6 * effort):
        x = x / x.square().mean().sqrt()
        for variant in ("constant", "mean", "none"):
            lost = x.shape[1] if variant == "none" else subject[variant]

            def function(v: Tensor, variant: str = variant) -> Tensor:
                return v / v.norm(dim=0) if variant == "none" else pln(v, variant)

            jacobian = torch.func.jacrev(function)(x).reshape(-1, x.numel())
            rank = int((torch.linalg.svdvals(jacobian) > 1e-8).sum())
            witness = f"{variant}: of {x.numel()} degrees of freedom {rank} are left"
            tally.add(x.numel() - rank - lost, 0.5, witness)
        scaled = float((pln(3 * x, "mean") - pln(x, "mean")).abs().max())
        tally.add(scaled, 1e-13, f"mean: scaling an example by 3 changes it by {scaled:.3g}")
    return tally.outcome()


def by_formula(x: Any) -> Any:
    """The printed formula: sqrt(k+1) (x_i, e) / |(x_i, e)|, e^2 the mean of |x_j|^2 / k; 0/0 is NaN."""
    k = x.shape[0]
    whole = np.vstack([x, np.full((1, x.shape[1]), math.sqrt((x**2).sum(axis=0).mean() / k))])
    with np.errstate(invalid="ignore"):
        return math.sqrt(k + 1) * whole / np.linalg.norm(whole, axis=0)


@checks(
    "dks-11",
    part="zero",
    variant="as_printed",
    source="DKS 10.2",
    claim="PLN with the extra channel gives every location of every example the q value 1",
    subject=lambda x: True,
    broken=lambda x: bool(x.any()),
)
@checks(
    "dks-11",
    part="zero",
    variant="corrected",
    source="DKS 10.2",
    claim="PLN with the extra channel gives every location the q value 1, of an example that is not zero everywhere",
    subject=lambda x: bool(x.any()),
    broken=lambda x: True,
)
def zero_examples(subject: Callable[[Any], bool], effort: int) -> Outcome:
    """Small integer examples, with locations of zeros; 0/0 counts as an error of 1."""
    random, tally = np.random.default_rng(111), Tally()
    for x in [np.zeros((2, 3)), *(random.integers(-1, 2, (2, 3)) for _ in range(20 * effort))]:
        if subject(x):
            q = (by_formula(x) ** 2).mean(axis=0)
            error = 1.0 if np.isnan(q).any() else float(np.abs(q - 1).max())
            tally.add(error, 1e-12, f"q = {q.round(4).tolist()} for the example {x.tolist()}")
    return tally.outcome()
