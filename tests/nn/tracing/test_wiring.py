"""Sums, concatenations, norms, pools, views, inputs and outputs; what is refused, and the names of nodes."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import qcmap as qc
import qcmap.nn as qnn
from models import MLP
from qcmap.architecture import (
    Affine,
    BatchNorm,
    Concat,
    Input,
    LayerNorm,
    MaxPool,
    MeanPool,
    Multiply,
    Nonlinear,
    Scale,
    Sum,
    Upsample,
    WeightedMeanPool,
)
from qcmap.errors import TraceError
from tests.nn.tracing.test_spellings import Between, agrees, between, ops_of

F = nn.functional


def other(self, h):
    return self.other(h)


SUMS = {
    "operator": (lambda self, h: self.other(h) + h, [Sum((1.0, 1.0))]),
    "method": (lambda self, h: self.other(h).add(h, alpha=0.5), [Sum((1.0, 0.5))]),
    "in place": (lambda self, h: self.other(h).add_(h), [Sum((1.0, 1.0))]),
    "function": (lambda self, h: torch.add(self.other(h), h, alpha=2), [Sum((1.0, 2.0))]),
    "difference": (lambda self, h: self.other(h) - h, [Sum((1.0, -1.0))]),
    "sum of a list": (lambda self, h: sum([self.other(h), h]), [Sum((1.0, 1.0))]),
    "scaled": (lambda self, h: 0.6 * self.other(h) + h / 1.25, [Scale(0.6), Scale(0.8), Sum((1.0, 1.0))]),
    "concatenation": (lambda self, h: torch.cat([self.other(h), h], 1)[:, :, :], [Concat()]),
    "negation": (lambda self, h: self.other(h) + -h, [Scale(-1.0), Sum((1.0, 1.0))]),
    "product": (lambda self, h: self.other(h) * h, [Multiply()]),
    "gate": (lambda self, h: h * self.other(h).mean((2, 3), keepdim=True), [MeanPool(), Multiply()]),
}


@pytest.mark.parametrize(("function", "expected"), SUMS.values(), ids=SUMS)
def test_sums(function, expected):
    model = Between(function, other=nn.Conv2d(8, 8, 3, padding=1))
    if Concat() in expected:
        model.last = nn.Conv2d(16, 8, 1)
    found = ops_of(agrees(model, torch.randn(2, 3, 8, 8)).architecture)
    assert found == [Affine(8, (3, 3)), *expected]


LAYERS = {
    "linear, channels last": (lambda self, h: self.m(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.Linear(8, 8),
                              [Affine(8)]),
    "linear over tokens": (
        lambda self, h: self.m(h.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(h.shape[0], 8, 8, 8),
        nn.Linear(8, 8), [Affine(8)],
    ),
    "depthwise": (lambda self, h: self.m(h), nn.Conv2d(8, 8, 7, padding=3, groups=8), [Affine(8, (7, 7), groups=8)]),
    "dilated": (lambda self, h: self.m(h), nn.Conv2d(8, 8, 3, padding="same", dilation=2),
                [Affine(8, (3, 3), dilation=2)]),
    "rectangular": (lambda self, h: self.m(h), nn.Conv2d(8, 8, (1, 7), padding=(0, 3)), [Affine(8, (1, 7))]),
    "patches": (lambda self, h: self.m(h), nn.Conv2d(8, 8, 2, 2), [Affine(8, (2, 2), 2, 0)]),
    "layer norm": (lambda self, h: self.m(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.LayerNorm(8), [LayerNorm()]),
    "rms norm": (lambda self, h: self.m(h.movedim(1, -1)).movedim(-1, 1), nn.RMSNorm(8), [LayerNorm(centre=False)]),
    "layer norm of the map": (lambda self, h: self.m(h), nn.LayerNorm((8, 8, 8)), [LayerNorm(groups=1)]),
    "group norm": (lambda self, h: self.m(h), nn.GroupNorm(2, 8), [LayerNorm(groups=2)]),
    "batch norm": (lambda self, h: self.m(h), nn.BatchNorm2d(8), [BatchNorm()]),
    "max pool": (lambda self, h: self.m(h), nn.MaxPool2d(3, 2, 1), [MaxPool((3, 3), 2, 1)]),
    "mean pool": (lambda self, h: self.m(h), nn.AvgPool2d(2), [MeanPool((2, 2))]),
    "adaptive": (lambda self, h: self.m(h), nn.AdaptiveAvgPool2d(4), [MeanPool((2, 2))]),
    "global": (lambda self, h: self.m(h), nn.AdaptiveAvgPool2d(1), [MeanPool()]),
    "mean": (lambda self, h: self.m(h).mean(dim=[-2, -1], keepdim=True), nn.Identity(), [MeanPool()]),
    "weighted": (lambda self, h: self.m(h), qnn.WeightedMeanPool((8, 8), keepdim=True), [WeightedMeanPool()]),
    "upsample": (lambda self, h: self.m(h), nn.Upsample(scale_factor=2), [Upsample((2, 2))]),
    "nearest": (lambda self, h: self.m(h), nn.UpsamplingNearest2d((24, 8)), [Upsample((3, 1))]),
    "interpolate": (lambda self, h: F.interpolate(self.m(h), scale_factor=(1.0, 3.0)), nn.Identity(),
                    [Upsample((1, 3))]),
    "exact": (lambda self, h: F.interpolate(self.m(h), (24, 40), mode="nearest-exact"), nn.Identity(),
              [Upsample((3, 5))]),
    "aten": (lambda self, h: torch.ops.aten.upsample_nearest2d.vec(self.m(h), None, [2.0, 2.0]), nn.Identity(),
             [Upsample((2, 2))]),
    "to its own size": (lambda self, h: F.interpolate(self.m(h), h.shape[2:], mode="bilinear"), nn.Tanh(),
                        [Nonlinear("tanh")]),
    "plain activation": (lambda self, h: self.m(h), qnn.PlainActivation(qc.activation("elu", alpha=2.0)),
                         [Nonlinear(qc.activation("elu", alpha=2.0))]),
    "dropout": (lambda self, h: F.dropout2d(F.dropout(self.m(h), 0.2, self.training), 0.1, self.training),
                nn.Tanh(), [Nonlinear("tanh")]),
    "channel shuffle": (lambda self, h: self.m(h.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)),
                        nn.Tanh(), [Nonlinear("tanh")]),
}  # fmt: skip


@pytest.mark.parametrize(("function", "layer", "expected"), LAYERS.values(), ids=LAYERS)
def test_layers(function, layer, expected):
    assert ops_of(between(function, m=layer).architecture) == expected


REFUSED = {
    "a sum of windows": (lambda self, h: F.avg_pool2d(h, 2, divisor_override=1), "no mean.*no-scalar-multiplier"),
    "a jump": (lambda self, h: F.softplus(h, threshold=3), r"jumps by 0\.049 at its threshold 3"),
    "random factor": (lambda self, h: h * torch.rand(()), "random in eval mode"),
    "random shift": (lambda self, h: h + torch.randn(h.shape[1:]), "random in eval mode"),
    "batch size": (lambda self, h: h / h.shape[0], "calculates with the batch size"),
    "no number": (lambda self, h: h * float("nan"), "calculates with nan"),
    "no finite constant": (lambda self, h: h + torch.full((), torch.inf), "calculates with inf"),
    "a gate at zero": (
        lambda self, h: h + self.last.weight.detach()[0, 0] * 0 * h,
        "by zero; take this branch out",
    ),
    "softmax": (lambda self, h: h.softmax(1), "no-multiplication"),
    "attention": (lambda self, h: F.scaled_dot_product_attention(h, h, h), "attention"),
    "product of matrices": (lambda self, h: h @ h, "no-multiplication"),
    "matrix of the model": (
        lambda self, h: h @ self.first.weight[:, 0, 0, 0].diag(),
        "matrix of the model: a linear layer",
    ),
    "einsum with a matrix": (lambda self, h: torch.einsum("nchw,ca->nahw", h, torch.ones(8, 8)), "F.linear"),
    "einsum of maps": (lambda self, h: torch.einsum("nchw,nchv->ncwv", h, h), "no-multiplication"),
    "a part": (lambda self, h: h[:, :, ::2], "part of a feature map"),
    "halves": (lambda self, h: torch.cat(h.chunk(2, 1)[::-1], 1), "part of a feature map"),
    "instance norm": (lambda self, h: F.instance_norm(h), "single channels"),
    "transposed": (lambda self, h: h.transpose(2, 3) + h, "different axes"),
    "mean over channels": (lambda self, h: h.mean(1, keepdim=True) + h, "reduces the batch, the channels"),
    "constants by channel": (lambda self, h: h * torch.arange(8.0).reshape(-1, 1, 1), "entries differ"),
    "a constant": (lambda self, h: h + 3, "constant other than zero"),
    "by values": (lambda self, h: h if h.sum() > 0 else -h, "does not run on tensors without data"),
    "by examples": (lambda self, h: h.reshape(int(h.shape[0]), 8, 8, 8), "batch size as a number"),
    "writing": (lambda self, h: h.__setitem__((slice(None), 0), 0) or h, "writes into a tensor"),
    "views in place": (lambda self, h: h.view(-1, 8, 64).relu_().view_as(h) + h, "view was changed in place"),
    "tokens mixed": (lambda self, h: F.linear(h, self.first.weight[:, :, 0, 0].T @ torch.zeros(8, 8)), "computed"),
    "bilinear": (lambda self, h: F.interpolate(h, scale_factor=2, mode="bilinear"), "mixes locations"),
    "bilinear, aten": (
        lambda self, h: torch.ops.aten.upsample_bilinear2d.vec(h, None, False, [2.0, 2.0]),
        "mixes locations",
    ),
    "bicubic module": (lambda self, h: nn.Upsample(scale_factor=2, mode="bicubic")(h), "mixes locations"),
    "fewer locations": (lambda self, h: F.interpolate(h, scale_factor=0.5), "repeated by an integer"),
    "uneven copies": (lambda self, h: F.interpolate(h, size=12), "repeated by an integer"),
    "pooled and repeated": (
        lambda self, h: h + F.interpolate(h.mean((2, 3), keepdim=True), scale_factor=8),
        "same for all locations",
    ),
    "reflection": (lambda self, h: F.pad(h, (1, 1)), "stand for none"),
    "unknown": (lambda self, h: torch.nan_to_num(h), "no rule for"),
}


@pytest.mark.parametrize(("function", "words"), REFUSED.values(), ids=REFUSED)
def test_refusals_name_module_and_call(function, words):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Between(function)

        def forward(self, x):
            return self.inner(x)

    with pytest.raises(TraceError, match=words) as caught:
        qnn.trace(Outer(), torch.randn(2, 3, 8, 8))
    assert caught.value.subject.startswith(("inner", "Outer"))


def test_mlp_traces_to_the_zoo():
    model = MLP(16, 8, 5, 3, activation="tanh")
    assert qnn.trace(model, torch.randn(4, 16)).nodes == qc.zoo.mlp(
        5, 8, "tanh", in_channels=16, out_channels=3
    ).nodes  # fmt: skip


class Silu(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class Many(nn.Module):
    """Several inputs and outputs, a module called twice, weights shared by two modules, an inner module of one node."""

    def __init__(self):
        super().__init__()
        self.shared, self.tied, self.act = nn.Linear(6, 6), nn.Linear(6, 6), Silu()
        self.tied.weight = self.shared.weight
        self.free, self.shift = nn.Parameter(torch.randn(6, 6)), nn.Parameter(torch.zeros(6))

    def forward(self, left, right, scale=None):
        a, b = self.act(self.shared(left)), self.shared(right)
        joint = torch.cat([self.tied(a) + self.shift, F.linear(b.tanh(), self.free)], 1)
        return {"joint": joint, "side": b, "none": scale}


def test_several_inputs_and_outputs_and_shared_parameters():
    traced = qnn.traced(Many(), {"left": torch.randn(3, 6), "right": torch.randn(3, 6)})
    arch = traced.architecture
    assert arch.inputs == ("left", "right")
    assert arch.outputs == ("joint", "side")
    assert arch["act"].op == Nonlinear("swish")
    names = [arch[name].op.parameters for name in ("shared", "shared_2", "tied", "linear")]
    assert names == ["shared.weight"] * 3 + [None]
    assert traced.weights["linear"] == "free"
    assert traced.biases == {"shift": ("tied",)}
    assert set(traced.graph_module(torch.randn(2, 6), torch.randn(2, 6))) == {"joint", "side"}


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, h: h * torch.sigmoid(h + self.shift),
        lambda self, h: h * (torch.sigmoid(h) + self.shift),
        lambda self, h: (torch.tanh(h) * 2 + self.shift) * torch.sigmoid(h),
    ],
)
def test_a_formula_does_not_swallow_a_parameter(forward):
    """With it, no activation of one map: a product of two."""
    found = ops_of(between(forward, shift=nn.Parameter(torch.zeros(8, 1, 1))).architecture)
    assert Multiply() in found


def test_a_parameter_is_added_behind_what_is_written_out():
    traced = between(lambda self, h: h * F.relu6(h + 3) / 6 + self.shift, shift=nn.Parameter(torch.zeros(8, 1, 1)))
    assert ops_of(traced.architecture) == [Nonlinear("hardswish")]
    ((node,),) = traced.biases.values()
    assert traced.architecture[node].op == Nonlinear("hardswish")
    assert [user.name for user in traced.places[node].users] == ["add_1"]


def test_a_parameter_minus_a_map_is_refused_for_what_it_is():
    with pytest.raises(TraceError, match="two things in one call"):
        between(lambda self, h: self.shift - h, shift=nn.Parameter(torch.zeros(8, 1, 1)))


def test_the_model_is_left_untouched():
    model = Between(lambda self, h: self.norm(h), norm=nn.BatchNorm2d(8)).train()
    calls = []
    model.first.register_forward_hook(lambda *_: calls.append(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    traced = qnn.traced(model, torch.randn(2, 3, 8, 8, generator=torch.Generator()))
    assert model.training
    assert not calls
    assert len(model.first._forward_hooks) == 1
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert "forward" not in model.first.__dict__
    assert set(traced.places) == set(traced.modules) == {node.id for node in traced.architecture.nodes}


class Gated(nn.Module):
    """A branch behind a trained gate that starts at zero (ReZero)."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.gate = nn.Linear(8, 8), nn.Linear(8, 8), nn.Parameter(torch.zeros(()))

    def forward(self, x):
        h = self.a(x)
        return h + self.gate * self.b(torch.tanh(h))


