"""Fan-in, He and Glorot: the variances they promise, and what these make of q values.

Sampled checks fix their seed. Bounds are 6.2 standard errors, computed and not estimated: false-alarm rate 6e-10 each.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, cast

import pytest
import scipy.stats
import torch
from torch import Tensor, nn

import qcmap as qc
from qcmap.errors import ArgumentError
from qcmap.nn import GraphNetwork, initialize, methods, pln
from qcmap.numeric import initialized

SIGMAS = 6.2
LAWS: dict[str, Any] = {
    "gaussian": scipy.stats.norm(),
    "truncated": scipy.stats.truncnorm(-2, 2),
    "uniform": scipy.stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)),
}
"""The distributions by scipy, before the truncated one is rescaled to variance 1."""

LAYERS = {
    "linear": (lambda: nn.Linear(300, 200, dtype=torch.float64), 300, 200),
    "conv": (lambda: nn.Conv2d(32, 48, 3, dtype=torch.float64), 32 * 9, 48 * 9),
    "grouped": (lambda: nn.Conv1d(64, 128, 5, groups=4, dtype=torch.float64), 16 * 5, 32 * 5),
}
"""A layer, its fan-in and its fan-out."""
WANTED = {
    "fan_in": lambda k, m: 1 / k,
    "he": lambda k, m: 2 / k,
    "glorot": lambda k, m: 2 / (k + m),
}


@pytest.mark.parametrize("distribution", LAWS)
@pytest.mark.parametrize("method", WANTED)
@pytest.mark.parametrize("layer", LAYERS)
def test_weights_have_the_law_and_the_variance(method, layer, distribution):
    """Kolmogorov-Smirnov against scipy's law at p = 1e-9, and the variance within 6.2 standard errors."""
    make, k, m = LAYERS[layer]
    module = getattr(methods, method)(make(), distribution, seed=3)
    law, variance = LAWS[distribution], WANTED[method](k, m)
    weights = module.weight.detach().flatten().numpy() / math.sqrt(variance)
    assert scipy.stats.kstest(weights * law.std(), law.cdf).pvalue > 1e-9
    kurtosis = float(law.stats(moments="k")) + 3
    assert abs((weights**2).mean() - 1) < SIGMAS * math.sqrt((kurtosis - 1) / weights.size)
    assert not module.bias.any()


def test_truncated_weights_are_cut_at_two_standard_deviations_of_the_parent():
    weight = methods.fan_in(nn.Linear(64, 2000, dtype=torch.float64), "truncated").weight * 8
    edge = 2 / LAWS["truncated"].std()
    assert edge * 0.999 < float(weight.detach().abs().max()) <= edge


def _chain(widths: list[int], activation: type[nn.Module]) -> nn.Sequential:
    parts: list[nn.Module] = []
    for k, m in pairwise(widths):
        parts += [nn.Linear(k, m, dtype=torch.float64), activation()]
    return nn.Sequential(*parts[:-1])


def _q_after_layers(network: nn.Sequential, x: Tensor) -> Tensor:
    """The q value of every linear layer's output, in the mean over examples."""
    found = []
    for part in network:
        x = part(x)
        if isinstance(part, nn.Linear):
            found.append(x.square().mean())
    return torch.stack(found)


def _mean_q(widths: list[int], activation: type[nn.Module], count: int, fill: Any) -> Tensor:
    """Means over ``count`` networks of q after every layer, for one input with q = 1."""
    x = pln(torch.ones(1, widths[0] - 1, dtype=torch.float64), variant="constant")
    network, random = _chain(widths, activation), torch.Generator().manual_seed(11)
    with torch.no_grad():
        return torch.stack([_q_after_layers(fill(network, generator=random), x) for _ in range(count)]).mean(0)


@pytest.mark.parametrize("distribution", ["gaussian", "orthogonal"])
def test_he_keeps_the_q_values_of_relu_layers(distribution):
    """E q is 2 at every layer and every width; a layer of width m multiplies E q^2 by at most 1 + 5/m (Gaussian)."""
    depth, width, count = 10, 64, 150

    def fill(network, generator):
        if distribution == "gaussian":
            return methods.he(network, generator=generator)
        return initialize(network, gain=math.sqrt(2), generator=generator)

    q = _mean_q([width] * (depth + 1), nn.ReLU, count, fill)
    for layer, value in enumerate(q.tolist(), start=1):
        error = 2 * math.sqrt(((1 + 5 / width) ** layer - 1) / count)
        assert abs(value - 2) < SIGMAS * error, layer


def test_he_with_a_negative_slope_keeps_those_of_leaky_relu():
    q = _mean_q([100] * 9, lambda: nn.LeakyReLU(0.5), 200, lambda net, **g: methods.he(net, negative_slope=0.5, **g))
    assert torch.allclose(q, torch.full_like(q, 2 / 1.25), rtol=SIGMAS * math.sqrt(((1 + 5 / 100) ** 8 - 1) / 200))


