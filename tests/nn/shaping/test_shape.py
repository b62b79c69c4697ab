"""What `shape` makes of models: what is changed, what is refused and how, that the model given is left alone."""

import copy
import math

import pytest
import torch
from torch import nn

import qcmap as qc
import qcmap.nn as qnn
from qcmap.errors import ArchitectureError, ArgumentError, Infeasible, QCMapError
from tests.nn.shaping.nets import Branches, PreActivation, ResNet, image, mlp


def kinds(shaped, kind):
    return [change for change in shaped.report().changes if change.kind == kind]


def test_an_mlp_gets_the_constants_that_dks_finds():
    model = mlp(depth=12)
    shaped = qnn.shape(model, torch.randn(3, 16), zeta=1.3)
    wanted = qc.dks(qc.zoo.mlp(depth=12, activation="softplus"), zeta=1.3)["softplus"]
    modules = [m for m in shaped.modules() if isinstance(m, qnn.ShapedActivation)]
    assert len(modules) == 12
    for module in modules:
        assert module.input_scale == pytest.approx(wanted.input_scale, rel=1e-12)
        assert module.output_shift == pytest.approx(wanted.output_shift, rel=1e-12)
    layers = [m for m in shaped.modules() if isinstance(m, nn.Linear)]
    assert len(layers) == 13
    for layer in layers[:-1]:
        assert torch.allclose(layer.weight @ layer.weight.T, torch.eye(16), atol=1e-6)
        assert not layer.bias.any()


def test_paths_and_keys_are_those_of_the_model():
    model = mlp(depth=3)
    shaped = qnn.shape(model, torch.randn(3, 16), zeta=1.3)
    assert list(shaped.state_dict()) == list(model.state_dict())
    assert {node.id for node in shaped.architecture.nodes} == {"input", *map(str, range(7))}
    assert shaped.places["1"] in {node.name for node in shaped.graph.nodes}


def test_the_model_is_left_as_it_is():
    model = ResNet().train()
    model.blocks[0].eval()
    before, flags = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    state = torch.get_rng_state()
    qnn.shape(model, image(), batch_norm="remove")
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())
    assert flags == [m.training for m in model.modules()]
    assert torch.equal(torch.get_rng_state(), state)


def test_batch_norms_are_refused_removed_or_replaced():
    model = ResNet()
    with pytest.raises(ArchitectureError, match=r"blocks.0.norm1: .*no-batch-norm.*batch_norm='remove'.*more"):
        qnn.shape(model, image())
    removed = qnn.shape(model, image(), batch_norm="remove")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in removed.modules())
    # Seven norms; every convolution is read by one, through sums, and had no biases.
    assert len(kinds(removed, "batch_norm")) == 7
    assert len(kinds(removed, "bias")) == 9
    assert removed.get_parameter("stem.bias").abs().max() == 0
    replaced = qnn.shape(model, image(), batch_norm="layer_norm")
    assert sum(isinstance(m, qnn.ChannelNorm) for m in replaced.modules()) == 7
    assert not kinds(replaced, "bias")
    for shaped in (removed, replaced):
        assert shaped(image()).isfinite().all()
        assert qc.check(shaped.architecture) == [w for w in shaped.warnings if w.rule.endswith("heuristic")]


def weights_of(shaped, node):
    return tuple(shaped.get_submodule(node).weights)


def test_residual_weights():
    model, x = ResNet(), image()

    def sums(rule):
        shaped = qnn.shape(model, x, batch_norm="remove", residual_weight=rule)
        return [shaped.architecture[f"blocks.{k}.add"].op.weights for k in range(3)]

    half = math.sqrt(0.5)
    # The forward adds shortcut + branch: the branch is the second.
    assert sums(None) == [pytest.approx((half, half))] * 3
    assert sums(0.3) == [pytest.approx((math.sqrt(0.91), 0.3))] * 3
    # A transition block's shortcut has q value 1, the next one's stream 2 (appendix J).
    q = [(half, half), (math.sqrt(2 / 3), math.sqrt(1 / 3)), (half, half)]
    assert sums("q") == [pytest.approx(pair) for pair in q]
    assert sums(lambda node, branches: (3, 4)) == [pytest.approx((0.6, 0.8))] * 3
    with pytest.raises(ArchitectureError, match=r"blocks.0.add: the function for its weights gave \[1\]"):
        sums(lambda node, branches: [1])
    for bad in (0, 1, -0.5, True, "k", float("nan")):
        with pytest.raises(ArgumentError, match="residual_weight"):
            sums(bad)