def test_a_gate_that_is_zero_is_named():
    model = Gated()
    with pytest.raises(TraceError, match="by the parameter 'gate', which is zero; give it another value"):
        qnn.trace(model, torch.randn(2, 8))
    nn.init.ones_(model.gate)
    assert ops_of(qnn.trace(model, torch.randn(2, 8)), "a", "b")[-1] == Sum((1.0, 1.0))


def test_a_table_that_scales_its_rows_is_refused():
    model = nn.Sequential(nn.Embedding(5, 8, max_norm=1.0), nn.Linear(8, 8))
    with pytest.raises(TraceError, match=r"^0 \(Embedding\): it scales the rows"):
        qnn.trace(model, torch.zeros(2, 3, dtype=torch.long))


@pytest.mark.parametrize("name", ["code", "meta"])
def test_names_of_the_graph_are_refused(name):
    model = nn.Module()
    model.add_module(name, nn.Linear(8, 8))
    with pytest.raises(TraceError, match=f"^{name}: a GraphModule has an attribute of this name"):
        qnn.trace(model, torch.zeros(2, 8))


def test_an_output_that_may_hide_tensors_is_refused():
    class Pair(nn.Module):
        def __init__(self, made):
            super().__init__()
            self.a, self.made = nn.Linear(8, 8), made

        def forward(self, x):
            h = self.a(x)
            return {"h": h, "extra": self.made(h)}

    with pytest.raises(TraceError, match=r"^output: it has a SimpleNamespace, which may hold tensors"):
        qnn.trace(Pair(lambda h: SimpleNamespace(h=h)), torch.zeros(2, 8))
    kept = qnn.traced(Pair(lambda h: ("yes", 3)), torch.zeros(2, 8)).graph_module(torch.zeros(2, 8))
    assert kept["extra"] == ("yes", 3)


