"""What an op is: the base class of `_ops`, and the types of its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from qcmap.errors import ArchitectureError

if TYPE_CHECKING:
    import sympy

Weight: TypeAlias = "float | sympy.Expr"
"""A constant of the wiring: a number, or a sympy expression."""
Channels: TypeAlias = "int | sympy.Expr"
"""A number of channels: a positive integer, or a sympy expression."""


class Named(Protocol):
    """Anything with a name: an activation object of `qcmap.activations`."""

    @property
    def name(self) -> str:
        """The name."""
        ...


@dataclass(frozen=True, slots=True)
class Op:
    """What a node does.

    ``kind`` is its name in messages and files; ``arity`` the number of inputs, None for any; ``constants`` the fields
    that may hold sympy expressions. A ``transparent`` op passes on the q, c and m values and the channel means of the
    one map that it reads, so maps, slopes and kernels need no rule for it.
    """

    kind: ClassVar[str] = "op"
    arity: ClassVar[int | None] = 1
    constants: ClassVar[tuple[str, ...]] = ()
    transparent: ClassVar[bool] = False

    def check(self, node: str, inputs: int) -> None:
        """Raise `ArchitectureError`, naming ``node``, if the number of inputs or the op's own data are wrong."""
        arity = self.arity
        if (arity is None and not inputs) or (arity is not None and inputs != arity):
            wanted = "at least one input" if arity is None else f"{arity} input{'' if arity == 1 else 's'}"
            raise ArchitectureError(node, f"a {self.kind} has {wanted}, not {inputs}", f"give {wanted}")
        self.validate(node, inputs)

    def validate(self, node: str, inputs: int) -> None:
        """Raise `ArchitectureError`, naming ``node``, if the op's own data are wrong for this many inputs."""