def test_glorot_loses_one_ninth_over_two_widths():
    """E q falls by 8/9 for every pair of linear layers of widths n, 2n; E q^2 grows by 1 + 2/m relative to it."""
    n, pairs, count = 32, 8, 250
    widths = [n, 2 * n] * pairs + [n]
    q = _mean_q(widths, nn.Identity, count, lambda net, **g: methods.glorot(net, "gaussian", **g))
    spread = math.sqrt(((1 + 2 / n) ** pairs * (1 + 1 / n) ** pairs - 1) / count)
    assert abs(float(q[-1]) / (8 / 9) ** pairs - 1) < SIGMAS * spread < 0.5
    kept = _mean_q(widths, nn.Identity, count, lambda net, **g: methods.fan_in(net, **g))
    assert abs(float(kept[-1]) - 1) < SIGMAS * spread
    assert (8 / 9) ** pairs * (1 + SIGMAS * spread) < 1 - SIGMAS * spread  # so the two cannot be confused


@pytest.mark.parametrize(("method", "name"), [("lecun", "fan_in"), ("he", "he"), ("glorot", "glorot")])
def test_variances_are_those_of_the_numeric_layer(method, name):
    """`qcmap.numeric.initialized` gives the same variances, in units of 1/fan-in."""
    arch = initialized(qc.zoo.mlp(3, width=120, in_channels=80, out_channels=50, activation="relu"), method)
    network = getattr(methods, name)(GraphNetwork(arch).double())
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Linear):
            wanted = float(arch[path].op.weight_variance) / layer.in_features
            assert abs(float(layer.weight.detach().square().mean()) / wanted - 1) < SIGMAS * math.sqrt(
                2 / layer.weight.numel()
            )


def test_seed_generator_and_global_state():
    state = torch.get_rng_state()
    layers = [methods.glorot(_quiet(), seed=1), methods.glorot(_quiet(), generator=torch.Generator().manual_seed(1))]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert not torch.equal(layers[0].weight, methods.glorot(_quiet(), seed=2).weight)


def _quiet() -> nn.Linear:
    return nn.Linear(6, 4, device="meta").to_empty(device="cpu")


def test_bad_arguments():
    bad = cast("Any", "xavier")
    for call, message in (
        (lambda: methods.fan_in(nn.Linear(2, 2), bad), "distribution: there is no 'xavier'; choose one of 'gaussian'"),
        (lambda: methods.fan_in(nn.Linear(2, 2), gain=0.0), "gain: "),
        (lambda: methods.glorot(nn.Linear(2, 2), gain=math.inf), "gain: "),
        (lambda: methods.he(nn.Linear(2, 2), negative_slope=math.nan), "negative_slope: "),
        (lambda: methods.he(nn.Sequential(nn.Embedding(2, 2))), "0: Embedding has its own parameters"),
        (lambda: methods.glorot(nn.Linear(2, 2), seed=-1), "seed: "),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()


def _tied() -> nn.Sequential:
    wide, tall = nn.Linear(4, 4), nn.Linear(4, 4)
    tall.weight = wide.weight
    return nn.Sequential(wide, tall)


def test_variances_by_path():
    network = nn.Sequential(nn.Linear(400, 300, dtype=torch.float64), nn.Linear(300, 50, dtype=torch.float64))
    initialize(network, "gaussian", variances={"1": (4.0, 0.25)}, seed=5)
    first, second = cast("list[nn.Linear]", list(network))
    assert abs(float(second.weight.detach().square().mean()) * 300 / 4 - 1) < SIGMAS * math.sqrt(2 / 15000)
    assert abs(float(second.bias.detach().square().mean()) / 0.25 - 1) < SIGMAS * math.sqrt(2 / 50)
    assert not first.bias.any()
    assert abs(float(first.weight.detach().square().mean()) * 400 - 1) < SIGMAS * math.sqrt(2 / 120000)
    for variances, model, message in (
        ({"2": (1.0, 0.0)}, network, "no linear or convolutional layer '2'"),
        ({"0": (0.0, 0.0)}, network, "positive"),
        ({"0": (1.0, -1.0)}, network, "positive"),
        ({"0": (1.0, math.nan)}, network, "positive"),
        ({"0": (1.0, 0.5)}, nn.Sequential(nn.Linear(2, 2, bias=False)), "0: it has no biases to give variance 0.5"),
        ({"0": (2.0, 0.0)}, _tied(), "1: it shares its weight with 0, which should have another variance"),
    ):
        with pytest.raises(ArgumentError, match=message):
            initialize(model, variances=variances)