def test_random_constants_leave_the_global_generator_alone():
    model, x = Between(lambda self, h: h + torch.randn(8, 8)), torch.zeros(2, 3, 8, 8)
    state = torch.get_rng_state()
    with pytest.raises(TraceError, match="random in eval mode"):
        qnn.trace(model, x)
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_as_a_function_follows_the_mode():
    traced = between(lambda self, h: F.dropout(h, 0.5, self.training))
    x = torch.randn(1, 3, 8, 8)
    assert not torch.equal(traced.graph_module.train()(x), traced.graph_module(x))
    assert torch.equal(traced.graph_module.eval()(x), traced.graph_module(x))


def test_flattened_maps():
    class Head(nn.Module):
        def __init__(self, pooled):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 if pooled else 100, 2)
            self.pool = nn.AdaptiveAvgPool2d(1) if pooled else nn.Identity()

        def forward(self, x):
            return self.fc(self.pool(self.conv(x)).flatten(1))

    x = torch.randn(2, 3, 5, 5)
    assert agrees(Head(pooled=True), x).architecture["fc"].op == Affine(2)
    arch = agrees(Head(pooled=False), x).architecture
    assert arch["fc"].op == Affine(2, (5, 5), 1, 0, init="fan_in")
    assert {v.rule for v in qc.check(arch)} == {"delta-initialization"}
    flat = agrees(nn.Sequential(nn.Flatten(), nn.Linear(75, 2)), x).architecture
    assert flat["input"].op == Input(75)


