"""Regimes of deep gated networks on digits: NPF, section 6.2, and DGN, section 3.

Claims about trained networks. Splits are at random by seed; networks of one seed see the same examples in the same
order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from theory_checks.registry import Outcome, Tally, checks

Accuracy = Callable[[str, int], float]
"""A regime and a seed to the test accuracy in percent."""
EPOCHS, RATE = 15, 2e-3


@cache
def trained(task: str, regime: str, seed: int, *, gates_learn: bool = True) -> float:
    """Test accuracy of a network of a regime; fixed learnt gates are those of a trained ReLU network."""
    from models.gated import DeepGatedNetwork
    from models.gated_layers import fully_connected

    outputs = 10 if task == "digits" else 1
    layout = fully_connected([40 if task == "digits" else 64] * 4, outputs)
    learnt = None
    if regime == "flnpf":
        learnt = DeepGatedNetwork(layout, (64,), "relu", seed=seed)
        if gates_learn:
            _fit(learnt, task, seed)
    own = seed if regime in ("relu", "frnpf_di") else 1000 + seed
    return _fit(DeepGatedNetwork(layout, (64,), regime, learnt=learnt, seed=own), task, seed)


def _fit(model: object, task: str, seed: int) -> float:
    import torch

    from qcmap.nn.train import Choice, Settings, Splits, Trainer
    from qcmap.nn.train.data import read_digits

    assert isinstance(model, torch.nn.Module)
    images = read_digits()
    x = torch.tensor(images.pixels.reshape(-1, 64)) - float(images.pixels.mean())
    y = torch.tensor(images.labels)
    order = torch.tensor(np.random.default_rng(seed).permutation(len(y)))
    if task != "digits":
        order = order[(y[order] == 4) | (y[order] == 7)]
        y = torch.where(y == 7, 1.0, -1.0)[:, None]
    count = 300 if task == "digits" else 40
    train, test = (x[order[:count]], y[order[:count]]), (x[order[count:]], y[order[count:]])
    settings = Settings(
        epochs=EPOCHS if task == "digits" else 3 * EPOCHS, batch_size=20, optimizer=Choice("adam", learning_rate=RATE),
        loss="cross_entropy" if task == "digits" else "squared_error", evaluate=(), seed=seed,
    )  # fmt: skip
    Trainer(model, Splits.of_tensors(train), settings).train()
    with torch.no_grad():
        outputs = model(test[0])
    right = outputs.argmax(1) == test[1] if task == "digits" else (outputs.sign() == test[1].sign())[:, 0]
    return 100 * right.double().mean().item()


def _first_gates(task: str) -> Accuracy:
    """Every gate as it is before training: no gates are learnt, whatever the regime is called."""

    def accuracy(regime: str, seed: int) -> float:
        if regime == "flnpf":
            return trained(task, regime, seed, gates_learn=False)
        return trained(task, "frnpf_di" if regime != "frnpf_ii" else regime, seed)

    return accuracy


def _ranked(subject: Accuracy, better: Sequence[str], worse: str, seeds: int) -> Outcome:
    """The mean over seeds is above that of the worse regime, by half a percent at least."""
    tally, base = Tally(), np.mean([subject(worse, seed) for seed in range(seeds)])
    seen = [f"{worse} {base:.1f}"]
    for regime in better:
        mean = np.mean([subject(regime, seed) for seed in range(seeds)])
        seen.append(f"{regime} {mean:.1f}")
        tally.add(max(0.0, float(base + 0.5 - mean)), 1e-9, f"{regime} {mean:.2f} against {worse} {base:.2f}")
    return tally.outcome(", ".join(seen))


@checks(
    "npf-12",
    kind="claim",
    source="NPF 6.2, table 2",
    claim="On test data learnt gates, decoupled or fixed, and ReLU are better than fixed random gates",
    subject=lambda regime, seed: trained("digits", regime, seed),
    broken=_first_gates("digits"),
)
def learnt_gates(subject: Accuracy, effort: int) -> Outcome:
    """The ten digits, 300 to train."""
    return _ranked(subject, ("dlnpf", "flnpf", "relu"), "frnpf_ii", effort)


@checks(
    "dgn-15",
    kind="claim",
    source="DGN 3, experiments 3 and 5",
    claim="On 4 against 7 networks whose gates adapt, and gates that were learnt, are better than frozen random gates",
    subject=lambda regime, seed: trained("4 against 7", regime, seed),
    broken=_first_gates("4 against 7"),
)
def adapting_gates(subject: Accuracy, effort: int) -> Outcome:
    """40 examples to train, squared loss; mean of two seeds."""
    return _ranked(subject, ("relu", "soft_galu", "flnpf"), "frnpf_ii", 1 + effort)