def test_nested_sums_and_multiplications_are_weights():
    shaped = qnn.shape(Branches(), torch.randn(4, 12), zeta=1.2)
    (total,) = [node for node in shaped.architecture.nodes if node.op.kind == "sum"]
    norm = math.sqrt(1 + 4 + 0.25)
    assert total.op.weights == pytest.approx((1 / norm, 2 / norm, -0.5 / norm))
    assert len(total.inputs) == 3
    assert len(kinds(shaped, "scale")) == 3
    assert any(isinstance(m, nn.Dropout) for m in shaped.modules())


@pytest.mark.parametrize(
    "between",
    [
        lambda self, h: h + self.shift,
        lambda self, h: nn.functional.dropout(h, 0.5, self.training),
        lambda self, h: h.unflatten(1, (4, 2)).flatten(1),
    ],
    ids=["bias", "dropout", "reshape"],
)
def test_what_stands_between_two_sums_stays_there(between):
    """Sums become one only where nothing else would get lost."""

    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.d, self.e = (nn.Linear(8, 8) for _ in range(5))
            self.shift = nn.Parameter(torch.zeros(8))

        def forward(self, x):
            h = torch.tanh(self.a(x))
            return self.e(torch.tanh(between(self, self.b(h) - 2 * self.c(h)) + self.d(h)))

    shaped = qnn.shape(Nested().train(), torch.randn(2, 8), zeta=1.2)
    sums = [node for node in shaped.architecture.nodes if node.op.kind == "sum"]
    assert [len(node.inputs) for node in sums] == [2, 2]
    (read, _), inner = shaped.traced.reads[sums[1].id], shaped.traced.places[sums[0].id]
    assert read is not inner
    assert inner in read.all_input_nodes or inner in read.all_input_nodes[0].all_input_nodes


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x))) * 0.3


def test_multipliers_elsewhere_are_refused_or_removed():
    with pytest.raises(ArchitectureError, match=r"no-scalar-multiplier.*scalars='remove'"):
        qnn.shape(Scaled(), torch.randn(2, 8), zeta=1.05)
    shaped = qnn.shape(Scaled(), torch.randn(2, 8), zeta=1.05, scalars="remove")
    assert len(kinds(shaped, "scale")) == 1
    assert "mul" not in shaped.code


def test_weighted_pooling():
    x = image(size=32)
    shaped = qnn.shape(ResNet(), x, batch_norm="remove", pooling="weighted")
    (pool,) = kinds(shaped, "pool")
    assert shaped.architecture[pool.node].op.kind == "weighted_mean_pool"
    assert not any(w.rule == "mean-pool-heuristic" for w in shaped.warnings)
    assert shaped(x).shape == (2, 10)


def test_methods():
    x = torch.randn(3, 16)
    leaky = qnn.shape(mlp(20, act=nn.LeakyReLU), x, method="tat", eta=0.8)
    assert leaky.shaping.method == "tat"
    smooth = qnn.shape(mlp(20, act=nn.Tanh), x, method="tat", tau=0.3)
    assert smooth.shaping.tau == 0.3
    unit = qnn.shape(mlp(20, act=nn.ReLU), x, method="unit_q")
    assert unit.shaping["relu"].output_scale == pytest.approx(math.sqrt(2))
    own = qnn.shape(mlp(20), x, method=lambda arch: qc.dks(arch, psi=1.01))
    assert own.shaping.psi == 1.01
    assert qnn.shape(mlp(20), x, psi=1.02).shaping.psi == 1.02


def test_generators_seeds_and_gaussian_weights():
    x = torch.randn(3, 16)
    one, same, other = (qnn.shape(mlp(3), x, seed=seed, weights="gaussian", zeta=1.2) for seed in (5, 5, 6))
    assert torch.equal(one(x), same(x))
    assert not torch.equal(one(x), other(x))
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(qnn.shape(mlp(3), x, generator=generator, weights="gaussian", zeta=1.2)(x), one(x))
    weight = one.get_parameter("2.weight").detach()
    assert not torch.allclose(weight @ weight.T, torch.eye(16), atol=0.1)


def test_without_delta_there_is_a_warning():
    x = image()
    shaped = qnn.shape(ResNet(), x, batch_norm="remove", delta=False)
    assert shaped.get_parameter("stem.weight")[0, 0].count_nonzero() == 49
    warned = {w.node for w in shaped.warnings if w.rule == "delta-initialization"}
    assert "stem" in warned
    assert "head" not in warned
    assert "stem" not in {w.node for w in qnn.shape(ResNet(), x, batch_norm="remove").warnings}


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"weights": "uniform"}, "weights: there is no choice 'uniform'"),
        ({"batch_norm": "keep"}, "batch_norm"),
        ({"pooling": "mean"}, "pooling"),
        ({"scalars": None}, "scalars"),
        ({"method": "magic"}, "method: there is no method 'magic'"),
        ({"method": "tat", "zeta": 1.5}, "zeta"),
        ({"method": lambda arch: None, "zeta": 1.5}, "method"),
        ({"zeta": 0.9}, "zeta"),
        ({"seed": -1}, "seed"),
        ({"zeta": 10**400}, "zeta"),
        ({"delta": "no"}, "delta"),
        ({"generator": 3}, "generator: it must be a torch.Generator, not int"),
        ({"method": lambda arch: None}, "method: it gave NoneType for the architecture"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ArgumentError, match=match):
        qnn.shape(mlp(3), torch.randn(2, 16), **arguments)


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.out, self.gain = nn.Linear(8, 8), nn.Linear(8, 8), nn.Parameter(torch.rand(8))

    def forward(self, x):
        return self.out(torch.tanh(self.linear(x) * self.gain))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8, bias=False), nn.Linear(8, 8)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x) + self.b.bias))