def pruned():
    model = nn.Sequential(nn.Linear(8, 8))
    prune.random_unstructured(model[0], "weight", 0.5)
    return model


UNRUN = {
    "pruned": (pruned(), "^0.weight: it is computed from parameters.*prune.remove"),
    "one layer": (nn.Linear(8, 8), "^model: .*single layer.*Sequential"),
    "recurrent": (nn.Sequential(nn.GRU(8, 8)), "^0: GRU is recurrent.*independent-parameters"),
    "lazy": (nn.Sequential(nn.LazyLinear(8)), "^0: .*no sizes yet; run the model once"),
    "compiled": (
        torch.compile(nn.Sequential(nn.Linear(8, 8)), backend="eager"),
        "^model: it is compiled.*then compile it",
    ),
}


@pytest.mark.parametrize(("model", "said"), UNRUN.values(), ids=UNRUN)
def test_models_that_have_no_copy_to_run(model, said):
    with pytest.raises(TraceError, match=said):
        qnn.trace(model, torch.zeros(2, 8))


ONE_CHANNEL = {
    "conv1d": (lambda: nn.Conv1d(1, 4, 3, padding=1), (1, 9), lambda x: x),
    "conv2d": (lambda: nn.Conv2d(1, 4, 3, padding=1), (1, 8, 6), lambda x: x),
    "a map of one row": (lambda: nn.Conv2d(1, 4, (1, 3), padding=(0, 1)), (1, 1, 8), lambda x: x),
    "channels last": (lambda: nn.Conv2d(1, 4, 3, padding=1), (8, 6, 1), lambda x: x.permute(0, 3, 1, 2)),
    "linear": (lambda: nn.Linear(1, 4), (9, 1), lambda x: x),
    "axis put in": (lambda: nn.Conv2d(1, 4, 3, padding=1), (8, 6), lambda x: x.unsqueeze(1)),
}


