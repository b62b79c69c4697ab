"""Reference architectures: the networks of the DKS paper."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

from qcmap.architecture._architecture import Architecture
from qcmap.architecture._builder import Builder
from qcmap.errors import ArchitectureError

if TYPE_CHECKING:
    from qcmap.architecture._ops import Named, Weight

Norm = Literal["layer"]

RESNET_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}
"""Residual blocks in each of the four groups, by the depth parameter D: (D - 2) / 3 blocks in all."""


RESIDUAL_WEIGHT = math.sqrt(0.05)
"""The residual weight that the paper's experiments settled on (DKS, section 28.3 and appendix M.1)."""


def _depth(value: object, model: str) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ArchitectureError(model, f"depth must be a positive integer, not {value!r}", "give depth=1 or more")
    return int(value)


def mlp(
    depth: int = 100,
    width: int | None = None,
    activation: str | Named = "tanh",
    *,
    in_channels: int | None = None,
    out_channels: int | None = None,
) -> Architecture:
    """A fully-connected network of ``depth`` combined layers.

    Node ids are ``input``, ``layer1.affine``, ``layer1.activation``, ... and, if ``out_channels`` is given, ``head``,
    an affine layer. Its slope polynomial is psi^depth.
    """
    b = Builder(f"mlp(depth={_depth(depth, 'mlp')})")
    h = b.input("input", channels=in_channels)
    for layer in range(1, depth + 1):
        h = b.affine(h, width, name=f"layer{layer}.affine")
        h = b.activation(h, activation, name=f"layer{layer}.activation")
    if out_channels is not None:
        h = b.affine(h, out_channels, name="head")
    return b.build(outputs=[h])


def _shortcut_weight(weight: Weight, model: str) -> Weight:
    """sqrt(1 - w^2), as a number or an expression."""
    if getattr(weight, "free_symbols", None):
        import sympy

        return sympy.sqrt(1 - sympy.sympify(weight) ** 2)
    try:
        number = float(weight)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < 1:
        raise ArchitectureError(
            model, f"residual_weight must lie strictly between 0 and 1, not {weight!r}",
            "use 1/sqrt(2) for equal weights; shortcuts=False takes the shortcuts out",
        )  # fmt: skip
    return math.sqrt((1 - number) * (1 + number))


class _Residual:
    """The mechanism that both residual families share: pre-activated blocks with normalized sums."""

    def __init__(
        self, name: str, channels: int, activation: str | Named, residual_weight: Weight, norm: Norm | None, *,
        shortcuts: bool,
    ) -> None:  # fmt: skip
        if norm not in (None, "layer"):
            raise ArchitectureError(name, f"norm must be None or 'layer', not {norm!r}", "batch norm has no Q/C maps")
        if not isinstance(shortcuts, bool):
            raise ArchitectureError(name, f"shortcuts must be True or False, not {shortcuts!r}", "give a truth value")
        self.b, self.activation, self.norm, self.shortcuts = Builder(name), activation, norm, shortcuts
        self.current = channels
        self.weights = (residual_weight, _shortcut_weight(residual_weight, name)) if shortcuts else ()

    def activate(self, x: str, name: str, suffix: str = "") -> str:
        """An optional layer norm, then the activation."""
        if self.norm == "layer":
            x = self.b.layer_norm(x, name=f"{name}.norm{suffix}")
        return self.b.activation(x, self.activation, name=f"{name}.activation{suffix}")

    def block(self, x: str, name: str, channels: int, convolutions: list[tuple[int, int, int]]) -> str:
        """One block; each convolution is (channels, kernel size, stride).

        A block that changes the number of channels (a transition block) has a convolution in its shortcut, which reads
        the first activation of the residual branch (DKS, footnote 11).
        """
        b, transition = self.b, None
        h = x
        for k, (out, size, stride) in enumerate(convolutions, start=1):
            h = self.activate(h, name, str(k))
            if k == 1 and self.current != channels:
                transition = h
            h = b.affine(h, out, kernel=(size, size), stride=stride, name=f"{name}.conv{k}")
        if self.shortcuts:
            shortcut = x
            if transition is not None:
                stride = max(stride for *_, stride in convolutions)
                shortcut = b.affine(transition, channels, kernel=(1, 1), stride=stride, name=f"{name}.shortcut")
            h = b.sum([h, shortcut], self.weights, name=f"{name}.sum")
        self.current = channels
        return h

    def head(self, x: str, classes: int) -> Architecture:
        """The last activation, global mean pooling and the final affine layer."""
        h = self.activate(x, "final")
        h = self.b.mean_pool(h, name="final.pool")
        return self.b.build(outputs=[self.b.affine(h, classes, name="head")])


