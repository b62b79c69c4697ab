"""The one family of errors: each names the node (or argument), the rule it breaks and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class QCMapError(Exception):
    """Base class of every error that qcmap raises on purpose.

    Parameters
    ----------
    subject
        The node, argument, file or activation at fault, as the user named it.
    rule
        What is wrong, stated as the rule that is broken.
    remedy
        What the user can do about it.
    """

    subject: str
    rule: str
    remedy: str

    def __init__(self, subject: str, rule: str, remedy: str) -> None:
        super().__init__(subject, rule, remedy)
        self.subject, self.rule, self.remedy = subject, rule, remedy

    def __str__(self) -> str:
        return f"{self.subject}: {self.rule}; {self.remedy}"


class ArchitectureError(QCMapError):
    """A graph that cannot be built, read or analysed as asked."""


class TraceError(QCMapError):
    """A torch model, or a call in it, that no architecture graph stands for."""


class ActivationError(QCMapError):
    """An activation that is unknown, malformed or cannot be integrated."""


class ArgumentError(QCMapError):
    """An argument outside the range that a function accepts."""


class NumericalError(QCMapError):
    """A computation whose residual is too large to be returned as a result."""


class DataError(QCMapError):
    """Data of the wrong shape, type or content for a torch function."""


class MissingExtra(QCMapError):
    """An optional dependency that a feature needs is not installed."""


class Infeasible(QCMapError):
    """Conditions that no transformation of the activation meets.

    Attributes
    ----------
    condition
        The condition that cannot be met: ``"C'(1)"``, ``"Q'(1)"``, ``"C''(1)"`` or ``"C(0)"``.
    achievable
        The intervals of values found for it within the searched set while the other conditions hold; empty if the other
        conditions cannot be met either.
    prove
        What makes a proof of it, where one may be known; `certify` calls it.
    """

    condition: str
    achievable: tuple[tuple[float, float], ...]
    prove: Callable[[], Any] | None

    def __init__(
        self,
        subject: str,
        rule: str,
        remedy: str,
        *,
        condition: str,
        achievable: tuple[tuple[float, float], ...],
        prove: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(subject, rule, remedy)
        self.condition, self.achievable, self.prove = condition, achievable, prove

    def certify(self) -> Any:
        """A proof that the target is out of reach, a `numeric.InfeasibilityProof`; see `numeric.certify_infeasible`.

        Raises
        ------
        ActivationError
            If no proof is known for these conditions.
        """
        if self.prove is None:
            raise ActivationError(
                self.subject,
                f"no proof is known that this value of {self.condition} is out of reach",
                "rely on `achievable`, which was found and not proved",
            )
        return self.prove()
