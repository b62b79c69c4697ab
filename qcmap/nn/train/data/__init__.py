"""Data to train on: digits, MNIST, CIFAR-10, ImageNet folders and synthetic teachers."""

from qcmap.nn.train.data._augment import crop_and_mirror, mirrored, shifted
from qcmap.nn.train.data._cifar10 import CIFAR10_FILES, read_cifar10
from qcmap.nn.train.data._digits import read_digits, split_digits
from qcmap.nn.train.data._files import Files
from qcmap.nn.train.data._images import Images
from qcmap.nn.train.data._mnist import MNIST_FILES, read_mnist
from qcmap.nn.train.data._table import DATASETS, cifar10, digits, imagenet, load_data, mnist, teacher

__all__ = [
    "CIFAR10_FILES",
    "DATASETS",
    "MNIST_FILES",
    "Files",
    "Images",
    "cifar10",
    "crop_and_mirror",
    "digits",
    "imagenet",
    "load_data",
    "mirrored",
    "mnist",
    "read_cifar10",
    "read_digits",
    "read_mnist",
    "shifted",
    "split_digits",
    "teacher",
]
