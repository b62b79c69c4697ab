"""The local maps beside ball arithmetic over the whole grid: every activation, transformed or not, every q and c.

    python benchmarks/grid_local_maps.py [--thin] [--keep FILE] [names]

takes one to two hours on one core; ``--thin`` leaves out inner points, some k and different q values, and takes a
third of an hour. ``--keep`` writes the oracle's balls to a file, and reads those that it has: they are most of the
time, and do not depend on the library. It prints, for each activation, the worst error of C and C' relative to the
largest value of the map on [-1, 1], by interpolant and point by point, the largest reported error, relative likewise,
and the smallest ratio of a reported error to the true one; then every call that took longer than half a second, and
every failure.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import flint
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import qcmap as qc
from qcmap.activations import CATALOGUE
from qcmap.errors import QCMapError
from qcmap.numeric import LocalMaps, Transform
from tests.formulas import Formula
from tests.pairs import DIGITS, PairMap

INSIDE = (0.0, *(sign * c for c in (0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.85) for sign in (1, -1)))
HARD = tuple(range(1, 13))
CONSTANTS = (0.4, -0.3, 0.2, 1.7)
ALIKE, APART = ((0.01, 0.01), (1.0, 1.0), (100.0, 100.0)), ((0.01, 1.0), (1.0, 100.0))
SLOW = 0.5


def points(exponents: tuple[int, ...], inside: tuple[float, ...] = INSIDE) -> np.ndarray:
    """Values of c inside, at the ends, and +-(1 - 10^-k)."""
    near = [sign * (1 - 10.0**-k) for k in exponents for sign in (1, -1)]
    return np.array(sorted({*inside, 1.0, -1.0, *near}))


@dataclass
class Row:
    """The worst of an activation: errors and reported errors for orders 0 and 1, and the smallest ratio."""

    errors: list[float] = field(default_factory=lambda: [0.0, 0.0])
    reported: list[float] = field(default_factory=lambda: [0.0, 0.0])
    ratio: list[float] = field(default_factory=lambda: [np.inf, np.inf])
    remarks: list[str] = field(default_factory=list)


def transforms(name: str) -> dict[str, Transform | None]:
    """No transform, one with all four constants, and that of Deep Kernel Shaping where there is one."""
    act = qc.activation(name)
    found: dict[str, Transform | None] = {"plain": None, "constants": Transform(act, *CONSTANTS)}
    with contextlib.suppress(QCMapError):
        found["dks"] = qc.dks(qc.zoo.mlp(30, activation=name), zeta=1.5)[name]
    return found


def formula_of(name: str, transform: Transform | None) -> str | Formula:
    """The oracle's name of an activation; a formula if shaping has chosen another slope."""
    if transform is None or not transform.activation.free_slope:
        return name
    left = flint.arb(transform.activation.parameters["negative_slope"])
    return Formula(lambda u: u if u > 0 else left * u, lambda u: flint.arb(1) if u > 0 else left, (0,))


def one_by_one(function: Callable[..., np.ndarray], c: np.ndarray, *q: float) -> np.ndarray:
    """The values without an interpolant, which many values at once would use."""
    return np.array([float(function(value, *q)) for value in c])


class Oracle:
    """Balls of C and C', kept in a file of lines "key TAB C TAB C'" if there is one."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known: dict[str, tuple[flint.arb, flint.arb]] = {}
        if path is not None and path.exists():
            with flint.ctx.workprec(200):
                for line in path.read_text().splitlines():
                    key, *pair = line.split("\t")
                    self.known[key] = (flint.arb(pair[0]), flint.arb(pair[1]))

    def both(
        self, formula: str | Formula, key: str, q: tuple[float, float], constants: tuple, c: np.ndarray, digits: int
    ) -> list[tuple[flint.arb, flint.arb]]:
        """C and C' at every c."""
        maps, found = PairMap(formula, *q, constants, digits=digits), []
        for value in c.tolist():
            here = f"{key} {q} {constants} {digits} {value!r}"
            if here not in self.known:
                self.known[here] = maps.both(value)
                if self.path is not None:
                    with flint.ctx.workprec(200), self.path.open("a") as file:
                        file.write("\t".join([here, *(ball.str(50, more=True) for ball in self.known[here])]) + "\n")
            found.append(self.known[here])
        return found


