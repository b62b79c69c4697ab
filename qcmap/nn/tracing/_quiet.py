"""Errors on tensors without data are raised once, and a warning of cost is left to the run with data."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly() -> Iterator[None]:
    """Without the traceback that torch's fake tensors log of an error, which is raised besides, and one warning.

    It is of the cost of "same" padding for even kernels, and would end a trace where warnings are errors.
    """
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using padding=.same. with even kernel", UserWarning)
            yield
    finally:
        logger.disabled = before
