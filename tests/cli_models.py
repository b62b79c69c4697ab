"""Models that the tests of the command line name."""

from torch import nn

import qcmap.nn as qnn
from tests.nn.shaping.nets import ResNet, mlp


def chain():
    return mlp(8)


def resnet():
    return ResNet()


ready = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))


def no_model():
    return 3


def broken():
    raise RuntimeError("no such folder")


relu_digits = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))


class Two(nn.Module):
    """Two inputs that meet in a sum."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.sum = nn.Linear(8, 12), nn.Linear(6, 12), qnn.NormalizedSum([0.6, 0.8])
        self.act, self.last = nn.Tanh(), nn.Linear(12, 4)

    def forward(self, x, y):
        return self.last(self.act(self.sum(self.first(x), self.second(y))))


def two():
    return Two()


def made(name):
    """The model of this name, as the command line makes it."""
    found = globals()[name]
    return found if isinstance(found, nn.Module) else found()
