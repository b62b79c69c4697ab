"""Deep gated networks: values whose gates come from elsewhere (NPF, section 4, appendices C, D; DGN, sections 2 to 4).

Feature and value networks have equal layouts. A regime is a row of `REGIMES`: where gates come from, how the networks
start, which of them are trained. Depth d counts layers of weights, as both papers do: d - 1 layers have gates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from models.gated_layers import GatedLayers, Layout, fully_connected
from models.mlp import check_sizes
from qcmap.errors import ArgumentError, DataError
from qcmap.nn import initialize
from qcmap.nn._initialize import Weights
from qcmap.nn._random import generator_from
from qcmap.nn.gates import HARD, GateFunction
from qcmap.nn.gates._checks import has_values
from qcmap.nn.gates._function import on_tensors

SOFT = GateFunction(beta=4.0)
"""The soft gate of both papers' experiments."""


class OpenGate:
    """Always 1: the gate of deep linear networks."""

    hard = True

    def __call__(self, q: Tensor) -> Tensor:
        """Ones."""
        return torch.ones_like(q)

    def passed(self, q: Tensor) -> Tensor:
        """Q itself."""
        return q


@dataclass(frozen=True)
class Regime:
    """One way in which gates and values come about.

    Attributes
    ----------
    features
        How the network that gives the gates starts: from weights of its own, from those of the values, or from those of
        a trained network; None if the values give the gates themselves.
    gate
        The gate function.
    trains
        Which networks are trained.
    forwards
        What the network that gives the gates hands on to its next layer: its ReLU (NPF), or q times its gate (DGN).
    """

    features: Literal["independent", "same", "learnt"] | None
    gate: GateFunction | OpenGate
    trains: tuple[Literal["features", "values"], ...] = ("values",)
    forwards: Literal["relu", "gate"] = "relu"


REGIMES: Mapping[str, Regime] = {
    "relu": Regime(None, HARD),
    "soft_relu": Regime(None, SOFT, forwards="gate"),
    "linear": Regime(None, OpenGate(), forwards="gate"),
    "dlnpf": Regime("independent", SOFT, ("features", "values")),
    "flnpf": Regime("learnt", HARD),
    "frnpf_ii": Regime("independent", HARD),
    "frnpf_di": Regime("same", HARD),
    "galu": Regime("independent", HARD, forwards="gate"),
    "soft_galu": Regime("independent", SOFT, ("features", "values"), forwards="gate"),
    "gates_only": Regime("independent", SOFT, ("features",), forwards="gate"),
}
"""NPF, section 4, and DGN, table 3 and experiment 6 (printed with an infinite beta, which lets no gradient through)."""


class DeepGatedNetwork(nn.Module):
    """Values gated by themselves or by features, in one of the regimes.

    Parameters
    ----------
    layout
        Of both networks; see `models.gated_layers`.
    shape
        Of one input: (channels,) or (channels, *locations).
    regime
        A name in `REGIMES`, or a row.
    gate
        A gate function in place of the regime's.
    forwards
        What the features hand on, in place of the regime's.
    learnt
        For features that start from a trained network: that network, of the same layout; they start from what gives
        it its gates.
    repeats
        The values have so many times as many hidden channels as the features, and gates are repeated: DGN^(m) of NPF,
        appendix C.
    bias
        Whether layers have biases, zero at first; in the papers they have none.
    weights, gain
        As for `initialize`; a gain of sqrt 2 is He's.
    seed
        Of the weights. Values of one seed start alike in all regimes.

    Raises
    ------
    ArgumentError
        For an unknown regime or word in ``forwards``, a gate that is no gate function, trained features behind hard
        gates, a trained network that is missing or of another layout, or repeats that do not fit.
    """

    def __init__(
        self,
        layout: Layout,
        shape: tuple[int, ...],
        regime: str | Regime = "dlnpf",
        *,
        gate: GateFunction | None = None,
        forwards: Literal["relu", "gate"] | None = None,
        learnt: GatedLayers | DeepGatedNetwork | None = None,
        repeats: int = 1,
        bias: bool = False,
        weights: Weights = "gaussian",
        gain: float = math.sqrt(2),
        seed: int = 0,
    ) -> None:
        super().__init__()
        row = _named(regime)
        self.regime = row
        self.gate = row.gate if gate is None else on_tensors(gate)
        self.forwards: Literal["relu", "gate"] = row.forwards if forwards is None else forwards
        if self.forwards not in ("relu", "gate"):
            raise ArgumentError("forwards", f"it is 'relu' or 'gate', not {forwards!r}", "choose one")
        check_sizes({"repeats": repeats})
        self.repeats = repeats
        if repeats > 1 and row.features in (None, "same"):
            raise ArgumentError("repeats", "gates are repeated for values that differ from features", "use frnpf_ii")
        if "features" in row.trains and self.gate.hard:
            raise ArgumentError("gate", "no gradient flows through hard gates", "give a finite beta to train features")
        source = generator_from(seed)

        def made(times: int) -> GatedLayers:
            layers = GatedLayers(tuple(one.widened(times) for one in layout[:-1]) + layout[-1:], shape, bias=bias)
            return initialize(layers, weights, delta=False, gain=gain, generator=source)

        self.values = made(repeats)
        self.features = None if row.features is None else made(1)
        starts = {"same": self.values, "learnt": _gating(learnt) if isinstance(learnt, DeepGatedNetwork) else learnt}
        if self.features is not None and row.features in starts:
            _copy(starts[row.features], self.features)
        for name in ("features", "values"):
            part = getattr(self, name)
            if part is not None and name not in row.trains:
                part.requires_grad_(requires_grad=False)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """The gates [batch, channels, *locations] of each hidden layer, by name, as the values get them."""
        layers = _gating(self)
        passed = torch.relu if self.forwards == "relu" else self.gate.passed
        found = layers.gates(x, self.gate, passed)
        if self.repeats == 1:
            return found
        return {name: gate.repeat(1, self.repeats, *[1] * (gate.ndim - 2)) for name, gate in found.items()}

    def forward(self, x: Tensor) -> Tensor:
        """[batch, *shape] to [batch, outputs]."""
        if self.features is None:
            return self.values.gated(x, self.gate.passed)
        return self.values(x, self.gates(x))

    def untied(self) -> DeepGatedNetwork:
        """The same function with a copy of the values as features: gates and values are told apart in derivatives.

        For soft-ReLU networks: K = K_w + K_a + cross terms (DGN, section 3).
        """
        if self.features is not None or not isinstance(self.gate, GateFunction):
            raise ArgumentError("regime", "its gates are not those of its own values", "use relu or soft_relu")
        layout, shape = self.values.layout, self.values.shape
        bias = any(name.endswith("bias") for name, _ in self.values.named_parameters())
        apart = DeepGatedNetwork(layout, shape, "galu", gate=self.gate, bias=bias)
        apart.requires_grad_()
        for part in (apart.values, apart.features):
            assert part is not None
            part.load_state_dict(self.values.state_dict())
        return apart.to(next(self.parameters()))


