"""Gates over training: which are on, how many switch, and how the path kernel turns towards the labels."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError, NumericalError
from qcmap.nn.gates._function import HARD, GateFunction
from qcmap.nn.gates._split import SplitModel, split_gates
from qcmap.nn.gates._subnetworks import Subnetworks, check_thresholds, subnetworks
from qcmap.numeric.paths._checks import real_array
from qcmap.numeric.paths._spectra import nu


class _Moment(Protocol):
    """What the training engine gives a measure."""

    @property
    def model(self) -> nn.Module: ...


class GateRecorder:
    """A measure for the training engine (``each_epoch=[GateRecorder(model, x)]``): the gates of some inputs.

    Each call gives ``active/NODE``, the fraction of gates that are on at each activation, and after the first call
    ``switched/NODE``, the fraction that is not as it was at the call before. NPF, definition 3.3, calls the times at
    which gates switch switching instants. With labels there is ``nu`` besides: y' H^-1 y for the path kernel H of the
    inputs, scaled to trace 1 (NPF, section 6.2; DGN, section 3), which falls as H turns towards the labels. It is left
    out where H is singular to rounding. With a soft gate and a threshold there is ``sensitive/NODE`` as well, the
    fraction of gates that are learning (DGN, section 3.1).

    Parameters
    ----------
    model
        What will be trained: a ReLU network, for `split_gates`.
    x
        Some inputs [n, ...].
    labels
        Numbers [n], such as -1 and 1.
    gate
        As for `split_gates`; soft gates are those of the soft-ReLU network of the model's weights.
    active_above, sensitive_above
        As for `subnetworks`.

    Raises
    ------
    ArgumentError
        For hard gates with a threshold of their derivatives, which they have none of, or thresholds below 0.
    DataError
        For labels that are not one finite number an input. Other errors are those of `split_gates`.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        labels: Tensor | NDArray[Any] | None = None,
        *,
        gate: GateFunction = HARD,
        active_above: float = 0.5,
        sensitive_above: float | None = None,
    ) -> None:
        if gate.hard and sensitive_above is not None:
            raise ArgumentError("sensitive_above", "hard gates have no derivatives", "give gate=GateFunction(beta)")
        self.split: SplitModel = split_gates(model, x, gate=gate)
        self.thresholds = {"active_above": active_above, "sensitive_above": sensitive_above}
        check_thresholds(active_above, sensitive_above)
        self.x = x
        self.labels = None if labels is None else real_array("labels", labels).astype(np.float64).reshape(-1)
        if self.labels is not None and (len(self.labels) != len(x) or not np.isfinite(self.labels).all()):
            raise DataError("labels", f"they are one finite number for each of {len(x)} inputs", "give [n]")
        self.last: Subnetworks | None = None

    def __call__(self, moment: _Moment) -> dict[str, float]:
        """What `measured` says of the model that is trained."""
        return self.measured(moment.model)

    @torch.no_grad()
    def measured(self, model: nn.Module) -> dict[str, float]:
        """What is on, what has switched since the last call, and nu, for a model as it is now."""
        self.split.follow(model)
        now = subnetworks(self.split.gates, self.x, **self.thresholds)
        found = {f"{kind}/{name}": share for kind, shares in now.to_dict().items() for name, share in shares.items()}
        if self.last is not None:
            found |= {f"switched/{name}": share for name, share in now.switched(self.last).items()}
        if self.labels is not None:
            kernel = self.split.path_kernel(self.x)
            with suppress(NumericalError):
                found["nu"] = nu(kernel, self.labels)
        self.last = now
        return found
