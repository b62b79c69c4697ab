"""Models that nobody here wrote: what becomes of classes of transformers with random weights (docs/tracing.md)."""

import re
import warnings
from pathlib import Path

import pytest
import torch

import qcmap as qc
import qcmap.nn as qnn

ROOT = Path(__file__).parents[3]
BN = {"no-batch-norm", "affine-before-activation", "sum-of-affine-outputs", "independent-branches", "normalized-sum"}
IMAGES = {
    "ResNet": ({"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 2]}, BN),
    "ConvNext": ({"hidden_sizes": [16, 32], "depths": [1, 2], "num_stages": 2},
                 {"no-scalar-multiplier", "normalized-sum"}),
    "ConvNextV2": ({"hidden_sizes": [16, 32], "depths": [1, 2], "num_stages": 2}, "no-multiplication"),
    "RegNet": ({"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 2], "groups_width": 8,
                "layer_type": "x"}, BN),
    "RegNet Y": ({"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "groups_width": 8,
                  "layer_type": "y"}, BN | {"no-multiplication"}),
    "MobileNetV1": ({"depth_multiplier": 0.25, "image_size": 64, "tf_padding": False},
                    {"no-batch-norm", "affine-before-activation"}),
    "MobileNetV2": ({"depth_multiplier": 0.35, "image_size": 64, "tf_padding": False}, BN),
    "PoolFormer": ({"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
                   {"independent-branches", "normalized-sum", "no-scalar-multiplier"}),
    "MobileViT": ({"hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32],
                   "num_attention_heads": 2, "image_size": 64}, "no-multiplication"),
    "Bit": ({"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1], "num_groups": 2},
            "computed from parameters"),
    "ViT": ({"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
             "image_size": 64, "patch_size": 16}, "class token"),
    "UperNet": (lambda t: {
        "backbone_config": t.ConvNextConfig(
            hidden_sizes=[8, 16, 16, 32], depths=[1] * 4, num_stages=4, out_features=[f"stage{k}" for k in range(1, 5)]
        ),
        "hidden_size": 16, "pool_scales": [1], "use_auxiliary_head": False, "num_labels": 5,
    }, "mixes locations"),
}  # fmt: skip
"""For each family its configuration (or what makes it of the package); the rules it breaks, or words of the refusal."""


@pytest.mark.parametrize("family", IMAGES)
def test_image_models(family):
    settings, outcome = IMAGES[family]
    check_outcome(model_of(class_of(family), settings), {"pixel_values": torch.zeros(2, 3, 64, 64)}, outcome)


def test_bert_is_refused_at_its_attention():
    model = model_of("BertModel", {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                                   "intermediate_size": 32, "vocab_size": 50})  # fmt: skip
    check_outcome(model, {"input_ids": torch.zeros(2, 7, dtype=torch.long)}, "attention")


def class_of(family):
    task = "SemanticSegmentation" if family == "UperNet" else "ImageClassification"
    return f"{re.split('[ ,]', family)[0]}For{task}"


def model_of(name, settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        kind = getattr(transformers, name)
        return kind(kind.config_class(**(settings(transformers) if callable(settings) else settings))).eval()


def check_outcome(model, example, outcome):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(outcome, str):
            with pytest.raises(qc.QCMapError, match=outcome) as caught:
                qnn.trace(model, example)
            assert "." in caught.value.subject
            return
        traced = qnn.traced(model, example)
        more = {name: torch.randn(3, *value.shape[1:]) for name, value in example.items()}
        torch.testing.assert_close(traced.graph_module(**more)["logits"], model(**more)["logits"], rtol=0, atol=0)
    errors = {v.rule for v in qc.check(traced.architecture) if v.severity == "error"}
    assert errors == outcome


def test_the_table_of_the_docs_names_every_model():
    page = (ROOT / "docs" / "tracing.md").read_text()
    assert all(f"| {family} |" in page for family in [*IMAGES, "BERT"])