def resnet_v2(
    depth: int = 50,
    *,
    activation: str | Named = "tanh",
    residual_weight: Weight = RESIDUAL_WEIGHT,
    shortcuts: bool = True,
    norm: Norm | None = None,
    classes: int = 1000,
) -> Architecture:
    """The modified ResNet-V2 for ImageNet (DKS, sections 23.1 to 23.5).

    ``depth`` is D, one more than the number of nonlinear layers: 50, 101, 152 or 200. ``residual_weight`` is w, a
    number in (0, 1) or a sympy expression; the shortcut has sqrt(1 - w^2). Its default is `RESIDUAL_WEIGHT`.
    ``shortcuts=False`` takes the shortcut branches out; ``norm="layer"`` puts a layer norm before each activation. With
    shortcuts, the slope polynomial is equation (20).
    """
    if _depth(depth, "resnet_v2") not in RESNET_BLOCKS:
        known = ", ".join(map(str, RESNET_BLOCKS))
        raise ArchitectureError("resnet_v2", f"no ResNet-V2 has depth {depth}", f"choose one of {known}")
    net = _Residual(f"resnet_v2(depth={depth})", 64, activation, residual_weight, norm, shortcuts=shortcuts)
    h = net.b.affine(net.b.input("input", channels=3), 64, kernel=(7, 7), stride=2, name="stem.conv")
    h = net.b.max_pool(h, name="stem.pool")
    for group, blocks in enumerate(RESNET_BLOCKS[depth]):
        inner = 64 * 2**group
        for block in range(blocks):
            stride = 2 if group > 0 and block == 0 else 1
            convolutions = [(inner, 1, 1), (inner, 3, stride), (4 * inner, 1, 1)]
            h = net.block(h, f"group{group + 1}.block{block + 1}", 4 * inner, convolutions)
    return net.head(h, classes)


def wide_resnet(
    depth: int = 28,
    *,
    widen: int = 2,
    activation: str | Named = "tanh",
    residual_weight: Weight = RESIDUAL_WEIGHT,
    shortcuts: bool = True,
    norm: Norm | None = None,
    classes: int = 10,
) -> Architecture:
    """The modified Wide-ResNet for CIFAR-10 (DKS, section 23.6).

    ``depth`` is D, three more than the number of nonlinear layers, with D - 4 a positive multiple of 6; ``widen``
    multiplies the channels of the blocks and is at least 2, so that each group begins with a transition block.
    """
    if (_depth(depth, "wide_resnet") - 4) % 6 or depth < 10:
        near = max(10, 4 + 6 * round((depth - 4) / 6))
        raise ArchitectureError(
            "wide_resnet", f"depth - 4 must be a positive multiple of 6, but depth is {depth}", f"try depth={near}"
        )
    if isinstance(widen, bool) or not isinstance(widen, int) or widen < 2:
        raise ArchitectureError("wide_resnet", f"widen must be an integer of at least 2, not {widen!r}", "try widen=2")
    net = _Residual(f"wide_resnet(depth={depth})", 16, activation, residual_weight, norm, shortcuts=shortcuts)
    h = net.b.affine(net.b.input("input", channels=3), 16, kernel=(3, 3), name="stem.conv")
    for group in range(3):
        channels = 16 * widen * 2**group
        for block in range((depth - 4) // 6):
            stride = 2 if group > 0 and block == 0 else 1
            h = net.block(h, f"group{group + 1}.block{block + 1}", channels, [(channels, 3, stride), (channels, 3, 1)])
    return net.head(h, classes)


FAMILIES: dict[str, Callable[..., Architecture]] = {family.__name__: family for family in (mlp, resnet_v2, wide_resnet)}
"""The families by name, as the command line calls them."""


def call(specification: str, **overrides: object) -> Architecture:
    """The architecture that a zoo call such as ``resnet_v2:depth=50,residual_weight=w`` means.

    A value is a number, ``true`` or ``false``, a word (an activation's name), or for ``residual_weight`` any expression
    that sympy reads; a bare name there becomes a positive symbol. ``overrides`` are arguments that go before those
    of the call.

    Raises
    ------
    ArchitectureError
        For an unknown family or key, or a value of the wrong kind.
    """
    family, _, arguments = specification.partition(":")
    if family not in FAMILIES:
        raise ArchitectureError(
            specification or "ARCH", f"there is no family {family!r}", f"choose one of {', '.join(FAMILIES)}"
        )
    allowed = inspect.signature(FAMILIES[family]).parameters
    values: dict[str, object] = {}
    for item in filter(None, arguments.split(",")):
        key, equals, text = (part.strip() for part in item.partition("="))
        if key not in allowed:
            raise ArchitectureError(
                specification, f"{family} has no argument {key!r}", f"its arguments: {', '.join(allowed)}"
            )
        if key in values:
            raise ArchitectureError(specification, f"{key} is given twice", "give it once")
        if not equals:
            raise ArchitectureError(specification, f"{key} has no value", f"write {key}=value")
        values[key] = _value(text, specification, symbolic=key == "residual_weight")
    return FAMILIES[family](**{**values, **overrides})


def _value(text: str, specification: str, *, symbolic: bool) -> object:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    if not symbolic:
        return text
    if not re.fullmatch(r"(?:[A-Za-z]\w*|\d+\.?\d*|\.\d+|[-+*/^() ])+", text):
        raise ArchitectureError(
            specification, f"{text!r} is not an expression", "write numbers, symbols, sqrt and + - * / ^ ( )"
        )
    import sympy

    parse: Any = sympy.sympify
    names = {name: sympy.Symbol(name, positive=True) for name in _identifiers(text)}
    try:
        return parse(text, locals=names)
    except (sympy.SympifyError, AttributeError, TypeError, SyntaxError, ValueError) as error:
        raise ArchitectureError(
            specification, f"{text!r} is not an expression", "write a number or a symbol"
        ) from error


def _identifiers(text: str) -> set[str]:
    """Names in the text that sympy does not know as functions."""
    return {name for name in re.findall(r"[A-Za-z_]\w*", text) if name not in {"sqrt", "pi", "Rational"}}