class OneChannel(nn.Module):
    def __init__(self, layer, arrange):
        super().__init__()
        self.layer, self.last, self.arrange = layer, nn.Linear(4, 3), arrange

    def forward(self, x):
        h = torch.tanh(self.layer(self.arrange(x)))
        return self.last(h if isinstance(self.layer, nn.Linear) else h.movedim(1, -1))


@pytest.mark.parametrize("case", ONE_CHANNEL)
def test_inputs_of_one_channel(case):
    make, shape, arrange = ONE_CHANNEL[case]
    model, x = OneChannel(make(), arrange), torch.randn(2, *shape)
    arch = agrees(model, x).architecture
    channel = {"channels last": 2, "linear": 1, "axis put in": None}.get(case, 0)
    locations = tuple(size for axis, size in enumerate(shape) if axis != channel)
    assert arch["input"].op == Input(1, locations)
    assert all(arch.locations[name] == tuple(map(range, locations)) for name in ("input", "layer", "last"))
    assert qnn.shape(model, x, zeta=1.5)(x).shape == model(x).shape


FLATTENED = {
    "one channel": ((1, 8, 8), 1, Input(64)),
    "one row": ((4, 1, 16), 1, Input(64)),
    "one row of one channel": ((1, 1, 64), 1, Input(64)),
    "one token": ((1, 64), 1, Input(64)),
    "an axis of 1 that stays": ((1, 8, 8), 2, Input(64, (1,))),
    "nothing but axes of 1": ((1, 1, 1), 1, Input(1)),
}


