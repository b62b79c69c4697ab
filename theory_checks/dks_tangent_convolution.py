"""The tangent kernel of Delta-initialised convolutional networks: DKS, section 24.4, with 5.5; by torch's autograd."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial

import numpy as np

import qcmap as qc
from theory_checks.dks_tangent import Terms, library, wrong_shares
from theory_checks.registry import Outcome, Tally, checks

WIDTH, OUTPUTS, SEEDS, T, WIDTH_BIAS = 128, 8, 60, 6.9, 0.04
"""Student's t with 59 degrees of freedom exceeds 6.9 in size with probability below 1e-8."""


def _architecture() -> qc.Architecture:
    b = qc.Builder("convolutional")
    h = b.affine(b.input("x", channels=6), WIDTH, kernel=(3,), bias_variance=0.2, name="stem")
    r = b.affine(b.activation(h, "erf"), WIDTH, kernel=(3,), weight_variance=1.7, name="conv1")
    h = b.sum([h, b.affine(b.activation(r, "relu"), WIDTH, kernel=(3,), name="conv2")], [1.0, 0.5], name="sum")
    return b.build(outputs=[b.affine(b.activation(h, "erf"), OUTPUTS, name="head")])


@cache
def _samples(effort: int) -> tuple[qc.Architecture, tuple[float, float, float], dict[str, list[float]]]:
    """The kernel of each layer of random networks, for one output location of two inputs."""
    import torch
    from torch import nn

    from qcmap.nn import empirical_ntk, gaussian_weight

    arch = _architecture()
    variances = {"stem": (1.0, 0.2), "conv1": (1.7, 0.0), "conv2": (1.0, 0.0), "head": (1.0, 0.0)}

    class Network(nn.Module):
        def __init__(self, generator: torch.Generator) -> None:
            super().__init__()
            conv, w = partial(nn.Conv1d, kernel_size=3, padding=1, device="meta"), WIDTH
            self.stem, self.conv1, self.conv2 = conv(6, w), conv(w, w), conv(w, w)
            self.head = nn.Linear(w, OUTPUTS, device="meta")
            self.to_empty(device="cpu")
            with torch.no_grad():
                for name, parameter in self.named_parameters():
                    layer, kind = name.split(".")
                    weights, biases = variances[layer]
                    if kind == "weight":
                        drawn = gaussian_weight(parameter.shape, gain=weights**0.5, generator=generator)
                        parameter.copy_(drawn)
                    else:
                        parameter.normal_(0, biases**0.5, generator=generator)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.stem(x)
            h = h + 0.5 * self.conv2(torch.relu(self.conv1(torch.erf(h))))
            return self.head(torch.erf(h)[:, :, 2])

    random = np.random.default_rng(39)
    c, q1, q2 = 0.6, 1.0, 1.5
    basis = np.linalg.qr(random.standard_normal((6, 2)))[0]
    gram = 6 * np.array([[q1, c * (q1 * q2) ** 0.5], [c * (q1 * q2) ** 0.5, q2]])
    # Location 2 has these q and c values, its neighbours anything.
    x = random.standard_normal((2, 6, 5))
    x[:, :, 2] = (basis @ np.linalg.cholesky(gram).T).T
    inputs, found = torch.as_tensor(x, dtype=torch.float32), dict[str, list[float]]()
    generator, threads = torch.Generator().manual_seed(39), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(SEEDS * effort):
            terms = empirical_ntk(
                Network(generator), inputs[:1], inputs[1:], architecture=arch, dtype=torch.float32
            ).terms
            for name, term in terms.items():
                found.setdefault(name, []).append(float(term[0, 0]))
    finally:
        torch.set_num_threads(threads)
    return arch, (c, q1, q2), found


def _all_taps(arch: qc.Architecture, c: float, q1: float, q2: float) -> Mapping[str, float]:
    """As if all taps of a filter had parameters of that variance, at locations like the one in the middle."""
    terms = library(arch, c, q1, q2)
    return {name: 3 * term if name.startswith("conv") else term for name, term in terms.items()}


@checks(
    "dks-39", part="convolution", kind="stat", false_alarm=1e-6, source="DKS 24.4, 5.5 (graphs: ours)",
    claim="At each location the kernel of a Delta-initialised network is that of the graph without filters",
    subject=library, broken=wrong_shares,
)  # fmt: skip
@checks(
    "dks-39", part="taps", kind="stat", false_alarm=1e-6, source="DKS 24.4, 5.5 (graphs: ours)",
    claim="Only the middle of a Delta-initialised filter has a part in the kernel",
    subject=library, broken=_all_taps,
)  # fmt: skip
def convolution(subject: Terms, effort: int) -> Outcome:
    """60 residual networks of width 128 with biases: each layer's mean by Student's t at 1e-8, 4% for the width."""
    arch, start, samples = _samples(effort)
    theory, tally, worst = subject(arch, *start), Tally(), 0.0
    for name, draws in samples.items():
        mean, error = float(np.mean(draws)), float(np.std(draws, ddof=1)) / len(draws) ** 0.5
        worst = max(worst, abs(theory[name] / mean - 1))
        witness = f"Theta of {name} is {mean:.5g} +- {error:.2g}, not {theory[name]:.5g}"
        tally.add(mean - theory[name], T * error + WIDTH_BIAS * abs(mean), witness)
    return tally.outcome(f"the largest difference is {100 * worst:.2g}%")
