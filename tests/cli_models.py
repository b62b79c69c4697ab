"""Models that the tests of the command line name."""

from torch import nn

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