@pytest.mark.parametrize(("shape", "start", "expected"), FLATTENED.values(), ids=FLATTENED)
def test_flattened_axes_of_size_1_are_no_locations(shape, start, expected):
    width = expected.channels
    model = nn.Sequential(nn.Flatten(start), nn.Linear(width, 16), nn.Tanh(), nn.Linear(16, 3))
    arch = agrees(model, torch.randn(2, *shape)).architecture
    assert arch["input"].op == expected
    locations = tuple(map(range, expected.locations)) if expected.locations else None
    assert all(found == locations for found in arch.locations.values())


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(1, 8, 1), nn.Linear(1, 8)], ids=["filter", "1x1", "linear"]
)
def test_an_input_of_one_number(layer):
    """[N, 1, 1, 1] has one channel at one location, whatever reads it."""
    x = torch.where(torch.randn(4, 1, 1, 1, generator=torch.Generator().manual_seed(0)) > 0, 1.0, -1.0)
    model = nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
    traced = agrees(model, x)
    assert traced.architecture["input"].op == Input(1)
    assert traced.architecture["0"].op == Affine(8)
    assert qnn.measure(qnn.shape(model, x), x, networks=0)["0"].q_predicted == pytest.approx(1, abs=1e-6)


PADDED = {
    "circular": ({"padding": 2, "dilation": 2, "stride": 2}, ("same", "circular")),
    "circular, same": ({"padding": "same", "kernel_size": 4}, ("same", "circular")),
    "circular, less": ({"padding": 1, "kernel_size": 5}, (1, "circular")),
    "none": ({"padding": 0}, (0, "zeros")),
    "one": ({"padding": 0, "kernel_size": 1, "padding_mode": "reflect"}, ("same", "zeros")),
    "reflect": ({"padding": 1, "padding_mode": "reflect"}, ("same", "reflect")),
    "replicate": ({"padding": 1, "padding_mode": "replicate"}, ("same", "replicate")),
}


@pytest.mark.parametrize(("options", "expected"), PADDED.values(), ids=PADDED)
def test_padding_by_values_of_the_map(options, expected):
    layer = nn.Conv1d(3, 4, **{"kernel_size": 3, "padding_mode": "circular", **options})
    op = agrees(nn.Sequential(layer, nn.ReLU()), torch.randn(2, 3, 11)).architecture["0"].op
    assert isinstance(op, Affine)
    assert (op.padding, op.border) == expected


@pytest.mark.parametrize("kernel", [2, 4, (2, 3)])
def test_even_kernels_with_same_padding_are_traced_where_warnings_are_errors(kernel):
    """Torch warns that such a layer may copy its input."""
    model, x = nn.Sequential(nn.Conv2d(3, 4, kernel, padding="same"), nn.ReLU()), torch.randn(2, 3, 6, 5)
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with pytest.warns(UserWarning, match="same"):
            model(x)
        arch = qnn.trace(model, x)
    finally:
        torch.set_warn_always(before)
    assert arch["0"].op.padding == "same"
    assert arch.locations["0"] == (range(6), range(5))


def test_a_dilated_even_kernel_has_no_centre():
    """Torch's taps are at odd distances from the location they stand for, so none is at it."""
    for options in ({"padding": "same", "padding_mode": "circular"}, {"padding": "same"}):
        layer = nn.Conv1d(3, 4, 2, dilation=2, **options)
        with pytest.raises(qc.QCMapError, match="dilated kernel of the even size 2"):
            qnn.trace(nn.Sequential(layer, nn.ReLU()), torch.randn(2, 3, 11))
    with pytest.raises(qc.QCMapError, match=r"padding 1 puts the centre .* outside"):
        qnn.trace(nn.Sequential(nn.Conv1d(3, 4, 2, dilation=2, padding=1), nn.ReLU()), torch.randn(2, 3, 11))
