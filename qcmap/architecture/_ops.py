"""The ops of an architecture graph: frozen data, no behaviour. What an op does is said by each algebra."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from qcmap.errors import ArchitectureError

if TYPE_CHECKING:
    import sympy

Weight: TypeAlias = "float | sympy.Expr"
"""A constant of the wiring: a number, or a sympy expression."""


class Named(Protocol):
    """Anything with a name: an activation object of `qcmap.activations`."""

    @property
    def name(self) -> str:
        """The name."""
        ...


def is_symbolic(weight: object) -> bool:
    """Whether a weight is a sympy expression with free symbols."""
    return bool(getattr(weight, "free_symbols", None))


def _positive_integer(value: object, what: str, node: str, *, optional: bool = True) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ArchitectureError(node, f"{what} must be a positive integer, not {value!r}", "give a positive integer")


@dataclass(frozen=True, slots=True)
class Op:
    """What a node does. ``kind`` is its name in messages and files; ``arity`` the number of inputs, None for any."""

    kind: ClassVar[str] = "op"
    arity: ClassVar[int | None] = 1

    def check(self, node: str, inputs: int) -> None:
        """Raise `ArchitectureError`, naming ``node``, if the number of inputs or the op's own data are wrong."""
        arity = self.arity
        if (arity is None and not inputs) or (arity is not None and inputs != arity):
            wanted = "at least one input" if arity is None else f"{arity} input{'' if arity == 1 else 's'}"
            raise ArchitectureError(node, f"a {self.kind} has {wanted}, not {inputs}", f"give {wanted}")
        self.validate(node, inputs)

    def validate(self, node: str, inputs: int) -> None:
        """Raise `ArchitectureError`, naming ``node``, if the op's own data are wrong for this many inputs."""


@dataclass(frozen=True, slots=True)
class Input(Op):
    """A network input: location vectors with the given number of channels."""

    channels: int | None = None
    kind: ClassVar[str] = "input"
    arity: ClassVar[int | None] = 0

    def validate(self, node: str, inputs: int) -> None:
        """Channels must be a positive integer."""
        _positive_integer(self.channels, "channels", node)


@dataclass(frozen=True, slots=True)
class Affine(Op):
    """A fully-connected or Delta-initialised convolutional layer with fan-in variance 1/k (DKS, section 4.1).

    ``channels`` counts the outputs; ``kernel`` is empty for a fully-connected layer.
    """

    channels: int | None = None
    kernel: tuple[int, ...] = ()
    stride: int = 1
    kind: ClassVar[str] = "affine"

    def validate(self, node: str, inputs: int) -> None:
        """Channels, kernel sizes and stride must be positive integers; kernel sizes odd, for a Delta filter."""
        _positive_integer(self.channels, "channels", node)
        _positive_integer(self.stride, "stride", node, optional=False)
        for size in self.kernel:
            _positive_integer(size, "kernel size", node, optional=False)
            if size % 2 == 0:
                raise ArchitectureError(
                    node, f"a Delta-initialised filter has a centre, but kernel size {size} is even", "use an odd size"
                )


@dataclass(frozen=True, slots=True)
class Nonlinear(Op):
    """An elementwise activation: a name of the catalogue or an `Activation`."""

    function: str | Named
    kind: ClassVar[str] = "activation"

    @property
    def name(self) -> str:
        """The activation's name."""
        return self.function if isinstance(self.function, str) else self.function.name


@dataclass(frozen=True, slots=True)
class Sum(Op):
    """The weighted sum of feature maps, ``sum_i weights[i] * input_i`` (DKS, section 9)."""

    weights: tuple[Weight, ...]
    kind: ClassVar[str] = "sum"
    arity: ClassVar[int | None] = None

    def validate(self, node: str, inputs: int) -> None:
        """One finite weight for each input, not all zero."""
        if len(self.weights) != inputs:
            raise ArchitectureError(
                node, f"a sum has one weight for each branch, but got {len(self.weights)} for {inputs}",
                f"give {inputs} weights",
            )  # fmt: skip
        for weight in self.weights:
            _finite(weight, node, "weight")
        if all(weight == 0 for weight in self.weights):
            raise ArchitectureError(node, "all weights of the sum are zero", "give a weight other than zero")


def _finite(value: object, node: str, what: str) -> None:
    if is_symbolic(value):
        return
    try:
        finite = math.isfinite(float(value))  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        finite = False
    if not finite:
        raise ArchitectureError(
            node, f"a {what} must be a finite number or a sympy expression, not {value!r}", "give a finite number"
        )


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """The concatenation of feature maps along their channels (DKS, section 7.2)."""

    kind: ClassVar[str] = "concat"
    arity: ClassVar[int | None] = None


@dataclass(frozen=True, slots=True)
class Scale(Op):
    """Multiplication by a constant (DKS, section 7.2)."""

    factor: Weight
    kind: ClassVar[str] = "scale"

    def validate(self, node: str, inputs: int) -> None:
        """The factor must be finite and not zero."""
        _finite(self.factor, node, "factor")
        if self.factor == 0:
            raise ArchitectureError(node, "multiplication by zero erases its input", "give a factor other than zero")


@dataclass(frozen=True, slots=True)
class LayerNorm(Op):
    """Layer normalization over the channels of each location (DKS, section 19.2)."""

    kind: ClassVar[str] = "layer_norm"


@dataclass(frozen=True, slots=True)
class MaxPool(Op):
    """Max pooling, treated as the identity map (a heuristic; DKS, section 20.2)."""

    kind: ClassVar[str] = "max_pool"


@dataclass(frozen=True, slots=True)
class MeanPool(Op):
    """Mean pooling, treated as the identity map (a heuristic; DKS, section 20.1)."""

    kind: ClassVar[str] = "mean_pool"


@dataclass(frozen=True, slots=True)
class WeightedMeanPool(Op):
    """Mean pooling with weights drawn from N(0, 1/locations) (DKS, section 20.1.2)."""

    kind: ClassVar[str] = "weighted_mean_pool"
