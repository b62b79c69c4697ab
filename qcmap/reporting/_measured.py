"""Predictions against measurements: a torch model as it stands, and the same model shaped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qcmap.architecture import Architecture
from qcmap.errors import QCMapError

if TYPE_CHECKING:
    from torch import nn

    from qcmap.nn import Measurement

STANDS, SHAPED = "as it stands", "shaped"


def graph_of(model: nn.Module, example_input: Any) -> Architecture:
    """The graph of a model: its own if it has one, else the traced one; raises as `qcmap.nn.trace`."""
    import qcmap.nn as qnn

    own = getattr(model, "architecture", None)
    return own if isinstance(own, Architecture) else qnn.trace(model, example_input)


def measurements(model: nn.Module, x: Any, zeta: float, seed: int) -> list[dict[str, Any]]:
    """A measurement of the model as it stands, and of a copy shaped with ``zeta``, or the reasons why there is none."""
    import qcmap.nn as qnn

    def of_shaped() -> Measurement:
        return qnn.measure(qnn.shape(model, x, zeta=zeta, seed=seed), x, weights="orthogonal", seed=seed)

    if isinstance(model, qnn.ShapedModel):
        makers = {SHAPED: lambda: qnn.measure(model, x, weights="orthogonal", seed=seed)}
    else:
        makers = {STANDS: lambda: qnn.measure(model, x, seed=seed), SHAPED: of_shaped}
    found: list[dict[str, Any]] = []
    for what, make in makers.items():
        try:
            found.append({"what": what, **_rows(make())})
        except QCMapError as error:
            found.append({"what": what, "reason": str(error)})
    return found


def _rows(measurement: Measurement) -> dict[str, Any]:
    rows = [
        {
            "node": row.node,
            "q": row.q_mean,
            "q_predicted": row.q_predicted,
            "q_error": None if row.errors is None else row.errors.q * row.q_predicted,
            "c_deviation": row.c_deviation,
            "score": row.score,
        }
        for row in measurement.rows
    ]
    return {
        "rows": rows,
        "samples": measurement.samples,
        "pairs": measurement.pairs,
        "networks": measurement.networks,
        "threshold": measurement.threshold,
        "disagreeing": [row.node for row in measurement.disagreeing],
        "unmeasured": list(measurement.unmeasured),
    }
