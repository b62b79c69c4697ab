"""Initializations whose variance depends on the sizes of a layer alone: fan-in, He, Glorot.

A weight [out, in/groups, *kernel] has the fan-in k = in/groups * taps and the fan-out m = out/groups * taps: an output
reads k inputs, and an input is read by m outputs (strides aside).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch

from qcmap.errors import ArgumentError
from qcmap.nn._initialize import Layer, M, Scale, fill
from qcmap.nn._weights import check_gain

Distribution = Literal["gaussian", "truncated", "uniform"]
_DISTRIBUTIONS = "gaussian", "truncated", "uniform"


def fan_in(
    module: M,
    distribution: Distribution = "gaussian",
    *,
    gain: float = 1.0,
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> M:
    """LeCun's initialization: independent weights of variance gain^2/k over all taps, zero biases (DKS, section 26.1).

    Per-unit variances, and q values, stay on average where activations keep them. With filters of more than one tap
    locations mix, so there are no Q and C maps (DKS, section 5.4).

    Parameters
    ----------
    module, seed, generator
        As for `qcmap.nn.initialize`, which this is with ``delta=False``.
    distribution
        ``"gaussian"``, ``"truncated"`` (normal, cut at two standard deviations and rescaled to the variance) or
        ``"uniform"`` (between -sqrt(3/k) and sqrt(3/k)).
    gain
        Multiplies the standard deviation.

    Returns
    -------
    The module itself, changed in place; nothing is changed if anything is refused.

    Raises
    ------
    ArgumentError
        As `qcmap.nn.initialize` does, naming the module's path; also for an unknown distribution.
    """
    return _filled(module, distribution, gain, lambda path, layer: Scale(gain), seed, generator)


def he(
    module: M,
    distribution: Distribution = "gaussian",
    *,
    negative_slope: float = 0.0,
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> M:
    """He's initialization: variance 2 / ((1 + a^2) k), zero biases (DKS, sections 25.4 and 26.1).

    For x symmetric about zero and a leaky relu phi of negative slope a, E phi(x)^2 = (1 + a^2)/2 E x^2, so every layer
    but the first keeps the q value at the input of its activation; the first one, which reads the network's input,
    multiplies it by 2 / (1 + a^2). Arguments and errors are those of `fan_in`.
    """
    if isinstance(negative_slope, bool) or not isinstance(negative_slope, (int, float)):
        raise ArgumentError("negative_slope", f"a slope is a number, not {negative_slope!r}", "give the slope below 0")
    if not math.isfinite(negative_slope):
        raise ArgumentError("negative_slope", f"a slope is finite, not {negative_slope}", "give the slope below 0")
    gain = math.sqrt(2 / (1 + negative_slope**2))
    return fan_in(module, distribution, gain=gain, seed=seed, generator=generator)


def glorot(
    module: M,
    distribution: Distribution = "uniform",
    *,
    gain: float = 1.0,
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> M:
    """Glorot's initialization: variance 2 gain^2 / (k + m), zero biases (DKS, sections 25.3 and 26.1).

    A compromise between keeping q values (1/k) and mean squared gradients (1/m), which for k != m keeps neither: over
    two linear layers of widths n, 2n, n it multiplies q by (2/3)(4/3) = 8/9. Arguments and errors are those of
    `fan_in`.
    """

    def scale(path: str, layer: Layer) -> Scale:
        groups = getattr(layer, "groups", 1)
        k, m = layer.weight.shape[1], layer.weight.shape[0] // groups
        return Scale(gain * math.sqrt(2 * k / (k + m)))  # the taps cancel

    return _filled(module, distribution, gain, scale, seed, generator)


def _filled(
    module: M,
    distribution: str,
    gain: float,
    scale: Callable[[str, Layer], Scale],
    seed: int,
    generator: torch.Generator | None,
) -> M:
    if distribution not in _DISTRIBUTIONS:
        raise ArgumentError(
            "distribution", f"there is no {distribution!r}", f"choose one of {', '.join(map(repr, _DISTRIBUTIONS))}"
        )
    check_gain(gain)
    return fill(module, distribution, scale, delta=False, seed=seed, generator=generator)
