"""Steps of K-FAC beside steps of SGD on the same network and batch, as ratios in one run."""

import pytest
import torch
from torch import nn

from benchmarks.test_torch import ratio
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


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("curvature_every", [1, 10])
def test_steps(benchmark, name, curvature_every):
    make, shape = CASES[name]
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(len(inputs)) % 10

    def stepper(model, optimizer):
        def run():
            # 50 steps, so that one computation of inverses is among them.
            for _ in range(50):
                optimizer.zero_grad()
                if isinstance(optimizer, KFAC):
                    optimizer.update_curvature(inputs)
                nn.functional.cross_entropy(model(inputs), labels).backward()
                optimizer.step()

        return run

    first, second = make(), make()
    sgd = stepper(first, torch.optim.SGD(first.parameters(), 1e-3, momentum=0.9))
    kfac = stepper(second, KFAC(second, 1e-3, curvature_every=curvature_every))
    benchmark.extra_info["K-FAC / SGD"] = ratio(sgd, kfac, 1)
    benchmark.pedantic(kfac, rounds=1)
