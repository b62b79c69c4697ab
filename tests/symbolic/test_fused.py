"""Consecutive activations as one."""

import numpy as np
import pytest

import qcmap as qc
from qcmap.activations import Activation
from qcmap.architecture import Builder, Nonlinear, check
from qcmap.errors import ActivationError
from qcmap.symbolic import fused, q_map

U = np.linspace(-4, 4, 81)


def stack(*functions, build=lambda b, ids: [ids[-1]]):
    b = Builder("stack")
    ids = [b.affine(b.input("x", channels=3), 3, name="u")]
    for k, function in enumerate(functions):
        ids.append(b.activation(ids[-1], function, name=f"h{k}"))
    return b.build(build(b, ids))


def values(arch, u):
    """The values at all nodes for one channel, affine layers being the identity."""
    found = {}
    for node in arch.nodes:
        if isinstance(node.op, Nonlinear):
            found[node.id] = qc.activation(node.op.function)(found[node.inputs[0]])
        elif len(node.inputs) > 1:
            found[node.id] = sum(found[name] for name in node.inputs)
        else:
            found[node.id] = found[node.inputs[0]] if node.inputs else u
    return found


def rules(arch):
    return {violation.rule for violation in check(arch)}


@pytest.mark.parametrize("inner", ["relu", "tanh", "softplus", "square", "identity"])
@pytest.mark.parametrize("outer", ["tanh", "relu", "sin"])
def test_compositions(inner, outer):
    arch = stack(inner, outer)
    assert "consecutive-activations" in rules(arch)
    result, changes = fused(arch)
    assert "consecutive-activations" not in rules(result)
    assert [node.id for node in result.nodes] == ["x", "u", "h1"]
    np.testing.assert_allclose(values(result, U)["h1"], values(arch, U)["h1"], rtol=1e-13, atol=1e-15)
    (change,) = changes
    assert (change.node, change.before, change.after) == ("h1", f"{outer} after h0", f"{outer}({inner})")
    assert result.outputs == arch.outputs


def test_three_in_a_row():
    arch = stack("tanh", "square", "sin")
    result, changes = fused(arch)
    assert [node.id for node in result.nodes] == ["x", "u", "h2"]
    assert len(changes) == 2
    np.testing.assert_allclose(values(result, U)["h2"], np.sin(np.tanh(U) ** 2), rtol=1e-13)
    assert result["h2"].op.name == "sin(square(tanh))"
    assert "consecutive-activations" not in rules(result)
    again = fused(result)
    assert again.changes == ()
    assert again.architecture is result


def test_readers_are_kept():
    """h0 has another reader, h1 an output of its own: neither goes."""

    def build(b, ids):
        other = b.affine(ids[1], 3, name="other")
        return [ids[3], other, ids[2]]

    arch = stack("tanh", "square", "sin", build=build)
    result, _ = fused(arch)
    assert {node.id for node in result.nodes} == {node.id for node in arch.nodes}
    assert result.outputs == arch.outputs
    for name in ("h0", "h1", "h2", "other"):
        np.testing.assert_allclose(values(result, U)[name], values(arch, U)[name], rtol=1e-13, atol=1e-15)
    assert result["h2"].inputs == ("u",)
    assert "consecutive-activations" not in rules(result)


def test_two_readers_of_one_activation():
    def build(b, ids):
        return [b.activation(ids[-1], "sin", name="s"), b.activation(ids[-1], "relu", name="r")]

    arch = stack("tanh", build=build)
    result, changes = fused(arch)
    assert {node.id for node in result.nodes} == {"x", "u", "s", "r"}
    assert len(changes) == 2
    for name in ("s", "r"):
        np.testing.assert_allclose(values(result, U)[name], values(arch, U)[name], rtol=1e-13, atol=1e-15)


def test_sums_of_an_activation_and_the_next():
    def build(b, ids):
        return [b.sum([ids[1], ids[2]], [1, 1], name="s")]

    arch = stack("tanh", "sin", build=build)
    result, _ = fused(arch)
    np.testing.assert_allclose(values(result, U)["s"], np.tanh(U) + np.sin(np.tanh(U)), rtol=1e-13, atol=1e-15)


def test_nothing_to_do():
    b = Builder()
    arch = b.build([b.activation(b.affine(b.activation(b.input(), "tanh")), "tanh")])
    assert fused(arch) == (arch, ())
    assert fused(arch).architecture is arch


def test_a_pool_between_two_activations_stays():
    b = Builder()
    arch = b.build([b.activation(b.max_pool(b.activation(b.affine(b.input()), "relu")), "tanh")])
    assert fused(arch).changes == ()


def test_without_a_formula():
    mine = Activation.from_callable(np.arctan, name="mine")
    for functions in (("tanh", mine), (mine, "tanh")):
        with pytest.raises(ActivationError) as error:
            fused(stack(*functions))
        assert error.value.remedy


def test_fused_networks_have_maps():
    result, _ = fused(stack("relu", "square"))
    assert float(qc.network_maps(result).q(1.0)) == pytest.approx(1.5)
    assert q_map(result, q=1) == pytest.approx(1.5)
    assert float(qc.network_maps(fused(stack("square", "relu")).architecture).q(1.0)) == pytest.approx(3)


def test_the_same_composition_twice_is_one_activation():
    """Two blocks of relu and tanh: the maps of the fused network need one activation called tanh(relu)."""
    b = Builder()
    x = b.input("x", channels=3)
    for _ in range(2):
        x = b.activation(b.activation(b.affine(x, 3), "relu"), "tanh")
    result, _ = fused(b.build([x]))
    assert len(result.activations) == 1
    assert np.isfinite(qc.network_maps(result).c(0.5))


def test_compositions_of_different_parameters_have_different_names():
    b = Builder()
    x = b.input("x", channels=3)
    for left in (0.1, 0.5):
        x = b.activation(b.activation(b.affine(x, 3), qc.activation("leaky_relu", negative_slope=left)), "tanh")
    result, _ = fused(b.build([x]))
    assert len({node.op.name for node in result.nodes if isinstance(node.op, Nonlinear)}) == 2
