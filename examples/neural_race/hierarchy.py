"""The task of Figs. 4 to 6: seven features of four items in a hierarchy, the same on every route (NRR, Fig. 4c)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from examples.neural_race.banks import Bank, squared_error

HIERARCHY = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], *np.eye(4)]) * np.array([6, 4, 4, 3, 3, 3, 3])[:, None]
"""Outputs [7 features, 4 items]: singular values 13.60, 6.40, 3, 3. Inputs are the unit vectors."""
ZERO = float((HIERARCHY**2).mean())
"""The mean squared error of a network that answers zero; errors are shares of it."""


def scale(trained_routes: int) -> float:
    """The figures' loss, a sum over trained routes of means over the 4 x 7 outputs, is this many times the loss (1).

    (1) has half the square, its mean over 4 examples, and the mean over routes. Rates are to be multiplied by it too.
    """
    return trained_routes * 2 / HIERARCHY.shape[0]


def item_bank(domains: int, hidden: int, *, gain: float, seeds: Sequence[int]) -> Bank:
    """Routing networks for the items, one for each seed."""
    return Bank(domains, HIERARCHY.shape[1], hidden, HIERARCHY.shape[0], gain=gain, seeds=seeds)


def items(domains: int) -> Tensor:
    """The four items in every domain, [1, M, 4, 4]."""
    return torch.eye(4, dtype=torch.float64).expand(1, domains, 4, 4)


def route_errors(bank: Bank) -> Tensor:
    """The mean squared error of each route, [seeds, M, M]."""
    return squared_error(bank(items(bank.domains)), torch.tensor(HIERARCHY.T))


def across(h: np.ndarray) -> float:
    """The mean cosine between representations of one item in two domains, h [domains, items, units]."""
    unit = h / np.linalg.norm(h, axis=2, keepdims=True)
    cosines = np.einsum("iau,jau->ij", unit, unit) / h.shape[1]
    return float(cosines[~np.eye(len(h), dtype=bool)].mean())
