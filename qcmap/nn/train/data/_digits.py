"""scikit-learn's handwritten digits, which need no files."""

from __future__ import annotations

from typing import Any

import numpy as np

from qcmap.errors import DataError, MissingExtra
from qcmap.nn._random import generator_from
from qcmap.nn.train.data._images import Images


def read_digits() -> Images:
    """The 1,797 digits, 8 x 8, with values in [0, 1]; raises `MissingExtra` without scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtra("digits", "they come with scikit-learn", "pip install 'qcmap[train]'") from error
    data: Any = load_digits()
    return Images((data.data / 16).reshape(-1, 8, 8, 1).astype(np.float32), data.target.astype(np.int64))


def split_digits(seed: int = 0, train: int = 1078, validation: int = 360) -> tuple[Images, Images, Images]:
    """In a random order, so many to train and to validate, by default 60% and 20%, and the rest to test.

    Raises
    ------
    DataError
        If none are left to test.
    ArgumentError
        For a seed outside [0, 2^63).
    """
    digits = read_digits()
    if not (train > 0 and validation > 0 and train + validation < len(digits)):
        rule = f"{train} to train and {validation} to validate leave none of {len(digits)} in some part"
        raise DataError("digits", rule, "give positive numbers with a smaller sum")
    generator_from(seed)
    order = np.random.default_rng(seed).permutation(len(digits))
    first, second, third = np.split(order, [train, train + validation])
    return digits[first], digits[second], digits[third]
