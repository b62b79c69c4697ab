"""Each reference model traces to the graph that the zoo gives for it: names, ops and weights."""

import pytest
import torch

import qcmap as qc
import qcmap.nn as qnn
from models.convnext import ConvNeXt
from models.densenet import DenseNet
from models.resnet import resnet_v2, wide_resnet
from models.transformer import Transformer
from models.unet import UNet
from qcmap.errors import QCMapError

LARGE, SMALL = (2, 3, 224, 224), (2, 3, 32, 32)
CASES = {
    "resnet 18": (lambda: resnet_v2(18, width=8, activation="tanh"), LARGE),
    "resnet 34, small images": (lambda: resnet_v2(34, width=4, stem="cifar", norm=None), SMALL),
    "resnet 50": (lambda: resnet_v2(50, width=8, norm="layer", residual_weight=0.3), LARGE),
    "resnet 50, no shortcuts": (lambda: resnet_v2(50, width=8, norm=None, shortcuts=False, activation="gelu"), LARGE),
    "resnet 50, wide bottlenecks": (lambda: resnet_v2(50, width=4, widen=4, norm=None, pooling="weighted"), LARGE),
    "wide resnet 16": (lambda: wide_resnet(16, residual_weight=0.2, norm=None, activation="leaky_relu"), SMALL),
    "wide resnet 10, batch norms": (lambda: wide_resnet(10, widen=3, activation="elu"), SMALL),
    "densenet": (lambda: DenseNet((2, 3, 2), 4, activation="softplus"), LARGE),
    "densenet, layer norms": (lambda: DenseNet((1, 2), 4, norm=True), LARGE),
}


@pytest.mark.parametrize("name", CASES)
def test_the_graph_is_that_of_the_zoo(name):
    make, shape = CASES[name]
    model = make()
    traced = qnn.trace(model, torch.empty(shape))
    wanted = {node.id: node for node in model.architecture.nodes}
    found = {node.id: node for node in traced.nodes}
    assert set(found) == set(wanted)
    for node in found:
        assert found[node] == wanted[node]
    assert traced.outputs == model.architecture.outputs


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_large_resnets_have_the_slope_of_the_theory(depth):
    """mu is the larger of equation (20) and the subnetwork up to the last residual branch (docs/errata.md)."""
    model = resnet_v2(depth, width=8, activation="softplus", norm=None, residual_weight=0.05**0.5)
    shaped = qnn.shape(model, torch.empty(1, 3, 224, 224))
    assert {n.id for n in shaped.architecture.nodes} == {n.id for n in model.architecture.nodes}
    psi, w2 = 1.03, 0.05
    equation_20 = psi**5 * (w2 * psi**2 + 1 - w2) ** 4 * (w2 * psi**3 + 1 - w2) ** ((depth - 14) // 3)
    mu = qc.maximal_slope(shaped.architecture)
    assert mu(psi) == pytest.approx(max(equation_20, equation_20 * psi**2 / (w2 * psi**3 + 1 - w2)), rel=1e-13)


def test_the_convnext_is_shaped():
    model = ConvNeXt((1, 2), 16, layer_scale=0.1)
    shaped = qnn.shape(model, torch.empty(2, 3, 32, 32), zeta=1.2)
    sums = [node.op.weights for node in shaped.architecture.nodes if node.op.kind == "sum"]
    assert sums == [pytest.approx((1 / 1.01**0.5, 0.1 / 1.01**0.5))] * 3
    assert "stages.stage1.0.scale" not in dict(shaped.named_parameters())
    taps = shaped.get_parameter("stages.stage1.0.depthwise.weight")
    assert (taps[:, 0, 3, 3].abs() == 1).all()
    assert shaped(torch.randn(2, 3, 32, 32)).isfinite().all()


def test_the_unet_is_that_of_the_zoo():
    traced = qnn.trace(UNet(2, 4, activation="tanh"), torch.empty(2, 3, 16, 16))
    zoo = qc.zoo.unet(2, 4, resolution=16)
    assert {node.id: node for node in traced.nodes} == {node.id: node for node in zoo.nodes}
    assert [violation.rule for violation in qc.check(traced)] == ["upsampling-heuristic"] * 2


def test_the_unet_is_shaped_and_measures_as_predicted():
    """c values of this image differ from place to place; each location is followed by itself."""
    random = torch.Generator().manual_seed(0)
    patches = torch.randn(1, 2, 2, 2, generator=random).repeat_interleave(8, 2).repeat_interleave(8, 3)
    x = qnn.pln(torch.randn(6, 2, 16, 16, generator=random) + patches)
    shaped = qnn.shape(UNet(2, 32, activation="tanh"), x, zeta=1.5)
    found = qnn.measure(shaped, x, weights="orthogonal", networks=16, locations=32, false_alarm=1e-4)
    assert not found.disagreeing, found.disagreeing
    assert {"up1.upsample", "up1.join", "up2.conv2"} <= {row.node for row in found.rows}
    plain = qnn.measure(UNet(2, 32, activation="tanh"), x, architecture=shaped.architecture, shaping=shaped.shaping)
    assert len(plain.disagreeing) > 10


def test_the_transformer_is_refused_at_its_attention():
    with pytest.raises(QCMapError, match=r"layers.0.attention.*no-multiplication"):
        qnn.shape(Transformer(), torch.randn(2, 5, 64))


def test_a_shaped_reference_model_takes_another_dtype():
    """Its plain activations widen half precision by themselves; tracing writes no conversion down for that."""
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    shaped = qnn.shape(UNet(1, 4, activation="softplus"), x)
    single = shaped(x)
    double = shaped.double()(x.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-4, atol=1e-4)
