"""Shaped activations in training steps: forward and backward of a network with them beside the same without."""

import statistics
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

import qcmap as qc
import qcmap.nn as qnn
from models import MLP, resnet_v2

torch.set_num_threads(1)

Step = Callable[[], None]


def step(model: nn.Module, x: torch.Tensor) -> Step:
    """Forward, backward, and gradients put back to none."""

    def run() -> None:
        model(x).square().mean().backward()
        model.zero_grad()

    return run


def seconds(run: Step) -> float:
    """Time on this process's own account, since machines are shared."""
    start = time.process_time()
    run()
    return time.process_time() - start


def ratio(plain: Step, shaped: Step, pairs: int) -> float:
    """The median over pairs of runs, in the order plain, shaped, shaped, plain, after a warm-up."""
    plain(), shaped()
    ratios = []
    for _ in range(pairs):
        a, b, c, d = (seconds(run) for run in (plain, shaped, shaped, plain))
        ratios.append((b + c) / (a + d))
    return statistics.median(ratios)


def mlp(name: str) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    """Width 512, depth 10, 256 inputs."""
    shaping = qc.dks(qc.zoo.mlp(10, activation=name), 1.5)
    plain, shaped = (MLP(512, 512, 10, 10, name, given) for given in (None, shaping))
    return plain, shaped, torch.randn(256, 512, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
@pytest.mark.parametrize("name", ["softplus", "tanh", "gelu", "swish", "relu", "leaky_relu"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_training_step_of_an_mlp(benchmark, name, compiled):
    """Reach: 1.05 times the unshaped network, compiled."""
    plain, shaped, x = mlp(name)
    if compiled:
        torch.compiler.reset()
        plain, shaped = (torch.compile(model, fullgraph=True) for model in (plain, shaped))
    benchmark.extra_info["shaped / plain"] = ratio(step(plain, x), step(shaped, x), 15)
    benchmark.pedantic(step(shaped, x), rounds=5, warmup_rounds=1)


def resnet18(name: str) -> tuple[nn.Module, nn.Module, torch.Tensor]:
    """The modified ResNet-V2 with 18 layers, stem for small images, 16 images of 3x32x32."""
    x = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    weight = 0.05**0.5
    plain = resnet_v2(18, activation=name, stem="cifar", norm=None, residual_weight=weight)
    return plain, qnn.shape(plain, x, residual_weight=weight), x


@pytest.mark.parametrize("name", ["softplus", "relu"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_training_step_of_a_resnet18(benchmark, name):
    """Reach: 1.05 times the unshaped network, both compiled."""
    plain, shaped, x = resnet18(name)
    torch.compiler.reset()
    plain, shaped = (torch.compile(model, fullgraph=True) for model in (plain, shaped))
    benchmark.extra_info["shaped / plain"] = ratio(step(plain, x), step(shaped, x), 9)
    benchmark.pedantic(step(shaped, x), rounds=3, warmup_rounds=1)


def test_shaping_a_resnet152(benchmark):
    """Reach: 10 s, tracing included; CPU seconds are in the extra information."""
    model, x = resnet_v2(152, activation="softplus", norm="batch"), torch.zeros(1, 3, 224, 224)
    spent = []

    def run() -> None:
        spent.append(seconds(lambda: qnn.shape(model, x, batch_norm="remove", residual_weight=0.05**0.5)))

    benchmark.pedantic(run, rounds=3)
    benchmark.extra_info["CPU seconds"] = min(spent)
