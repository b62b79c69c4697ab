"""Steps of K-FAC beside steps of SGD on the same network and batch, in CPU seconds of one process."""

import statistics

import pytest
import torch
from torch import nn

from benchmarks.test_torch import Step, seconds
from models.mlp import MLP
from qcmap.nn.train import KFAC

torch.set_num_threads(1)


def convolutions() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1)]
    for _ in range(6):
        layers += [nn.Tanh(), nn.Conv2d(32, 32, 3, padding=1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


CASES = {
    "MLP, width 64, depth 50, batch 64": (lambda: MLP(64, 64, 50, 10, "tanh"), (64, 64)),
    "MLP, width 512, depth 10, batch 256": (lambda: MLP(512, 512, 10, 10, "tanh"), (256, 512)),
    "7 convolutions of 32 channels, 16 x 16, batch 32": (convolutions, (32, 3, 16, 16)),
}
ROUNDS = 9


def stepper(make, inputs: torch.Tensor, kind: str) -> Step:
    """A step with its backward pass: of SGD, of K-FAC, or of K-FAC with new inverses; or one measurement alone."""
    model, labels = make(), torch.arange(len(inputs)) % 10
    if kind == "SGD":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)
    else:
        optimizer = KFAC(model, 1e-4, inverse_every=1 if kind == "inverses" else 10**6)
        optimizer.update_curvature(inputs)
        if kind == "curvature":
            return lambda: optimizer.update_curvature(inputs)

    def run() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return run


@pytest.mark.parametrize("name", CASES)
def test_steps(benchmark, name):
    """The parts of a step as medians of runs in turns, and what a step costs with inverses at each 50th."""
    make, shape = CASES[name]
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    runs = {kind: stepper(make, inputs, kind) for kind in ("SGD", "K-FAC", "curvature", "inverses")}
    for run in runs.values():
        run()
    spent = {kind: [] for kind in runs}
    for _ in range(ROUNDS):
        for kind, run in runs.items():
            spent[kind].append(seconds(run))
    median = {kind: statistics.median(row) for kind, row in spent.items()}
    benchmark.extra_info["milliseconds"] = {kind: round(1e3 * value, 2) for kind, value in median.items()}
    for every in (1, 10):
        step = median["K-FAC"] + median["curvature"] / every + (median["inverses"] - median["K-FAC"]) / 50
        benchmark.extra_info[f"K-FAC / SGD, curvature every {every}"] = round(step / median["SGD"], 2)
    benchmark.pedantic(runs["K-FAC"], rounds=3)
