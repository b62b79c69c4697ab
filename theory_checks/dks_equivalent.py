"""Equivalent parameters, which absorb the constants of transformed activations: DKS, section 18.2.

The equivalent network has the untransformed phi. With alpha, beta the constants of the activation after an affine layer
and gamma, delta those of the one before it, phi_hat(u) = gamma (phi(alpha u + beta) + delta), its parameters are

    W' = alpha gamma W,    b' = alpha (b + gamma delta W 1) + beta,

where 1 is the constant map of ones, so W 1 sums a filter over its taps and input channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

import qcmap as qc
from qcmap.numeric import Transform
from theory_checks.registry import Array, Outcome, Tally, checks


@dataclass(frozen=True)
class Layer:
    """Weights [out, in] or [out, in, height, width], and biases [out]."""

    weight: Array
    bias: Array

    @property
    def of_ones(self) -> Array:
        """The response to the map of ones, without bias and border: the sums of the weights."""
        return self.weight.sum(axis=tuple(range(1, self.weight.ndim)))

    def __call__(self, x: Array, pad: float | None = None) -> Array:
        """Wx + b for x [in, ...]; a filter visits every place where it fits, after padding with ``pad`` if given."""
        if self.weight.ndim == 2:
            return self.weight @ x + self.bias[:, None]
        if pad is not None:
            x = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=pad)
        height, width = (x.shape[k] - self.weight.shape[k + 1] + 1 for k in (1, 2))
        out = np.empty((len(self.bias), height, width))
        for i in range(height):
            for j in range(width):
                patch = x[:, i : i + self.weight.shape[2], j : j + self.weight.shape[3]]
                out[:, i, j] = np.tensordot(self.weight, patch, axes=3) + self.bias
        return out


Absorb = Callable[[Layer, Transform], Layer]
"""A layer and the constants of the activation beside it to the layer that absorbs them."""


def _layer(random: np.random.Generator, out: int, ins: int, *, filters: bool) -> Layer:
    shape = (out, ins, 3, 3) if filters else (out, ins)
    return Layer(random.standard_normal(shape) / 3, random.standard_normal(out))


def _transform(random: np.random.Generator, name: str) -> Transform:
    scales, shifts = random.uniform(0.4, 2, 2), random.uniform(0.3, 1.5, 2) * random.choice([-1, 1], 2)
    return Transform(qc.activation(name), float(scales[0]), float(shifts[0]), float(shifts[1]), float(scales[1]))


def into_previous(layer: Layer, t: Transform) -> Layer:
    """Alpha (W x + b) + beta = (alpha W) x + alpha b + beta."""
    return Layer(t.input_scale * layer.weight, t.input_scale * layer.bias + t.input_shift)


@checks(
    "dks-29",
    part="input",
    variant="as_printed",
    source="DKS 18.2",
    claim="alpha (W x + b) + beta 1 is W' x + b' with W' = alpha W, b' = b + beta 1",
    subject=lambda layer, t: Layer(t.input_scale * layer.weight, layer.bias + t.input_shift),
    broken=into_previous,
)
@checks(
    "dks-29",
    part="input",
    variant="corrected",
    source="DKS 18.2",
    claim="alpha (W x + b) + beta 1 is W' x + b' with W' = alpha W, b' = alpha b + beta 1",
    subject=into_previous,
    broken=lambda layer, t: Layer(t.input_scale * layer.weight, layer.bias + t.input_shift),
)
def inputs(subject: Absorb, effort: int) -> Outcome:
    """Random layers with biases; without biases both readings agree."""
    random, tally = np.random.default_rng(29), Tally()
    for k in range(4 * effort):
        layer, t = _layer(random, 5, 4, filters=k % 2 == 1), _transform(random, "tanh")
        x = random.standard_normal((4, 6, 5) if k % 2 else (4, 3))
        gap = float(np.abs(subject(layer, t)(x) - (t.input_scale * layer(x) + t.input_shift)).max())
        tally.add(gap, 1e-13, f"outputs differ by {gap:.3g} for alpha = {t.input_scale:.3g} and biases of size 1")
    return tally.outcome()


def into_next(layer: Layer, t: Transform) -> Layer:
    """W gamma (x + delta) + b = (gamma W) x + gamma delta W 1 + b."""
    gamma = t.output_scale
    return Layer(gamma * layer.weight, layer.bias + gamma * t.output_shift * layer.of_ones)


def _next_as_printed(layer: Layer, t: Transform) -> Layer:
    return Layer(t.output_scale * layer.weight, layer.bias + t.output_shift * layer.of_ones)


@checks(
    "dks-29",
    part="output",
    variant="as_printed",
    source="DKS 18.1, 18.2",
    claim="After phi_hat(u) = gamma (phi(alpha u + beta) + delta) the next layer has W' = gamma W, b' = delta W 1 + b",
    subject=_next_as_printed,
    broken=into_next,
)
@checks(
    "dks-29",
    part="output",
    variant="corrected",
    source="DKS 18.1, 18.2",
    claim="It has W' = gamma W, b' = gamma delta W 1 + b: in 18.2 the shift follows the scale, in 18.1 it precedes it",
    subject=into_next,
    broken=_next_as_printed,
)
def outputs(subject: Absorb, effort: int) -> Outcome:
    """Random layers after a transformed activation, by qcmap's `Transform`."""
    random, tally = np.random.default_rng(291), Tally()
    for k in range(4 * effort):
        layer, t = _layer(random, 5, 4, filters=k % 2 == 1), _transform(random, "tanh")
        u = random.standard_normal((4, 6, 5) if k % 2 else (4, 3))
        plain = t.activation.value(t.input_scale * u + t.input_shift)
        gap = float(np.abs(subject(layer, t)(plain) - layer(t(u))).max())
        tally.add(gap, 1e-13, f"outputs differ by {gap:.3g} for gamma = {t.output_scale:.3g}")
    return tally.outcome()