@pytest.mark.parametrize(
    ("model", "x", "names"),
    [
        (Odd(), torch.randn(2, 8), "entries differ"),
        (Tied(), torch.randn(2, 8), "^b.bias: it is a parameter of a layer, and is added to the feature map of 'a'"),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 5, 8), "no-multiplication"),
        (nn.Sequential(nn.Linear(8, 8), nn.LSTM(8, 8)), torch.randn(2, 8), "1"),
        (nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Tanh(), nn.Linear(8, 8)), torch.randn(2, 8), "consecutive"),
    ],
)
def test_what_cannot_be_shaped_is_refused_by_name(model, x, names):
    with pytest.raises(QCMapError, match=names):
        qnn.shape(model, x, zeta=1.05)


def test_infeasible_targets_are_refused():
    with pytest.raises(Infeasible):
        qnn.shape(mlp(3, act=nn.Hardtanh), torch.randn(2, 16), zeta=1.1)


def test_refusals_change_nothing_and_reports_read_well():
    model = PreActivation(8, 8)
    shaped = qnn.shape(nn.Sequential(nn.Conv2d(3, 8, 3), model), image(size=9), batch_norm="remove", zeta=1.1)
    text = str(shaped.report())
    assert "| `1.norm1` | batch norm | taken out | it mixes examples" in text
    assert shaped.report().counts()["activation"] == 2
    data = shaped.report().to_dict()
    assert len(data["changes"]) == len(shaped.report().changes)
    assert "shaped by dks" in shaped.report().method
    assert shaped.predict_maps().c(0.0) == pytest.approx(0.0, abs=1e-12)


def test_modes_are_those_of_the_model():
    block = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)).eval()
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(0.5), block, nn.Tanh(), nn.Linear(8, 8))
    shaped, x = qnn.shape(model, torch.randn(2, 8)), torch.randn(64, 8)
    own = {path: module.training for path, module in model.named_modules()}
    assert {path: module.training for path, module in shaped.named_modules()} == own
    assert not torch.equal(shaped(x), shaped(x))
    assert not any(module.training for module in qnn.shape(model.eval(), x).modules())


def test_a_shaped_model_can_be_shaped_again():
    first = qnn.shape(mlp(depth=3), torch.randn(3, 16), zeta=1.3)
    again = qnn.shape(first, torch.randn(3, 16), zeta=1.2)
    assert [node.id for node in again.architecture.nodes] == [node.id for node in first.architecture.nodes]


def test_hooks_are_reported_and_left_on_the_model():
    model, called = mlp(depth=2), []
    model[0].register_forward_hook(lambda *_: called.append(1))
    model[2].register_full_backward_hook(lambda *_: called.append(2))
    shaped = qnn.shape(model, torch.randn(3, 16), zeta=1.2)
    assert [(change.node, change.before) for change in kinds(shaped, "hook")] == [("0", "1 hook"), ("2", "1 hook")]
    shaped(torch.randn(3, 16)).sum().backward()
    assert not called
    model(torch.randn(3, 16)).sum().backward()
    assert called == [1, 2]


def test_names_of_a_shaped_model_are_refused():
    model = nn.Sequential()
    for name, layer in (("a", nn.Linear(8, 8)), ("act", nn.Tanh()), ("report", nn.Linear(8, 8))):
        model.add_module(name, layer)
    with pytest.raises(QCMapError, match=r"^report: a ShapedModel has an attribute of this name"):
        qnn.shape(model, torch.randn(2, 8))


def test_an_option_that_the_method_lacks_is_refused():
    with pytest.raises(ArgumentError, match=r"^temperature: .*'dks' has no such option; its options: .*q_slope"):
        qnn.shape(mlp(depth=3), torch.randn(3, 16), temperature=1.0)


def test_a_remedy_that_names_a_function_names_one_that_is_there():
    model = ResNet()
    with pytest.raises(ArchitectureError, match=r"qcmap\.check\(qcmap\.nn\.trace\(model, example_input\)\)"):
        qnn.shape(model, image())
    assert callable(qnn.trace)
