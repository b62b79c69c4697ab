"""What is said to take linear time: lines of Python executed at one size and at twice the size, no clock.

A linear job executes a + b n lines, so twice the size gives at most twice the lines; a quadratic one tends to four
times. Lines do not see the work inside numpy; arrays are of one size in each case here, so their number counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

import qcmap as qc
from qcmap.numeric import network_maps, ntk

LIMIT = 2.05
"""Twice, and a logarithm: jump pointers of the dominator tree and precision of Newton's method."""


def lines(job: Callable[[], Any]) -> int:
    """How many lines the job executes within this repository."""
    count = 0

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        return local if "qcmap" in name or name == __file__ else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        job()
    finally:
        sys.settrace(before)
    return count


def residual(blocks: int) -> qc.Architecture:
    """Blocks of two nonlinear layers with shortcuts."""
    b = qc.Builder("residual")
    h = b.affine(b.input("x"))
    for _ in range(blocks):
        r = b.affine(b.activation(b.affine(b.activation(h, "tanh")), "tanh"))
        h = b.sum([r, h], [0.6, 0.8])
    return b.build(outputs=[h])


def maximal_slope(size: int) -> Callable[[], Any]:
    arch = residual(size)
    return lambda: qc.maximal_slope(arch)(1.01)


def inverse(size: int) -> Callable[[], Any]:
    mu = qc.maximal_slope(residual(size))
    return lambda: mu.inverse(1.5)


def many_leaves(size: int) -> Callable[[], Any]:
    """Each block ends in an output of its own: as many leaves of the dominator tree as blocks."""
    b, ends = qc.Builder("leaves"), []
    h = b.affine(b.input("x"))
    for _ in range(size):
        h = b.affine(b.activation(h, "tanh"))
        ends.append(b.activation(b.affine(h), "tanh"))
    arch = b.build(outputs=ends)
    return lambda: qc.maximal_slope(arch)(1.01)


def slope_polynomial(size: int) -> Callable[[], Any]:
    arch = residual(size)
    return lambda: qc.slope_polynomial(arch)(1.01)


def q_values(size: int) -> Callable[[], Any]:
    arch = residual(size)
    return lambda: network_maps(arch).propagate_q(1.0)


def c_map(size: int) -> Callable[[], Any]:
    maps, c = network_maps(qc.zoo.mlp(size, activation="tanh")), np.linspace(-1, 1, 50)
    maps.c(c)
    return lambda: maps.c(c)


def tangent_kernel(size: int) -> Callable[[], Any]:
    arch, c = residual(size), np.array([0.3])
    ntk(arch, c)
    return lambda: ntk(arch, c)


def path_kernel(size: int) -> Callable[[], Any]:
    arch = qc.zoo.mlp(size, width=4, in_channels=3, out_channels=1)
    gates = {name: np.ones((5, 4), dtype=bool) for name in qc.paths.Units.of(arch).activations}
    x = np.ones((5, 3))
    return lambda: qc.path_kernel(arch, gates, x)


def check(size: int) -> Callable[[], Any]:
    arch = residual(size)
    return lambda: qc.check(arch)


def building(size: int) -> Callable[[], Any]:
    return lambda: residual(size)


def enumeration(size: int) -> Callable[[], Any]:
    """Every pair of nodes: what the maximal slope does not do."""
    parent = residual(size).dominators.parent

    def pairs() -> int:
        found = 0
        for u in range(len(parent)):
            for v in range(u, len(parent)):
                found += parent[v] == u
        return found

    return pairs


JOBS = [
    building,
    check,
    maximal_slope,
    inverse,
    many_leaves,
    slope_polynomial,
    q_values,
    c_map,
    tangent_kernel,
    path_kernel,
]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_twice_the_size_takes_twice_the_lines(job):
    small, large = (lines(job(size)) for size in (60, 120))
    assert small > 60 or job is c_map
    assert large <= LIMIT * small


def test_a_quadratic_job_is_noticed():
    small, large = (lines(enumeration(size)) for size in (20, 40))
    assert large > 3.5 * small
