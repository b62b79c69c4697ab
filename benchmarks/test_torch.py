"""Shaped activations in training steps: forward and backward of a network with them beside the same without."""

import statistics
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

import qcmap as qc
from models import MLP

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
