"""The tangent kernel of a gated network in two parts: of its values and of what gives its gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qcmap.errors import ArgumentError
from qcmap.nn.measuring._tangent import empirical_ntk

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GateKernels:
    """K = K_v + K_f of a network whose gates have parameters of their own (NPF, proposition 4.1).

    Attributes
    ----------
    values
        K_v [inputs, inputs], of the parameters of the values; K_w in DGN, section 3.
    features
        K_f, of the parameters that the gates depend on; K_a in DGN. Zero for hard gates.
    """

    values: Array
    features: Array

    @property
    def total(self) -> Array:
        """K, if values and features are trained."""
        return self.values + self.features

    def to_dict(self) -> dict[str, Any]:
        """The kernels as nested lists."""
        return {"values": self.values.tolist(), "features": self.features.tolist()}

    def __repr__(self) -> str:
        v, f = (float(np.trace(part)) if part.shape[0] == part.shape[1] else float(part.mean()) for part in (
            self.values, self.features))  # fmt: skip
        return f"<tangent kernels of values {v:.4g} and features {f:.4g} for {' x '.join(map(str, self.values.shape))}>"


def gate_kernels(
    model: nn.Module, x1: Tensor, x2: Tensor | None = None, *, block: int = 16, dtype: torch.dtype = torch.float64
) -> GateKernels:
    """K_v and K_f of a model at its present parameters, averaged over the outputs.

    The outputs must be logits: those of a softmax have a constant sum, whose derivative is zero. Parameters that are
    not trained count too.

    Parameters
    ----------
    model
        A `SplitModel`, or any model whose values are its submodule ``values`` and share no parameter with the rest,
        such as ``models.gated.DeepGatedNetwork`` with features.
    x1, x2, block, dtype
        As for `empirical_ntk`.

    Raises
    ------
    ArgumentError
        For a model without values, or with parameters in values only.
    DataError
        As `empirical_ntk`.
    """
    inside = any(name.startswith("values.") for name, _ in model.named_parameters())
    outside = any(not name.startswith("values.") for name, _ in model.named_parameters())
    if not (inside and outside):
        rule = "its gates have no parameters of their own" if inside else "it has no parameters in a submodule 'values'"
        raise ArgumentError(type(model).__name__, rule, "use split_gates, or untie the gates from the values")
    kernel = empirical_ntk(model, x1, x2, parameterization="standard", block=block, dtype=dtype)
    parts = {True: np.zeros_like(kernel.total), False: np.zeros_like(kernel.total)}
    for path, term in kernel.terms.items():
        parts[path.startswith("values.")] += term
    return GateKernels(parts[True], parts[False])
