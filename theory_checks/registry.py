"""What a check is, the table of all checks, and how one is judged."""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kind = Literal["exact", "stat", "claim"]
Variant = Literal["", "as_printed", "corrected"]
Verdict = Literal["pass", "fail", "error"]

MODULES = tuple(
    sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py") if "\n@checks(" in path.read_text())
)
"""The modules with checks; each registers its own when it is imported."""


class UnknownCheckError(LookupError):
    """An id that names no check."""


@dataclass(frozen=True)
class Outcome:
    """What a check found: how many instances it tried and the worst error divided by its tolerance.

    The statement holds on what was tried if ``margin`` is at most 1. ``counterexample`` describes the worst instance of
    a statement that does not; ``detail`` is anything else worth telling.
    """

    instances: int
    margin: float
    detail: str = ""
    counterexample: str = ""

    @property
    def holds(self) -> bool:
        """Whether no instance exceeded its tolerance."""
        return self.instances > 0 and self.margin <= 1

    @property
    def refutes(self) -> bool:
        """Whether there is a counterexample: a finite error, so a failed computation does not count as one."""
        return math.isfinite(self.margin) and self.margin > 1 and bool(self.counterexample)


class RefutedError(Exception):
    """Ends a check at its first counterexample, where that decides."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.counterexample)
        self.outcome = outcome


_FIRST_DECIDES = ContextVar("first_decides", default=False)
"""Whether a check is to end at its first counterexample: true of broken subjects, which need no more to be rejected."""
SIGMAS = 6.2
"""Standard errors by which a sampled mean may be off: a true one is with probability 6e-10."""


class Tally:
    """Collects instances and keeps the worst."""

    def __init__(self) -> None:
        self.instances, self._margin, self._witness = 0, 0.0, ""
        self._first_decides = _FIRST_DECIDES.get()

    def add(self, error: float, tolerance: float, witness: str) -> None:
        """One instance: its error (of either sign), the tolerance, and a description to show if it is the worst."""
        self.instances += 1
        margin = abs(float(error)) / tolerance
        if math.isnan(margin):
            margin = math.inf
        if margin > self._margin:
            self._margin, self._witness = margin, witness
        if self._first_decides and self.outcome().refutes:
            raise RefutedError(self.outcome())

    def mean(self, values: Array, want: float, what: str) -> None:
        """One instance: the mean of independent values, ``what`` it is of, and what it should be."""
        found, error = float(values.mean()), float(values.std()) / math.sqrt(len(values))
        self.add((found - want) / error, SIGMAS, f"{what} is {found:.5g} +- {error:.2g}, not {want:.5g}")

    def outcome(self, detail: str = "") -> Outcome:
        """The result so far."""
        return Outcome(self.instances, self._margin, detail, self._witness if self._margin > 1 else "")


Run = Callable[[Any, int], Outcome]


@dataclass(frozen=True)
class Check:
    """One executable statement.

    Attributes
    ----------
    id
        The statement's id, such as ``"dks-15"``.
    part
        Which part of the statement, where it has several.
    variant
        ``"as_printed"`` for a printed statement that fails, ``"corrected"`` for what holds instead, else empty.
    kind
        ``"exact"`` (to rounding), ``"stat"`` (sampled) or ``"claim"`` (about trained networks).
    source, claim
        Where the statement stands, and what it says in one sentence.
    run
        Tests a subject; a larger effort tries more instances.
    subject
        The function or formula under test.
    broken
        A subtly wrong subject. For ``"as_printed"`` it is the corrected statement, which must not be refuted.
    false_alarm
        An upper bound on the probability that sampling alone rejects a true statement; 0 for exact checks.
    """

    id: str
    source: str
    claim: str
    run: Run
    subject: Any
    broken: Any
    kind: Kind = "exact"
    part: str = ""
    variant: Variant = ""
    false_alarm: float = 0.0

    @property
    def key(self) -> str:
        """Id, part and variant, joined by slashes."""
        return "/".join(filter(None, (self.id, self.part, self.variant)))

    def judge(self, outcome: Outcome, *, broken: bool = False) -> Verdict:
        """A normal check must hold; one of a printed statement that fails must find a counterexample.

        For the broken subject it is the other way round.
        """
        refute = (self.variant == "as_printed") != broken
        return "pass" if (outcome.refutes if refute else outcome.holds) else "fail"


@dataclass(frozen=True)
class Result:
    """A check's outcome and verdict, and those of its broken subject if the self-test was asked for."""

    check: Check
    outcome: Outcome
    verdict: Verdict
    seconds: float
    broken_outcome: Outcome | None = None
    broken_verdict: Verdict | None = None

    @property
    def passed(self) -> bool:
        """Whether the check, and its self-test if there was one, passed."""
        return self.verdict == "pass" and self.broken_verdict in (None, "pass")

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data; an infinite margin becomes None."""
        check, row = self.check, {}
        for name in ("id", "part", "variant", "kind", "source", "claim", "false_alarm"):
            row[name] = getattr(check, name)
        row |= _plain(self.outcome) | {"verdict": self.verdict, "seconds": round(self.seconds, 3)}
        if self.broken_outcome is not None:
            row["broken"] = _plain(self.broken_outcome) | {"verdict": self.broken_verdict}
        return row


def _plain(outcome: Outcome) -> dict[str, Any]:
    margin = outcome.margin if math.isfinite(outcome.margin) else None
    return {
        "instances": outcome.instances,
        "margin": margin,
        "detail": outcome.detail,
        "counterexample": outcome.counterexample,
    }


CHECKS: dict[str, Check] = {}
"""All checks by key, in the order of `MODULES`."""


def register(check: Check) -> Check:
    """Add a check; its key must be new."""
    if check.key in CHECKS:
        raise ValueError(f"two checks are called {check.key}")
    CHECKS[check.key] = check
    return check


def checks(
    statement: str,
    *,
    source: str,
    claim: str,
    subject: Any,
    broken: Any,
    kind: Kind = "exact",
    part: str = "",
    variant: Variant = "",
    false_alarm: float = 0.0,
) -> Callable[[Run], Run]:
    """Register the decorated function as the ``run`` of a check; may be stacked for the variants of a statement."""

    def decorate(run: Run) -> Run:
        register(Check(statement, source, claim, run, subject, broken, kind, part, variant, false_alarm))
        return run

    return decorate


def load() -> dict[str, Check]:
    """Import every module of checks and return the table."""
    for module in MODULES:
        import_module(f"theory_checks.{module}")
    return CHECKS


def select(ids: Iterable[str] = ()) -> list[Check]:
    """The checks that the ids mean: whole keys, or leading parts of them such as ``dks-32``; all if there are none.

    Raises
    ------
    UnknownCheckError
        For an id that means none; the message has the nearest ones.
    """
    table = load()
    wanted = [name.rstrip("/") for name in ids]
    for name in wanted:
        if not any(_means(name, key) for key in table):
            known = list(dict.fromkeys([check.id for check in table.values()] + list(table)))
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(known[:20])}"
            raise UnknownCheckError(f"there is no check {name!r}; {hint}")
    chosen = [c for key, c in table.items() if not wanted or any(_means(name, key) for name in wanted)]
    return sorted(chosen, key=lambda check: check.id)


def _means(name: str, key: str) -> bool:
    return key == name or key.startswith(f"{name}/")


def evaluate(check: Check, *, effort: int = 1, self_test: bool = False) -> Result:
    """Run one check, and its broken subject too if ``self_test``; an exception is the verdict ``"error"``."""
    start = time.perf_counter()
    outcome, verdict = _attempt(check, check.subject, effort, broken=False)
    result = Result(check, outcome, verdict, time.perf_counter() - start)
    if self_test:
        outcome, verdict = _attempt(check, check.broken, effort, broken=True)
        result = replace(result, broken_outcome=outcome, broken_verdict=verdict, seconds=time.perf_counter() - start)
    return result


def _attempt(check: Check, subject: Any, effort: int, *, broken: bool) -> tuple[Outcome, Verdict]:
    before = _FIRST_DECIDES.set(broken and check.variant != "as_printed")
    try:
        outcome = check.run(subject, effort)
    except RefutedError as found:
        outcome = found.outcome
    except Exception as error:  # a check that cannot run is reported beside the others, never as a pass
        return Outcome(0, math.inf, f"{type(error).__name__}: {error}"), "error"
    finally:
        _FIRST_DECIDES.reset(before)
    return outcome, check.judge(outcome, broken=broken)
