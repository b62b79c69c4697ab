"""The ops of an architecture graph: frozen data, no behaviour. What an op does is said by each algebra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from qcmap.architecture._op import Channels, Named, Op, Weight
from qcmap.architecture._values import (
    OWN_SYMBOLS,
    Locations,
    check_channels,
    check_number,
    check_positive,
    check_window,
    is_symbolic,
    visited,
)
from qcmap.errors import ArchitectureError

BORDERS = "zeros", "reflect", "replicate", "circular"


@dataclass(frozen=True, slots=True)
class Input(Op):
    """A network input: location vectors with the given number of channels.

    ``locations`` is the extent of the map, such as (224, 224), if it is known; ``q`` the q value of its location
    vectors, their mean squared entry (1 after per-location normalization; DKS, section 10.2).
    """

    channels: Channels | None = None
    locations: Locations | None = None
    q: Weight = 1.0
    kind: ClassVar[str] = "input"
    arity: ClassVar[int | None] = 0
    constants: ClassVar[tuple[str, ...]] = ("channels", "q")

    def validate(self, node: str, inputs: int) -> None:
        """Channels and locations must be positive integers, q positive."""
        check_channels(self.channels, node)
        if self.locations is not None and not isinstance(self.locations, tuple):
            raise ArchitectureError(
                node, f"locations are one extent an axis, not {self.locations!r}", "give a tuple such as (32, 32)"
            )
        for extent in self.locations or ():
            check_positive(extent, "extent", node)
        check_number(self.q, node, "q value", least=0.0, strict=True)


@dataclass(frozen=True, slots=True)
class Affine(Op):
    """A fully-connected or convolutional layer (DKS, sections 4.1 and 5.5).

    Attributes
    ----------
    channels
        The number of outputs.
    kernel
        Filter sizes, one an axis; empty for a fully-connected layer, which acts on each location.
    stride, padding
        As in torch, the same along every axis; ``"same"`` pads so that a stride of 1 keeps all locations.
    weight_variance, bias_variance
        Weights have variance ``weight_variance`` / k, k the fan-in, and biases ``bias_variance``: an input value m
        becomes ``weight_variance * m + bias_variance``. Deep Kernel Shaping needs 1 and 0.
    init
        ``"delta"`` puts all weight at the centre of the filter, the left one of two for an even size, so k counts input
        channels; ``"fan_in"`` spreads it over the filter, which has no Q and C maps unless the filter has one location.
    parameters
        Layers with the same name here share their parameters.
    groups
        The channels fall into this many groups, each with a layer of its own, so k counts those of one group. With
        one channel in each (a depthwise convolution) the weights of scaled uniform orthogonal initialization are signs:
        q and c values are kept, but the output is Gaussian only if the input is (docs/graph.md).
    dilation
        The distance of neighbouring filter taps, the same along every axis.
    border
        What the filter reads in the padding, torch's ``padding_mode``, or ``"zeros"``. Paths alone depend on it.
    """

    channels: Channels | None = None
    kernel: Locations = ()
    stride: int = 1
    padding: int | Literal["same"] = "same"
    weight_variance: Weight = 1.0
    bias_variance: Weight = 0.0
    init: Literal["delta", "fan_in"] = "delta"
    parameters: str | None = None
    groups: int = 1
    dilation: int = 1
    border: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"
    kind: ClassVar[str] = "affine"
    constants: ClassVar[tuple[str, ...]] = ("channels", "weight_variance", "bias_variance")

    def validate(self, node: str, inputs: int) -> None:
        """Sizes must be positive integers, variances not negative; groups must divide the channels."""
        check_channels(self.channels, node)
        for what in ("stride", "groups", "dilation"):
            check_positive(getattr(self, what), what, node)
        check_window(self.kernel, self.stride, self.padding, node, self.dilation)
        if isinstance(self.channels, int) and self.channels % self.groups:
            raise ArchitectureError(
                node, f"{self.channels} channels do not fall into {self.groups} equal groups", "give a divisor"
            )
        if self.init not in ("delta", "fan_in"):
            raise ArchitectureError(node, f"init must be 'delta' or 'fan_in', not {self.init!r}", "use 'delta'")
        if self.border not in BORDERS:
            raise ArchitectureError(node, f"border must be one of {BORDERS}, not {self.border!r}", "use 'zeros'")
        check_number(self.weight_variance, node, "weight variance", least=0.0, strict=True)
        check_number(self.bias_variance, node, "bias variance", least=0.0)

    def centres(self, locations: Locations) -> tuple[range, ...]:
        """Along each axis, the input locations that the filter's centre visits, in the order of the outputs.

        All other locations are dropped (DKS, section 5.5): with a Delta filter nothing after depends on them. Raises
        `ArchitectureError` if the kernel has another number of axes or does not fit.
        """
        return visited(self.kind, self.kernel, self.stride, self.padding, locations, self.dilation)


@dataclass(frozen=True, slots=True)
class Nonlinear(Op):
    """An elementwise activation: a name of the catalogue or an `Activation`."""

    function: str | Named
    kind: ClassVar[str] = "activation"

    def validate(self, node: str, inputs: int) -> None:
        """The function must be a name, or have one."""
        if not (isinstance(self.function, str) or isinstance(getattr(self.function, "name", None), str)):
            raise ArchitectureError(
                node,
                f"{self.function!r} is not the name of an activation",
                "give a name, or qcmap.activation(...) of it",
            )

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
    constants: ClassVar[tuple[str, ...]] = ("weights",)

    def validate(self, node: str, inputs: int) -> None:
        """One finite weight for each input, not all zero."""
        if not isinstance(self.weights, tuple):
            raise ArchitectureError(node, f"weights are one number a branch, not {self.weights!r}", "give a list")
        if len(self.weights) != inputs:
            raise ArchitectureError(
                node, f"a sum has one weight for each branch, but got {len(self.weights)} for {inputs}",
                f"give {inputs} weights",
            )  # fmt: skip
        for weight in self.weights:
            check_number(weight, node, "weight")
            if not (is_symbolic(weight) or weight == 0 or 1e-150 < abs(weight) < 1e150):
                raise ArchitectureError(node, f"the square of the weight {weight} is not a float", "rescale the sum")
        if all(weight == 0 for weight in self.weights):
            raise ArchitectureError(node, "all weights of the sum are zero", "give a weight other than zero")


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """The concatenation of feature maps along their channels, whose counts are its weights (DKS, section 7.2)."""

    kind: ClassVar[str] = "concat"
    arity: ClassVar[int | None] = None


@dataclass(frozen=True, slots=True)
class Scale(Op):
    """Multiplication by a constant (DKS, section 7.2)."""

    factor: Weight
    kind: ClassVar[str] = "scale"
    constants: ClassVar[tuple[str, ...]] = ("factor",)

    def validate(self, node: str, inputs: int) -> None:
        """The factor must be finite and not zero."""
        check_number(self.factor, node, "factor")
        if self.factor == 0:
            raise ArchitectureError(node, "multiplication by zero erases its input", "give a factor other than zero")


@dataclass(frozen=True, slots=True)
class LayerNorm(Op):
    """Normalization by moments over channels (DKS, section 19.2; docs/norms.md).

    Attributes
    ----------
    centre
        Whether the mean is taken out; without it the norm is that of RMSNorm.
    groups
        None for the moments of each location's channels. An integer for group normalization: the channels fall into
        this many groups, and moments are over all locations and the channels of a group.
    """

    centre: bool = True
    groups: int | None = None
    kind: ClassVar[str] = "layer_norm"

    def validate(self, node: str, inputs: int) -> None:
        """The number of groups must be positive."""
        if not isinstance(self.centre, bool):
            raise ArchitectureError(node, f"centre must be True or False, not {self.centre!r}", "give a truth value")
        if self.groups is not None:
            check_positive(self.groups, "groups", node)


@dataclass(frozen=True, slots=True)
class Pool(Op):
    """What max and mean pooling share: a window, without a kernel the whole map.

    ``stride`` is the kernel size if left out, as in torch.
    """

    kernel: Locations = ()
    stride: int | None = None
    padding: int = 0
    transparent: ClassVar[bool] = True

    def validate(self, node: str, inputs: int) -> None:
        """Sizes must be positive integers."""
        check_window(self.kernel, self.stride, self.padding, node)

    def centres(self, locations: Locations) -> tuple[range, ...]:
        """Along each axis, the input locations in the middle of the windows (the left one of two middles)."""
        return visited(self.kind, self.kernel, self.stride, self.padding, locations) if self.kernel else ()


@dataclass(frozen=True, slots=True)
class MaxPool(Pool):
    """Max pooling, treated as the identity map (a heuristic; DKS, section 20.2)."""

    kind: ClassVar[str] = "max_pool"


@dataclass(frozen=True, slots=True)
class MeanPool(Pool):
    """Mean pooling, treated as the identity map (a heuristic; DKS, section 20.1)."""

    kind: ClassVar[str] = "mean_pool"


@dataclass(frozen=True, slots=True)
class WeightedMeanPool(Op):
    """Pooling over the whole map with weights drawn from N(0, 1/locations) (DKS, section 20.1.2)."""

    kind: ClassVar[str] = "weighted_mean_pool"
    transparent: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Upsample(Op):
    """Nearest upsampling: every location is repeated ``factors`` times, one factor an axis (docs/graph.md).

    A location is a copy of the one it comes from, so its q and c values are those.
    """

    factors: Locations
    kind: ClassVar[str] = "upsample"
    transparent: ClassVar[bool] = True

    def validate(self, node: str, inputs: int) -> None:
        """The factors must be positive integers, one for each axis."""
        if not isinstance(self.factors, tuple) or not self.factors:
            raise ArchitectureError(
                node, f"an upsampling has one factor an axis, not {self.factors!r}", "give a tuple such as (2, 2)"
            )
        for factor in self.factors:
            check_positive(factor, "factor", node)

    def centres(self, locations: Locations) -> tuple[tuple[int, ...], ...]:
        """Along each axis, the input locations that the outputs are copies of."""
        if len(self.factors) != len(locations):
            raise ArchitectureError(
                self.kind, f"the factors {self.factors} are not those of a map of {locations} locations",
                "give one factor an axis",
            )  # fmt: skip
        return tuple(
            tuple(at // factor for at in range(extent * factor))
            for extent, factor in zip(locations, self.factors, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Gate(Op):
    """Multiplication by a gating variable, a scalar that depends on the network's input (gated deep linear networks).

    ``name`` names the variable; gates of the same name open and close together. As a scalar it leaves c values as
    they are and multiplies m values by its values for the two inputs.
    """

    name: str
    kind: ClassVar[str] = "gate"

    def validate(self, node: str, inputs: int) -> None:
        """The name must be an identifier that formulas do not use, since it becomes a symbol."""
        if not (isinstance(self.name, str) and self.name.isidentifier()) or self.name in OWN_SYMBOLS:
            raise ArchitectureError(
                node,
                f"{self.name!r} cannot name a gating variable",
                f"use letters and digits, but not {', '.join(sorted(OWN_SYMBOLS))}",
            )


@dataclass(frozen=True, slots=True)
class Output(Op):
    """A named output: the identity. It is an output of the architecture and nothing reads it."""

    kind: ClassVar[str] = "output"
    transparent: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class BatchNorm(Op):
    """Batch normalization. It mixes the examples of a batch, so it has no Q and C maps (DKS, section 19.1)."""

    kind: ClassVar[str] = "batch_norm"


@dataclass(frozen=True, slots=True)
class Multiply(Op):
    """The elementwise product of feature maps, as in attention. It has no Q and C maps (DKS, section 21.1)."""

    kind: ClassVar[str] = "multiply"
    arity: ClassVar[int | None] = None


OPS: dict[str, type[Op]] = {
    op.kind: op
    for op in (
        Input, Affine, Nonlinear, Sum, Concat, Scale, LayerNorm, MaxPool, MeanPool, WeightedMeanPool, Upsample, Gate,
        Output, BatchNorm, Multiply,
    )
}  # fmt: skip
"""Every op by its kind."""
TRANSPARENT: tuple[type[Op], ...] = tuple(op for op in OPS.values() if op.transparent)
"""The ops that pass on what they read."""
