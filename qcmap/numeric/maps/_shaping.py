"""What shaping gives: the constants of each activation, and the conditions that they meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qcmap._html import table
from qcmap.architecture import Architecture, Nonlinear, Violation, check
from qcmap.errors import ActivationError, ArgumentError
from qcmap.numeric.maps._transform import Transform, conditions, curvature

if TYPE_CHECKING:
    from qcmap.numeric.proofs._certify import Certificate


@dataclass(frozen=True)
class Solution:
    """The constants of one activation.

    Attributes
    ----------
    transform
        The canonical solution: input_scale > 0, then the smallest abs(input_shift), then the negative input_shift.
    targets
        The conditions met, each with its target, of ``"Q(1)"``, ``"Q'(1)"``, ``"C(0)"``, ``"C'(1)"`` and ``"C''(1)"``.
        Q'(1) is not among them where positive homogeneity leaves no freedom for it (DKS, section 18.6).
    others
        The other solutions in the searched box as (input_scale, input_shift).
    searched
        The box, in words; closed forms have none.
    warnings
        What a reader should know: a minimum that lies on the edge of the box.
    """

    transform: Transform
    targets: Mapping[str, float] = field(hash=False)
    others: tuple[tuple[float, float], ...] = ()
    searched: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def psi(self) -> float | None:
        """The target of C'(1), if it is among the conditions."""
        return self.targets.get("C'(1)")

    @property
    def conditions_met(self) -> int:
        """How many conditions the constants meet."""
        return len(self.targets)

    @property
    def q_slope(self) -> float:
        """Q'(1) of the transform, whether it is among the conditions or not."""
        return conditions(self.transform).dq

    @property
    def count(self) -> int:
        """How many solutions the search found, the canonical one included."""
        return 1 + len(self.others)

    @cached_property
    def residuals(self) -> dict[str, float]:
        """Each condition's left side less its target, by a finer quadrature than the solver's."""
        found = conditions(self.transform)
        values = {"Q(1)": found.q, "Q'(1)": found.dq, "C(0)": found.c0, "C'(1)": found.dc1}
        if "C''(1)" in self.targets:
            values["C''(1)"] = curvature(self.transform)
        return {name: values[name] - target for name, target in self.targets.items()}

    def certify(self, digits: int = 50) -> Certificate:
        """A proof that the constants exist and are unique nearby, with ``digits`` digits; see `numeric.certify`."""
        from qcmap.numeric.proofs._certify import certify

        return certify(self, digits)

    def to_dict(self) -> dict[str, Any]:
        """The constants, the conditions and the other solutions as plain data."""
        return {
            **self.transform.to_dict(),
            "psi": self.psi,
            "conditions": self.conditions_met,
            "targets": dict(self.targets),
            "residuals": self.residuals,
            "solutions_found": self.count,
            "other_solutions": [list(pair) for pair in self.others],
            "searched": self.searched,
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        constants = ", ".join(f"{name}={value:.6g}" for name, value in self.transform.constants.items())
        return f"<solution for {self.transform.activation.name}: {constants}; meets {', '.join(self.targets)}>"


@dataclass(frozen=True)
class Shaping:
    """The constants of an architecture's activations.

    ``shaping["softplus"]`` is the `Transform` of that activation, ``shaping.at(node)`` that of one node.

    Attributes
    ----------
    architecture
        What was shaped.
    method
        ``"dks"``, ``"tat"``, or ``"unit_q"`` for Q(1) = 1 alone.
    solutions
        The solution of each activation, by name.
    psi, zeta
        C'(1) of every nonlinear layer and the global slope bound, the largest C_f'(1) over subnetworks f; psi is None
        where layers differ in it, both are None where C'(1) is not controlled.
    tau, eta
        The largest C_f''(1) and the largest C_f(0) that tailored activations were solved for; None if not used.
    by_node
        The solutions of nodes with targets of their own, by node id. They come before ``solutions``.
    """

    architecture: Architecture
    method: str
    solutions: Mapping[str, Solution]
    psi: float | None = None
    zeta: float | None = None
    tau: float | None = None
    eta: float | None = None
    by_node: Mapping[str, Solution] = field(default_factory=dict)

    @cached_property
    def warnings(self) -> tuple[Violation, ...]:
        """The heuristics that the result rests on: pooling treated as the identity."""
        return tuple(violation for violation in check(self.architecture) if violation.severity == "warning")

    def at(self, node: str) -> Transform:
        """The transform at a nonlinear node, by its id.

        Raises
        ------
        ArchitectureError
            If the architecture has no such node.
        ArgumentError
            If the node is not an activation.
        """
        if isinstance(node, str) and node in self.by_node:
            return self.by_node[node].transform
        op = self.architecture[node].op
        if not isinstance(op, Nonlinear):
            raise ArgumentError(node, f"it is a node of kind {op.kind}, without constants", "name an activation's node")
        return self.solutions[op.name].transform

    def __getitem__(self, name: str) -> Transform:
        """The transform of an activation, by its name.

        Raises
        ------
        ActivationError
            If the architecture does not use it, or not with the same constants everywhere.
        """
        named = [node.id for node in self.architecture.nodes if isinstance(node.op, Nonlinear) and node.op.name == name]
        own = [node for node in named if node in self.by_node]
        if own:
            listed = ", ".join(own[:5]) + (", ..." if len(own) > 5 else "")
            raise ActivationError(
                name, f"its constants differ between nodes ({listed} have their own)", "ask for one node with at(node)"
            )
        if name not in self.solutions:
            raise ActivationError(
                name, f"{self.architecture.name} does not use it", f"it uses {', '.join(self._names)}"
            )
        return self.solutions[name].transform

    @property
    def _names(self) -> tuple[str, ...]:
        """The names of the architecture's activations, in order of first use."""
        ops = (node.op for node in self.architecture.nodes)
        return tuple(dict.fromkeys(op.name for op in ops if isinstance(op, Nonlinear)))

    def residuals(self) -> dict[str, dict[str, float]]:
        """For each activation, and each node with constants of its own, each condition's residual."""
        return {name: solution.residuals for name, solution in (*self.solutions.items(), *self.by_node.items())}

    def certify(self, digits: int = 50, *, given: str = "zeta") -> Mapping[str, Certificate]:
        """For each activation, and each node with constants of its own, a certificate; see `certify_shaping`."""
        from qcmap.numeric.proofs._certified_slope import certify_shaping

        return certify_shaping(self, digits, given=given)

    def to_dict(self) -> dict[str, Any]:
        """The bounds and all constants as plain data."""
        bounds = {"tau": self.tau, "eta": self.eta} if self.method == "tat" else {"zeta": self.zeta, "psi": self.psi}
        return {
            "architecture": self.architecture.name,
            "method": self.method,
            **bounds,
            "activations": {name: solution.to_dict() for name, solution in self.solutions.items()},
            **({"nodes": {node: found.to_dict() for node, found in self.by_node.items()}} if self.by_node else {}),
            "warnings": [f"{warning.node}: {warning.message}" for warning in self.warnings],
        }

    def _repr_html_(self) -> str:
        solved = {**self.solutions, **self.by_node}
        rows = [
            [
                name,
                *found.transform.constants.values(),
                ", ".join(found.targets),
                max(map(abs, found.residuals.values())),
            ]
            for name, found in solved.items()
        ]
        constants = [name.replace("_", " ") for name in Transform.__dataclass_fields__ if name != "activation"]
        return table(["", *constants, "conditions met", "largest residual"], rows, caption=repr(self)[1:-1])

    def _repr_latex_(self) -> str:
        names = [(r"\hat\phi", found) for found in self.solutions.values()]
        nodes = [(node.replace("_", r"\_"), found) for node, found in self.by_node.items()]
        names += [(rf"\hat\phi_{{\mathrm{{{node}}}}}", found) for node, found in nodes]
        rows = [found.transform.latex(name, "&=") for name, found in names]
        return "$\\begin{aligned}" + r" \\ ".join(rows) + "\\end{aligned}$"

    def __repr__(self) -> str:
        given = {"zeta": self.zeta, "psi": self.psi, "tau": self.tau, "eta": self.eta}
        rows = ", ".join(f"{name}={value:.12g}" for name, value in given.items() if value is not None)
        return f"<shaping of {self.architecture.name} by {self.method}{': ' if rows else ''}{rows}>"
