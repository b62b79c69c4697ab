"""Many routing networks at once: a bank holds the weights of several seeds and trains them side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, log_softmax

from qcmap.errors import ArgumentError, NumericalError
from qcmap.gated import random_weights, routing


class Bank:
    """Routing networks (NRR, Fig. 4a) of one shape, one for each seed.

    Parameters
    ----------
    domains, channels, width, classes
        M input domains of ``channels`` inputs, hidden layers of ``width``, M output domains of ``classes`` outputs.
    gain
        Of the orthogonal initial weights, drawn by `qcmap.gated.random_weights`.
    seeds
        One network for each.
    slope
        Negative slope of the hidden layers: 1 for linear ones, 0 for ReLU.
    dtype
        Of the weights.
    """

    def __init__(
        self, domains: int, channels: int, width: int, classes: int, *, gain: float, seeds: Sequence[int],
        slope: float = 1.0, dtype: torch.dtype = torch.float64,
    ) -> None:  # fmt: skip
        shape = routing(domains, 1, width=width, data=(np.eye(channels), np.ones((classes, channels))))
        drawn = [random_weights(shape, gain=gain, seed=seed) for seed in seeds]

        def stacked(*edges: str) -> Tensor:
            """[seeds, channels out, channels in] with the rows of all these edges below one another."""
            return torch.tensor(np.stack([np.concatenate([w[e] for e in edges]) for w in drawn]), dtype=dtype)

        self.domains, self.classes, self.slope = domains, classes, slope
        # [seeds, M, width, channels], [seeds, width, width] and [seeds, M * classes, width].
        self.first = stacked(*(f"in{i}" for i in range(domains))).unflatten(1, (domains, width))
        self.hidden = stacked("hidden1")
        self.last = stacked(*(f"out{j}" for j in range(domains)))
        self.weights = [self.first, self.hidden, self.last]
        for weight in self.weights:
            weight.requires_grad_()

    def represent(self, x: Tensor) -> Tensor:
        """The first hidden layer, [seeds, M, examples, width], for x [seeds or 1, M, examples, channels]."""
        return self._bend(x @ self.first.mT)

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs [seeds, M inputs, examples, M outputs, classes]: each input domain through to each output domain."""
        h = self.represent(x)
        seeds, domains, examples, width = h.shape
        h = self._bend(h.reshape(seeds, domains * examples, width) @ self.hidden.mT)
        return (h @ self.last.mT).view(seeds, domains, examples, self.domains, self.classes)

    def _bend(self, h: Tensor) -> Tensor:
        return h if self.slope == 1 else leaky_relu(h, self.slope)

    def to(self, device: torch.device) -> None:
        """Move the weights."""
        for weight in self.weights:
            weight.data = weight.data.to(device)

    def descend(self, loss: Callable[[int], Tensor], *, steps: int, optimiser: torch.optim.Optimizer) -> None:
        """Minimise ``loss(step)``, [seeds]: seeds do not see one another, so their sum serves for each.

        Raises `NumericalError` if weights have grown beyond all bounds.
        """
        for step in range(steps):
            optimiser.zero_grad()
            loss(step).sum().backward()
            optimiser.step()
        if not all(weight.isfinite().all() for weight in self.weights):
            raise NumericalError("bank", "descent diverges", "give a smaller rate")


def neighbours(domains: int, trained: int) -> Tensor:
    """The trained routes [M inputs, M outputs] of `qcmap.gated.routing`: input i with outputs i, ..., i + K - 1."""
    i = torch.arange(domains)
    return (i[None, :] - i[:, None]) % domains < trained


def scattered(domains: int, trained: int, seed: int) -> Tensor:
    """K random outputs for each input and K inputs for each output: rows and columns of `neighbours` shuffled.

    The offsets of the routes are random too, so that the domains do not lie on a ring.
    """
    random, i = np.random.default_rng(seed), np.arange(domains)
    offsets = random.permutation(domains)[:trained]
    routes = torch.zeros(domains, domains, dtype=torch.bool)
    rows, columns = random.permutation(domains), random.permutation(domains)
    for offset in offsets.tolist():
        routes[rows[i], columns[(i + offset) % domains]] = True
    return routes


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean squared error of each route, [seeds, M inputs, M outputs]; targets [examples, classes]."""
    return ((outputs - targets[:, None, :]) ** 2).mean(dim=(2, 4))


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of each route, [seeds, M, M]; labels [seeds, M inputs, examples, M outputs]."""
    return -log_softmax(outputs, dim=-1).gather(-1, labels[..., None]).squeeze(-1).mean(dim=2)


def error_rate(outputs: Tensor, labels: Tensor) -> Tensor:
    """The share of examples of each route, [seeds, M, M], that are put in the wrong class."""
    return (outputs.argmax(dim=-1) != labels).double().mean(dim=2)


def mean_over(values: Tensor, routes: Tensor) -> Tensor:
    """For each seed, [seeds], the mean over these routes ([M, M] or [seeds, M, M]) of a quantity [seeds, M, M].

    Raises `ArgumentError` if there are none.
    """
    routes = routes.expand(values.shape)
    if not routes.any():
        raise ArgumentError("routes", "there are none to average over", "train some routes and leave some")
    return (values * routes).sum(dim=(1, 2)) / routes.sum(dim=(1, 2))