class MemorisationNetwork(nn.Module):
    """A table of numbers as a gated network: the input is 1 and each number has random gates (NPF, appendix D).

    The gates of number s are independent Bernoulli(mu), fixed for ever (DGN, section 2: DGN-FRG). Weights are +-sigma
    with sigma^2 = 1 / (mu w), so that E K_0 / d has ones on the diagonal and mu^(d-1) off it, equation (23).

    Parameters
    ----------
    count
        How many numbers, n.
    width, depth
        w and d.
    mu
        The chance that a gate is open, in (0, 1].
    seed
        Of gates and weights.
    """

    def __init__(self, count: int, width: int, depth: int, *, mu: float = 0.5, seed: int = 0) -> None:
        super().__init__()
        check_sizes({"count": count, "width": width, "depth": depth})
        if not (isinstance(mu, (int, float)) and 0 < mu <= 1):
            raise ArgumentError("mu", f"a gate is open with a chance in (0, 1], not {mu!r}", "give e.g. 0.5")
        source = generator_from(seed)
        self.values = GatedLayers(fully_connected([width] * (depth - 1), 1), (1,))
        # A layer's weights have variance a / k, k its inputs.
        variances = {
            name: (layer.in_features / (mu * width), 0.0)
            for name, layer in self.values.named_children()
            if isinstance(layer, nn.Linear)
        }
        initialize(self.values, "sign", variances=variances, generator=source)
        opened = torch.rand(depth - 1, count, width, generator=source) < mu
        self.register_buffer("open", opened.to(torch.get_default_dtype()))

    def gates(self, index: Tensor) -> dict[str, Tensor]:
        """The gates [batch, width] of each hidden layer, for whole numbers [batch] or [batch, 1] below ``count``."""
        at = index.reshape(len(index)).long()
        count = self.get_buffer("open").shape[1]
        if has_values(index) and not bool(((index == index.round()) & (index >= 0) & (index < count)).all()):
            raise DataError("index", f"the network keeps {count} numbers", f"give whole numbers from 0 to {count - 1}")
        return {name: layer[at] for name, layer in zip(self.values.gated_names, self.get_buffer("open"), strict=True)}

    def forward(self, index: Tensor) -> Tensor:
        """The numbers [batch, 1] at whole numbers [batch] or [batch, 1]."""
        if not isinstance(index, Tensor):
            raise DataError("index", f"it is a tensor, not {type(index).__name__}", "give a tensor [batch]")
        if index.ndim < 1 or index.numel() != len(index):
            raise DataError("index", f"it has the shape {list(index.shape)}", "give [batch] or [batch, 1]")
        gates = self.gates(index)
        one = self.get_buffer("open").new_ones(len(index), 1)
        return self.values(one, gates)


def _named(regime: str | Regime) -> Regime:
    if isinstance(regime, Regime):
        return regime
    if regime not in REGIMES:
        raise ArgumentError("regime", f"there is no regime {regime!r}", f"choose from {', '.join(REGIMES)}")
    return REGIMES[regime]


def _gating(network: DeepGatedNetwork) -> GatedLayers:
    """The part that gives a network its gates."""
    return network.values if network.features is None else network.features


def _copy(given: GatedLayers | None, layers: GatedLayers) -> None:
    """Give layers the weights of others of the same layout."""
    if not isinstance(given, GatedLayers):
        raise ArgumentError("learnt", "this regime needs the network whose gates it takes", "train one in regime relu")
    shapes, wanted = ({k: t.shape for k, t in part.state_dict().items()} for part in (given, layers))
    if shapes != wanted:
        raise ArgumentError("learnt", "the network whose gates are taken has another layout", "use one layout")
    layers.load_state_dict(given.state_dict())
