"""scikit-learn's handwritten digits, which need no files."""

from __future__ import annotations

from typing import Any

import numpy as np

from qcmap.errors import MissingExtra
from qcmap.nn.train.data._images import Images


def read_digits() -> Images:
    """The 1,797 digits, 8 x 8, with values in [0, 1]; raises `MissingExtra` without scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtra("digits", "they come with scikit-learn", "pip install 'qcmap[train]'") from error
    data: Any = load_digits()
    return Images((data.data / 16).reshape(-1, 8, 8, 1).astype(np.float32), data.target.astype(np.int64))


def split_digits(seed: int = 0) -> tuple[Images, Images, Images]:
    """In a random order, 60% to train, 20% each to validate and to test."""
    digits = read_digits()
    order = np.random.default_rng(seed).permutation(len(digits))
    first, second, third = np.split(order, [round(0.6 * len(order)), round(0.8 * len(order))])
    return digits[first], digits[second], digits[third]
