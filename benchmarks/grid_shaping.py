"""Every catalogue activation on chains and residual networks, by DKS and TAT: solved to 1e-12, or infeasible.

    python benchmarks/grid_shaping.py [--prove] [names]

All conditions of every solution are checked with mpmath at 32 digits. With ``--prove`` every target out of reach is
proved to be (some ten minutes in all), or the line says why it is not. The constants depend on an architecture only
through psi, kappa or (leaky relu) the negative slope, so each distinct one is solved once. Without names, all are.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import qcmap as qc
from qcmap.activations import CATALOGUE
from qcmap.architecture import Architecture
from qcmap.errors import Infeasible, QCMapError
from qcmap.numeric import InfeasibilityProof, Solution, solve, tat
from qcmap.numeric.shaping._tat import solve_curvature
from tests import oracles
from tests.numeric.tailored_oracle import exact
from tests.oracles import MP, formula_of

ZETAS, TAUS, ETAS = (1.01, 1.1, 1.5, 12.0, 100.0), (0.03, 0.1, 0.3, 1.0, 3.0), (0.5, 0.8, 0.9, 0.95, 0.99)
LINEAR = ("relu", "leaky_relu", "identity")
UNPROVED: dict[int, str] = {}
"""For errors (by id), why there is no proof."""


def networks(activation: str) -> dict[str, Architecture]:
    """Chains of 5 to 1000 layers, and residual networks with three weights."""
    chains = {f"chain {depth}": qc.zoo.mlp(depth, activation=activation) for depth in (5, 20, 50, 100, 1000)}
    residual = {
        f"resnet {depth}, w^2 = {w2:g}": _resnet(depth, w2, activation)
        for depth in (50, 101, 152)
        for w2 in (1, 0.5, 0.05)
    }
    return chains | residual


def _resnet(depth: int, w2: float, activation: str) -> Architecture:
    if w2 == 1:  # the shortcuts have weight 0
        return qc.zoo.resnet_v2(depth, shortcuts=False, activation=activation)
    return qc.zoo.resnet_v2(depth, residual_weight=math.sqrt(w2), activation=activation)


def worst(name: str, solution: Solution) -> float:
    """The largest residual at 32 digits."""
    constants = solution.transform.constants
    if "C''(1)" in solution.targets:
        found = exact(name, **constants)
    else:
        values = oracles.conditions(formula_of(solution.transform.activation), **constants)
        found = dict(zip(("Q(1)", "Q'(1)", "C(0)", "C'(1)"), values, strict=True))
    return max(abs(float(found[key] - MP.mpf(target))) for key, target in solution.targets.items())


def report(title: str, rows: Iterable[tuple[str, list[tuple[str, float | Infeasible]]]]) -> None:
    """One line an activation, once it is known: how many were solved, the largest residual, what is infeasible."""
    print(f"\n{title}")
    total: Counter[str] = Counter()
    for name, results in rows:
        solved = [value for _, value in results if isinstance(value, float)]
        refused = [(where, value) for where, value in results if isinstance(value, Infeasible)]
        total.update(solved=len(solved), infeasible=len(refused), above=sum(value > 1e-12 for value in solved))
        line = f"  {name:<11} {len(solved):>3} solved"
        line += f", residuals at most {max(solved):.1e}" if solved else ""
        if refused:
            kinds = ", ".join(f"{count} by {kind}" for kind, count in Counter(e.condition for _, e in refused).items())
            line += f"; {len(refused)} infeasible ({kinds})"
            if solved:
                line += ": " + "; ".join(where for where, _ in refused[:10]) + ("; ..." if refused[10:] else "")
            if "--prove" in sys.argv:
                reasons = {UNPROVED[id(error)] for _, error in refused if id(error) in UNPROVED}
                total["proved"] += (count := sum(id(error) not in UNPROVED for _, error in refused))
                line += "; ".join(["", f"{count} proved", *sorted(reasons)])
        print(line, flush=True)
    print(f"  in all: {total['solved']} solved, {total['above']} of them above 1e-12, {total['infeasible']} infeasible")
    if "--prove" in sys.argv:
        print(f"  {total['proved']} of these are proved to be")


def prove(error: Infeasible) -> InfeasibilityProof | None:
    """The proof of an error, or a note in `UNPROVED`."""
    try:
        proof = error.certify()
    except QCMapError as why:
        UNPROVED[id(error)] = str(why)
        return None
    if not proof.proved:
        UNPROVED[id(error)] = repr(proof)
    return proof


def by_dks(names: Iterable[str]) -> Iterator[tuple[str, list[tuple[str, float | Infeasible]]]]:
    """All activations at every psi that a network and a zeta give."""
    targets = {
        f"{label}, zeta = {zeta:g}": qc.maximal_slope(arch).inverse(zeta)
        for label, arch in networks("tanh").items()
        for zeta in ZETAS
    }
    for name in names:
        yield name, _each(name, targets, lambda psi, name=name: solve(qc.activation(name), psi))


def by_curvature(names: Iterable[str]) -> Iterator[tuple[str, list[tuple[str, float | Infeasible]]]]:
    """Smooth activations at every kappa that a network and a tau give."""
    targets = {
        f"{label}, tau = {tau:g}": qc.maximal_curvature(arch).inverse(tau)
        for label, arch in networks("tanh").items()
        for tau in TAUS
    }
    for name in names:
        yield name, _each(name, targets, lambda kappa, name=name: solve_curvature(qc.activation(name), kappa))


def by_c0(names: Iterable[str]) -> Iterator[tuple[str, list[tuple[str, float | Infeasible]]]]:
    """Functions that are linear on either side of zero, at every eta; the bound by mpmath for chains."""
    for name in names:
        found: list[tuple[str, float | Infeasible]] = []
        for label, arch in networks(name).items():
            for eta in ETAS:
                try:
                    solution = tat(arch, eta=eta).solutions[name]
                except Infeasible as error:
                    found.append((f"{label}, eta = {eta:g}", error))
                    if "--prove" in sys.argv:
                        prove(error)
                    continue
                value = worst(name, solution)
                if label.startswith("chain"):
                    value = max(value, abs(float(_c0(solution, int(label.split()[1])) - MP.mpf(eta))))
                found.append((f"{label}, eta = {eta:g}", value))
        yield name, found


def _c0(solution: Solution, depth: int):
    share = MP.mpf(1 - solution.transform.activation.parameters["negative_slope"]) ** 2
    share /= 1 + MP.mpf(solution.transform.activation.parameters["negative_slope"]) ** 2
    c = MP.zero
    for _ in range(depth):
        c += share / MP.pi * (MP.sqrt(1 - c * c) - c * MP.acos(c))
    return c


def _each(name, targets, function) -> list[tuple[str, float | Infeasible]]:
    known: dict[float, float | Infeasible] = {}
    bound = None
    for value in sorted(set(targets.values())):
        try:
            known[value] = worst(name, function(value))
        except Infeasible as error:
            known[value] = error
            # A bound on C'(1) serves every larger target.
            if "--prove" in sys.argv and not (bound is not None and bound.excludes(value)):
                proof = prove(error)
                bound = proof if proof is not None and proof.condition == "C'(1)" else None
    return [(label, known[value]) for label, value in targets.items()]


if __name__ == "__main__":
    chosen = [name for name in sys.argv[1:] if not name.startswith("--")] or list(CATALOGUE)
    report("Deep Kernel Shaping", by_dks(chosen))
    report("Tailored activations, curvature", by_curvature(name for name in chosen if name not in LINEAR))
    report("Tailored activations, C(0)", by_c0(name for name in chosen if name in LINEAR))
