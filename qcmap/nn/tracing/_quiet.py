"""Errors on tensors without data are raised once, and what torch warns of is left to the run with data."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly() -> Iterator[None]:
    """Without the traceback that torch's fake tensors log of an error, which is raised besides, and without warnings.

    Some warn of the cost of a call, as of "same" padding for even kernels. Where warnings are errors they end a trace.
    """
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        logger.disabled = before
