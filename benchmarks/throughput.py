"""Images per second of the training engine beside a minimal loop written by hand.

``python benchmarks/throughput.py [--json]``: for each case the ratio of the two, the median over runs in turns.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn

import qcmap as qc
from models import MLP
from qcmap.demo import digits
from qcmap.nn.train import Choice, Settings, Splits, Trainer

torch.set_num_threads(1)


def mlp() -> nn.Module:
    """The 50-layer network of the demo."""
    return MLP(65, 64, 50, 10, "tanh", qc.dks(qc.zoo.mlp(50, activation="tanh"), 1.5))


def middle() -> nn.Module:
    """Ten layers of 256."""
    return MLP(65, 256, 10, 10, "tanh")


def shallow() -> nn.Module:
    """Three layers of 64: the loop's own work weighs most here."""
    return MLP(65, 64, 3, 10, "tanh")


def by_hand(model: nn.Module, data: tuple[torch.Tensor, torch.Tensor], epochs: int, batch: int) -> float:
    """The minimal loop: it records the mean loss of each epoch and nothing else; seconds of this process's own time."""
    inputs, labels = data
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    start = time.process_time()
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(labels)).split(batch):
            loss = nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
    return time.process_time() - start


def by_engine(model: nn.Module, data: tuple[torch.Tensor, torch.Tensor], epochs: int, batch: int) -> float:
    """The engine, without evaluation."""
    settings = Settings(
        epochs=epochs, batch_size=batch, optimizer=Choice("sgd", learning_rate=1e-3, momentum=0.9), evaluate=()
    )
    trainer = Trainer(model, Splits.of_tensors(data), settings)
    start = time.process_time()
    trainer.train()
    return time.process_time() - start


CASES = {
    "3 layers, batches of 64": (shallow, digits, 64, 3),
    "3 layers, batches of 32": (shallow, digits, 32, 3),
    "10 layers of 256, batches of 64": (middle, digits, 64, 1),
    "50 layers, batches of 64": (mlp, digits, 64, 1),
}


def main() -> None:
    """Print the ratios."""
    found = {}
    for name, (build, data, batch, epochs) in CASES.items():
        examples = data()
        by_hand(build(), examples, 1, batch), by_engine(build(), examples, 1, batch)
        ratios = []
        for _ in range(9):
            a, b = by_hand(build(), examples, epochs, batch), by_engine(build(), examples, epochs, batch)
            c, d = by_engine(build(), examples, epochs, batch), by_hand(build(), examples, epochs, batch)
            ratios.append((a + d) / (b + c))
        found[name] = round(statistics.median(ratios), 3)
        if "--json" not in sys.argv:
            print(f"{name}: {found[name]:.3f} of the minimal loop's images per second")
    if "--json" in sys.argv:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
