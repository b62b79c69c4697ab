"""Reference models of Looks Linear and Fixup: what each promises at initialization and after one step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from models import FixupWideResNet, looks_linear_mlp, looks_linear_wide_resnet
from qcmap.architecture import Affine, zoo
from qcmap.errors import ArchitectureError, ArgumentError


def images(count: int, seed: int = 0, size: int = 8) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LOOKS_LINEAR: dict[str, tuple[nn.Module, torch.Tensor]] = {
    "mlp": (looks_linear_mlp(12, 20, 6, 5, seed=1).double(), images(4).flatten(1)[:, :12]),
    "wide resnet": (looks_linear_wide_resnet(10, seed=1).double(), images(4)),
    "deep wide resnet": (looks_linear_wide_resnet(28, seed=1).double(), images(2)),
}


@pytest.mark.parametrize("case", LOOKS_LINEAR)
def test_looks_linear_is_linear_until_its_symmetry_breaks(case: str) -> None:
    model, x = LOOKS_LINEAR[case]
    y = x.flip(0)
    with torch.no_grad():
        both, apart = model(2 * x - 3 * y), 2 * model(x) - 3 * model(y)
        assert float(both.abs().max()) > 0.1
        torch.testing.assert_close(both, apart, rtol=1e-11, atol=1e-11)
        layer = [part for part in model.modules() if isinstance(part, (nn.Linear, nn.Conv2d))][1]
        saved = layer.weight.clone()
        layer.weight[:, 0] += 0.1
        assert not torch.allclose(model(2 * x - 3 * y), 2 * model(x) - 3 * model(y))
        layer.weight.copy_(saved)


def test_looks_linear_mlp_is_the_product_of_its_matrices() -> None:
    model, x = LOOKS_LINEAR["mlp"]
    expected = x
    for number, layer in enumerate(part for part in model.modules() if isinstance(part, nn.Linear)):
        half = layer.weight[:, : layer.in_features // 2] if number else layer.weight
        rows, columns = half.shape
        gram = half @ half.T if rows <= columns else half.T @ half * columns / rows
        torch.testing.assert_close(gram, torch.eye(min(rows, columns)).double(), rtol=0, atol=1e-6)
        expected = expected @ half.T
    torch.testing.assert_close(model(x), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("model", ["looks linear", "fixup"])
def test_layers_have_the_ids_and_sizes_of_the_zoo(model: str) -> None:
    mirrored = model == "looks linear"
    arch = zoo.wide_resnet(16, widen=3, shortcuts=not mirrored)
    module: nn.Module = looks_linear_wide_resnet(16, widen=3) if mirrored else FixupWideResNet(16, widen=3)
    affine = [node for node in arch.nodes if isinstance(node.op, Affine)]
    found: dict[str, Any] = {
        path: part for path, part in module.named_modules() if isinstance(part, (nn.Linear, nn.Conv2d))
    }
    assert set(found) == {node.id for node in affine}
    for node in affine:
        assert isinstance(node.op, Affine)
        layer = found[node.id]
        read = arch.channels[node.inputs[0]]
        assert isinstance(read, int)
        assert layer.weight.shape[:2] == (node.op.channels, read * (2 if mirrored and node.id != "stem.conv" else 1))
        if node.op.kernel:
            assert layer.weight.shape[2:] == node.op.kernel
            assert layer.stride == (node.op.stride,) * 2


def test_fixup_starts_as_its_shortcuts_and_scores_zero() -> None:
    model, x = FixupWideResNet(16, seed=3).double(), images(3)
    with torch.no_grad():
        assert torch.equal(model(x), torch.zeros(3, 10).double())
        for block in model.blocks:
            h = torch.randn(2, block.conv1.in_channels, 4, 4, dtype=torch.float64)
            shortcut = h if block.shortcut is None else block.shortcut(torch.relu(h))
            assert torch.equal(block(h), shortcut)


def change_of_logits(depth: int) -> float:
    """The size of the class scores after three steps of gradient descent at one step size."""
    model, x = FixupWideResNet(depth, widen=2, seed=0).double(), images(8)
    labels = torch.arange(8) % 10
    for _ in range(3):
        model.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter -= 0.05 * parameter.grad
    return float(model(x).detach().abs().max())


def test_fixup_steps_do_not_grow_with_depth() -> None:
    """From 3 to 18 blocks the change grows by 1.4; without the factors 1/sqrt(L) it would double."""
    shallow, deep = change_of_logits(10), change_of_logits(40)
    assert 1 < deep / shallow < 1.7


def test_seeds_and_the_global_generator() -> None:
    state = torch.get_rng_state()
    for make in (lambda s: FixupWideResNet(10, seed=s), lambda s: looks_linear_wide_resnet(10, seed=s)):
        one, twin, other = make(1), make(1), make(2)
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), twin.parameters(), strict=True))
        assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_refusals() -> None:
    with pytest.raises(ArchitectureError, match="depth - 4 must be a positive multiple of 6"):
        FixupWideResNet(12)
    with pytest.raises(ArchitectureError, match="depth - 4 must be a positive multiple of 6"):
        looks_linear_wide_resnet(12)
    with pytest.raises(ArgumentError, match="width: it must be a positive integer, not 0"):
        looks_linear_mlp(3, 0, 2, 1)