def compare(
    oracle: Oracle, name: str, label: str, transform: Transform | None, q: tuple[float, float], c: np.ndarray, row: Row
) -> None:
    """Both orders at one transform and pair of q values."""
    where = f"{name} {label} q={q[0]:g},{q[1]:g}"
    maps = LocalMaps(name, transform)
    constants = (1, 0, 0, 1) if transform is None else tuple(transform.constants.values())
    formula = formula_of(name, transform)
    key = f"{name} {maps.transform.activation.parameters}"
    exact = oracle.both(formula, key, q, constants, c, DIGITS)
    # What the oracle leaves out is small beside C(1) = 1 and, by Cauchy and Schwarz, this bound on C'. Much less is
    # left of C' where outputs hardly correlate, or a kink lies far out: then the oracle gets more digits.
    bounds = [1.0, np.sqrt([float(PairMap(formula, one, one, constants).slope(1.0)) for one in q]).prod()]
    for order, function in enumerate((maps.c, maps.dc)):
        balls = [pair[order] for pair in exact]
        largest = max(abs(float(ball)) for ball in balls)
        size = max(1.0, bounds[order])
        if largest < 1e-4 * size:
            digits = DIGITS + int(np.ceil(-np.log10(largest / size)))
            balls = [pair[order] for pair in oracle.both(formula, key, q, constants, c, digits)]
            largest = max(abs(float(ball)) for ball in balls)
        scale = f"of the largest value {largest:.3g} (bound {bounds[order]:.3g})"
        jobs = {
            "many": lambda function=function: function(c, *q),
            "single": lambda function=function: one_by_one(function, c, *q),
            "error": lambda order=order: maps.error(*q, order),
        }
        found = {}
        for what, job in jobs.items():
            start = time.process_time()
            try:
                found[what] = job()
            except Exception as error:  # a failure is a result here
                row.remarks.append(f"FAILED {where} order {order} {what}: {type(error).__name__} {error}")
            took = (time.process_time() - start) / (c.size if what == "single" else 1)
            if took > SLOW:
                row.remarks.append(f"SLOW {where} order {order} {what}: {took:.2f} s")
        for what in ("many", "single"):
            if what not in found:
                continue
            with flint.ctx.workprec(100):
                gaps = [abs(float(flint.arb(float(v)) - ball)) for v, ball in zip(found[what], balls, strict=True)]
            worst = max(gaps)
            row.errors[order] = max(row.errors[order], worst / largest)
            if worst > 1e-12 * largest:
                at = float(c[int(np.argmax(gaps))])
                row.remarks.append(f"ERROR {where} order {order} {what}: {worst / largest:.2e} {scale} at c = {at!r}")
            if "error" in found:
                row.ratio[order] = min(row.ratio[order], found["error"] / max(worst, 1e-300))
                if found["error"] < worst:
                    at = float(c[int(np.argmax(gaps))])
                    row.remarks.append(
                        f"UNDERSTATED {where} order {order} {what}: {worst:.2e} > {found['error']:.2e} at {at!r}"
                    )
        if "error" in found:
            row.reported[order] = max(row.reported[order], found["error"] / largest)
            if found["error"] > 1e-11 * largest:
                row.remarks.append(f"LARGE {where} order {order}: reported {found['error'] / largest:.2e} {scale}")


def run(oracle: Oracle, name: str, *, thin: bool) -> Row:
    """All transforms and q values of one activation."""
    row = Row()
    for label, transform in transforms(name).items():
        for q in ALIKE:
            c = points((1, 3, 6, 9, 12), INSIDE[::4]) if thin else points(HARD)
            compare(oracle, name, label, transform, q, c, row)
        for q in () if thin else APART:
            compare(oracle, name, label, transform, q, points((1, 3, 6, 12)), row)
    return row


def main(names: list[str]) -> None:
    """Print the table."""
    print(f"{'activation':12s} {'C':>9s} {'dC':>9s} {'reported':>9s} {'dC':>9s} {'ratio':>9s} {'dC':>9s}", flush=True)
    thin, path = "--thin" in names, None
    if "--keep" in names:
        path = Path(names.pop(names.index("--keep") + 1))
    oracle = Oracle(path)
    for name in [name for name in names if not name.startswith("--")] or CATALOGUE:
        start = time.perf_counter()
        row = run(oracle, name, thin=thin)
        numbers = " ".join(f"{v:9.1e}" for v in (*row.errors, *row.reported, *row.ratio))
        print(f"{name:12s} {numbers}   {time.perf_counter() - start:.0f} s", flush=True)
        for remark in row.remarks:
            print("   ", remark, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
