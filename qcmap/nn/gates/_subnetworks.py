"""Active and sensitive gates of each input, and how the active ones overlap (DGN, sections 2 and 3.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from qcmap._tables import Cells, Tabled
from qcmap.errors import ArgumentError
from qcmap.nn._modes import modes_restored
from qcmap.nn.gates._checks import on_device

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Subnetworks(Tabled):
    """Which gates are on, and which are learning, for each input.

    Attributes
    ----------
    active
        For each layer, booleans [inputs, *shape]: gates above the threshold.
    sensitive
        The same for gates with a derivative above its threshold in a parameter; None if it was not asked for.
    choices
        For each max pooling, the taps that its windows take, integers [inputs, *shape].
    """

    active: Mapping[str, Mask]
    sensitive: Mapping[str, Mask] | None = None
    choices: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def shares(self) -> dict[str, float]:
        """The fraction of active gates in each layer."""
        return {name: float(mask.mean()) for name, mask in self.active.items()}

    def overlap(self, layer: str) -> NDArray[np.float64]:
        """[inputs, inputs]: which part of a row's active gates is active for the column too; 0 where there are none.

        The largest entry off the diagonal over all layers is eta of DGN, section 2.
        """
        flat = self.active[layer].reshape(len(self.active[layer]), -1).astype(np.float64)
        common = flat @ flat.T
        own = common.diagonal()[:, None]
        return np.divide(common, own, out=np.zeros_like(common), where=own > 0)

    def switched(self, before: Subnetworks) -> dict[str, float]:
        """The fraction of gates in each layer that are not as before, or of windows, for the same inputs.

        Raises
        ------
        ArgumentError
            For sub-networks of other layers or inputs.
        """
        now, then = ({**one.active, **one.choices} for one in (self, before))
        if {k: m.shape for k, m in now.items()} != {k: m.shape for k, m in then.items()}:
            raise ArgumentError("before", "its layers or inputs are others", "compare one network on one set of inputs")
        return {name: float((state != then[name]).mean()) for name, state in now.items()}

    def _cells(self) -> Cells:
        """Shares of active and sensitive gates, and mean overlap of different inputs, by layer."""
        rows = []
        for name, mask in self.active.items():
            overlap = self.overlap(name)
            apart = overlap[~np.eye(len(overlap), dtype=bool)]
            row = [str(math.prod(mask.shape[1:])), f"{mask.mean():.3f}", f"{apart.mean():.3f}" if apart.size else ""]
            row.append("" if self.sensitive is None else f"{self.sensitive[name].mean():.3f}")
            rows.append((name, *row))
        title = f"sub-networks of {len(next(iter(self.active.values())))} inputs"
        return Cells(title, ("layer", "gates", "active", "overlap", "sensitive"), rows)

    def to_dict(self) -> dict[str, Any]:
        """Shares by layer."""
        found: dict[str, Any] = {"active": self.shares()}
        if self.sensitive is not None:
            found["sensitive"] = {name: float(mask.mean()) for name, mask in self.sensitive.items()}
        return found

    def __repr__(self) -> str:
        gates = sum(math.prod(mask.shape[1:]) for mask in self.active.values())
        return f"<sub-networks of {len(next(iter(self.active.values())))} inputs among {gates} gates>"


def subnetworks(
    gates: nn.Module, *inputs: Tensor, active_above: float = 0.5, sensitive_above: float | None = None
) -> Subnetworks:
    """The active gates of each input, and the sensitive ones if a threshold is given.

    A gate is active if it is above ``active_above`` (tau_A), and sensitive if the absolute value of its derivative in
    some parameter is above ``sensitive_above`` (tau_S). Hard gates have no derivative. Every derivative of every gate
    is computed, one input and one layer at a time: for networks with some thousand gates.

    Parameters
    ----------
    gates
        Inputs to a dictionary of gates [batch, *shape], and integers for choices of max poolings: ``split.gates`` of a
        `SplitModel`.
    inputs
        Batches [batch, ...].

    Raises
    ------
    ArgumentError
        For thresholds that are negative or not finite.
    DataError
        For no examples, or inputs that are no finite tensors.
    """
    check_thresholds(active_above, sensitive_above)
    inputs = on_device(inputs, gates)
    with modes_restored(gates):
        gates.eval()
        with torch.no_grad():
            found = gates(*inputs)
        choices = {name: gate.cpu().numpy() for name, gate in found.items() if not gate.is_floating_point()}
        active = {name: (gate > active_above).cpu().numpy() for name, gate in found.items() if name not in choices}
        sensitive = None if sensitive_above is None else _sensitive(gates, inputs, list(active), sensitive_above)
    return Subnetworks(active, sensitive, choices)


def check_thresholds(active_above: float, sensitive_above: float | None) -> None:
    """Raise `ArgumentError` for thresholds that are negative or not finite."""
    for name, threshold in (("active_above", active_above), ("sensitive_above", sensitive_above)):
        if threshold is None and name == "sensitive_above":
            continue
        if not (isinstance(threshold, (int, float, np.number)) and math.isfinite(threshold) and threshold >= 0):
            raise ArgumentError(name, f"a threshold is finite and at least 0, not {threshold!r}", "give e.g. 0.5")


def _sensitive(gates: nn.Module, inputs: tuple[Tensor, ...], names: list[str], threshold: float) -> dict[str, Mask]:
    parameters = {name: p.detach() for name, p in gates.named_parameters()}
    found: dict[str, list[Mask]] = {name: [] for name in names}
    for one in zip(*inputs, strict=True):
        batch = tuple(x[None] for x in one)
        for name in names:

            def layer(values: dict[str, Tensor], batch: tuple[Tensor, ...] = batch, name: str = name) -> Tensor:
                return functional_call(gates, values, batch)[name][0]

            rows: dict[str, Tensor] = jacrev(layer)(parameters)
            shape = layer(parameters).shape
            largest = [r.reshape(*shape, -1).abs().amax(-1) for r in rows.values()]
            found[name].append((torch.stack(largest).amax(0) > threshold).cpu().numpy())
    return {name: np.stack(masks) for name, masks in found.items()}
