"""Whatever torch model is given, `shape` shapes it, with its rules kept and measured values right, or refuses it."""

import torch

import qcmap as qc
import qcmap.nn as qnn
from qcmap.errors import QCMapError
from tests.nn.random_models import RandomModel

OPTIONS = (
    {"batch_norm": "remove", "scalars": "remove", "zeta": 1.2},
    {"batch_norm": "layer_norm", "scalars": "remove", "zeta": 1.1, "pooling": "weighted"},
    {"batch_norm": "remove", "scalars": "remove", "zeta": 1.3, "residual_weight": 0.4},
    {"zeta": 1.1},
    {"batch_norm": "remove", "scalars": "remove", "method": "unit_q", "residual_weight": "q"},
)


def outcome(seed):
    """``"shaped"``, or the kind of the refusal; raises for anything else than the two."""
    model = RandomModel(seed, width=48, refusals=0.03)
    x = tuple(
        qnn.pln(torch.randn(6, 2, 8, 8, generator=torch.Generator().manual_seed(seed + k))) for k in range(model.inputs)
    )
    before = {key: value.clone() for key, value in model.state_dict().items()}
    try:
        shaped, refusal = qnn.shape(model, x, seed=seed, **OPTIONS[seed % len(OPTIONS)]), None
    except QCMapError as error:
        shaped, refusal = None, error
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())
    if shaped is None:
        assert refusal.subject
        assert refusal.remedy
        return type(refusal).__name__
    assert not model.refused
    assert all(violation.severity == "warning" for violation in qc.check(shaped.architecture))
    found = qnn.measure(shaped, x, weights="orthogonal", networks=16, false_alarm=1e-6)
    assert not found.disagreeing, found.disagreeing
    return "shaped"
