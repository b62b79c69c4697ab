"""Counterexamples that the machine finds: hypothesis searches for the smallest instance of each refuted statement.

Every statement with the variants ``as_printed`` and ``corrected`` has one `Search`: a strategy of instances, simplest
first, and the error of a subject on one instance. Hypothesis looks for an instance that refutes the printed subject and
shrinks it; the corrected subject must survive the same search. ``python -m theory_checks --refute`` prints what is
found, and ``python -m theory_checks.refutations FILE`` writes it as the table of docs/errata.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from theory_checks.registry import CHECKS, Check, load

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Severity = Literal["wrong", "hypothesis missing", "misprint"]
"""Of an erratum: what follows from the statement fails; it holds under a condition not said; one symbol or digit."""

Trial = tuple[float, float, str]
"""Error, tolerance, and what the instance says."""
Examine = Callable[[Any, Any], Trial | None]
"""Subject and instance to a trial, or None where the statement says nothing about the instance."""

MODULES = ("refuted_maps", "refuted_slopes", "refuted_layers", "refuted_paths")
EXAMPLES = 2000
BEGIN, END = "<!-- counterexamples: begin -->", "<!-- counterexamples: end -->"


@dataclass(frozen=True)
class Search:
    """Where to look for counterexamples to a printed statement.

    Attributes
    ----------
    key
        The statement's key without its variant, such as ``"dks-23"`` or ``"dks-03/c"``.
    severity
        How bad it is.
    instances
        What hypothesis draws from; its shrinking decides which counterexample is the smallest.
    examine
        The error of a subject on an instance.
    """

    key: str
    severity: Severity
    instances: SearchStrategy[Any]
    examine: Examine

    @property
    def printed(self) -> Check:
        """The check of the statement as printed."""
        return CHECKS[f"{self.key}/as_printed"]

    def margin(self, subject: Any, instance: Any) -> float:
        """The error divided by its tolerance; 0 where the statement says nothing."""
        trial = self.examine(subject, instance)
        return 0.0 if trial is None else abs(float(trial[0])) / trial[1]


@dataclass(frozen=True)
class Counterexample:
    """The smallest instance found, in words."""

    search: Search
    instance: Any
    witness: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "id": self.search.key,
            "severity": self.search.severity,
            "source": self.search.printed.source,
            "printed": self.search.printed.claim,
            "corrected": CHECKS[f"{self.search.key}/corrected"].claim,
            "counterexample": self.witness,
            "seconds": round(self.seconds, 3),
        }


SEARCHES: dict[str, Search] = {}
"""All searches by key."""


def refuted(key: str, severity: Severity, instances: SearchStrategy[Any]) -> Callable[[Examine], Examine]:
    """Register the decorated function as the search for this key."""

    def decorate(examine: Examine) -> Examine:
        if key in SEARCHES:
            raise ValueError(f"two searches are called {key}")
        SEARCHES[key] = Search(key, severity, instances, examine)
        return examine

    return decorate


def searches() -> dict[str, Search]:
    """All searches, in the order of the statements' ids."""
    load()
    for module in MODULES:
        import_module(f"theory_checks.{module}")
    return dict(sorted(SEARCHES.items(), key=lambda item: item[0]))


def _settings(examples: int) -> Any:
    from hypothesis import HealthCheck, Phase, settings

    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        phases=(Phase.generate, Phase.shrink),
    )


def find(search: Search, *, effort: int = 1) -> Counterexample:
    """The smallest instance that refutes the printed statement, among `EXAMPLES` times ``effort``.

    Raises
    ------
    hypothesis.errors.NoSuchExample
        If none is found.
    """
    import hypothesis

    start, subject = time.process_time(), search.printed.subject
    instance = hypothesis.find(
        search.instances, lambda x: search.margin(subject, x) > 1, settings=_settings(EXAMPLES * effort)
    )
    trial = search.examine(subject, instance)
    assert trial is not None
    return Counterexample(search, instance, trial[2], time.process_time() - start)


def survives(search: Search, *, examples: int = 40) -> Any | None:
    """Search for a counterexample to the corrected statement: an instance, or None if there is none."""
    import hypothesis
    from hypothesis.errors import NoSuchExample

    corrected = search.printed.broken
    try:
        return hypothesis.find(
            search.instances, lambda x: search.margin(corrected, x) > 1, settings=_settings(examples)
        )
    except NoSuchExample:
        return None


def row(found: Counterexample) -> str:
    """A row of the table of docs/errata.md."""
    search, witness = found.search, found.witness.replace("|", "&#124;")
    return f"| `{search.key}` | {search.printed.source} | {search.severity} | {witness} |"


def table(found: Iterable[Counterexample]) -> str:
    """A Markdown table of counterexamples, between the marks of docs/errata.md."""
    head = "| check | where | kind | the smallest counterexample found |\n|---|---|---|---|"
    return "\n".join((BEGIN, head, *map(row, found), END))


def replace_table(page: str, new: str) -> str:
    """The page with what stands between the marks replaced."""
    before, rest = page.split(BEGIN)
    return before + new + rest.split(END)[1]


def main(path: str) -> None:
    """Write the table into a page."""
    page = Path(path)
    page.write_text(replace_table(page.read_text(), table(find(search) for search in searches().values())))


if __name__ == "__main__":
    from theory_checks import refutations  # the registry of the imported module, not of __main__

    refutations.main(sys.argv[1])
