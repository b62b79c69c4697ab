"""Many checks at once: in this process, or in several, each of which loads the table for itself."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from theory_checks.registry import CHECKS, Check, Result, evaluate, load

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run(
    checks: list[Check], *, jobs: int = 1, effort: int = 1, self_test: bool = False, done: Callable[[int], object]
) -> list[Result]:
    """The results in the order of the checks; ``done`` is told how many more are finished.

    The checks of one statement share what they cache, so they go to one process.
    """
    if jobs == 1:
        results = []
        for check in checks:
            results.append(evaluate(check, effort=effort, self_test=self_test))
            done(1)
        return results
    groups = [[check.key for check in group] for _, group in groupby(checks, key=lambda check: check.id)]
    fields: dict[str, dict[str, Any]] = {}
    # Not forked: libraries that have started threads do not survive it.
    with _one_thread(), ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), load) as pool:
        for found in pool.map(_evaluate, groups, [effort] * len(groups), [self_test] * len(groups)):
            fields |= found
            done(len(found))
    return [Result(check, **fields[check.key]) for check in checks]


def _evaluate(keys: list[str], effort: int, self_test: bool) -> dict[str, dict[str, Any]]:
    """Results without their checks, whose functions cannot travel between processes."""
    found = {}
    for key in keys:
        result = evaluate(CHECKS[key], effort=effort, self_test=self_test)
        found[key] = {name: value for name, value in vars(result).items() if name != "check"}
    return found


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for linear algebra in each new process: the cores are taken by processes."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