def equivalent(layers: list[Layer], transforms: list[Transform]) -> list[Layer]:
    """All layers of a chain with the constants of the activations between them."""
    after = [layers[0], *(into_next(layer, t) for layer, t in zip(layers[1:], transforms, strict=True))]
    return [*(into_previous(layer, t) for layer, t in zip(after, transforms, strict=False)), after[-1]]


def _forgets_scale(layers: list[Layer], transforms: list[Transform]) -> list[Layer]:
    """The layers in the other order: alpha does not reach gamma delta W 1."""
    before = [*(into_previous(layer, t) for layer, t in zip(layers, transforms, strict=False)), layers[-1]]
    found = [before[0]]
    for plain, layer, t in zip(layers[1:], before[1:], transforms, strict=True):
        shift = t.output_scale * t.output_shift * plain.of_ones
        found.append(Layer(t.output_scale * layer.weight, layer.bias + shift))
    return found


def forward(layers: list[Layer], activations: list[Any], x: Array, pads: list[float] | None) -> Array:
    """A chain; ``pads`` are the values with which maps are padded before each layer but the first, which pads zeros."""
    h = layers[0](x, None if pads is None else 0.0)
    for k, (layer, activation) in enumerate(zip(layers[1:], activations, strict=True)):
        h = layer(activation(h), None if pads is None else pads[k])
    return h


def _networks(seed: int, count: int, kinds: tuple[bool, ...]) -> Any:
    random = np.random.default_rng(seed)
    for k in range(count):
        filters = kinds[k % len(kinds)]
        widths = [3, 6, 5, 4]
        layers = [_layer(random, b, a, filters=filters) for a, b in pairwise(widths)]
        names = [("tanh", "softplus", "relu", "gelu")[int(j)] for j in random.integers(4, size=2)]
        transforms = [_transform(random, name) for name in names]
        yield layers, transforms, random.standard_normal((3, 8, 9) if filters else (3, 7))


@checks(
    "dks-29",
    part="network",
    source="DKS 18.2, 18.3",
    claim="A network with transformed activations and the untransformed one with equivalent parameters compute the "
    "same function: fully-connected, and convolutional without padding",
    subject=equivalent,
    broken=_forgets_scale,
)
def networks(subject: Callable[..., list[Layer]], effort: int) -> Outcome:
    """Chains of three layers with two transformed activations each."""
    tally = Tally()
    for layers, transforms, x in _networks(182, 6 * effort, (False, True)):
        plain = [t.activation.value for t in transforms]
        want = forward(layers, transforms, x, None)
        gap = float(np.abs(forward(subject(layers, transforms), plain, x, None) - want).max())
        size = float(np.abs(want).max())
        kind = "convolutional" if x.ndim == 3 else "fully-connected"
        tally.add(gap / size, 1e-12, f"outputs of a {kind} network of size {size:.3g} differ by {gap:.3g}")
    return tally.outcome()


Pads = list[Callable[[Transform], tuple[float, float]]]
"""Ways to pad: the constants to the values with which phi_hat's map and phi's map are padded."""


@checks(
    "dks-29",
    part="padding",
    variant="as_printed",
    source="DKS 18.2",
    claim="The construction for convolutional layers is similar: with zero padding in both networks too",
    subject=[lambda t: (0.0, 0.0)],
    broken=[lambda t: (0.0, -t.output_shift), lambda t: (t.output_scale * t.output_shift, 0.0)],
)
@checks(
    "dks-29",
    part="padding",
    variant="corrected",
    source="DKS 18.2",
    claim="With zero padding the shift must act on the padded map: phi's map is padded with -delta where phi_hat's is "
    "with 0, or phi's with 0 where phi_hat's is with gamma delta",
    subject=[lambda t: (0.0, -t.output_shift), lambda t: (t.output_scale * t.output_shift, 0.0)],
    broken=[lambda t: (0.0, t.output_shift)],
)
def padding(subject: Pads, effort: int) -> Outcome:
    """Chains of 3x3 convolutions with one location of padding; locations two or more from the border agree anyway."""
    tally, inner = Tally(), 0.0
    for layers, transforms, x in _networks(183, 3 * effort, (True,)):
        plain, changed = [t.activation.value for t in transforms], equivalent(layers, transforms)
        for way in subject:
            values = [way(t) for t in transforms]
            want = forward(layers, transforms, x, [a for a, _ in values])
            gap = np.abs(forward(changed, plain, x, [b for _, b in values]) - want)
            _, i, j = np.unravel_index(int(gap.argmax()), gap.shape)
            size = float(np.abs(want).max())
            witness = f"outputs of size {size:.3g} differ by {gap.max():.3g} at location ({i}, {j}) of 8 x 9"
            tally.add(float(gap.max()) / size, 1e-12, witness)
            inner = max(inner, float(gap[:, 2:-2, 2:-2].max()) / size)
    tally.add(inner, 1e-12, f"outputs inside the map differ by {inner:.3g}")
    return tally.outcome()
