"""Models that nobody here wrote, without their batch norms: shaped, or refused by the rule that the table names."""

import re
import warnings
from pathlib import Path

import pytest
import torch

import qcmap as qc
import qcmap.nn as qnn
from tests.nn.tracing.test_transformers import IMAGES, class_of, model_of

PAGE = Path(__file__).parents[3] / "docs" / "shape.md"
FAMILIES = {
    **{name: settings for name, (settings, _) in IMAGES.items()},
    "ResNet, one block a stage": {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 1]},
    "RegNet, one block a stage": {
        "embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "groups_width": 8, "layer_type": "x",
    },
}  # fmt: skip
OUTCOMES = dict(re.findall(r"^\| ([^|]+) \| `?([a-z-]+)`? \|", PAGE.read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("batch_norm", ["remove", "layer_norm"])
@pytest.mark.parametrize("family", FAMILIES)
def test_models_of_transformers(family, batch_norm):
    model = model_of(class_of(family), FAMILIES[family])
    if batch_norm == "layer_norm" and not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules()):
        return  # the same as with "remove"
    example = {"pixel_values": torch.zeros(2, 3, 64, 64)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if OUTCOMES[family] != "shaped":
            with pytest.raises(qc.QCMapError) as caught:
                qnn.shape(model, example, batch_norm=batch_norm, scalars="remove", zeta=1.2)
            assert OUTCOMES[family] in str(caught.value)
            return
        shaped = qnn.shape(model, example, batch_norm=batch_norm, scalars="remove", zeta=1.2)
        logits = shaped(pixel_values=torch.randn(3, 3, 64, 64))["logits"]
    assert logits.isfinite().all()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in shaped.modules())
    assert not [violation for violation in qc.check(shaped.architecture) if violation.severity == "error"]
