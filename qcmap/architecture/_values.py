"""The data of ops: what a number, a count or a window may be, and where a window goes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral
from typing import Any, TypeAlias

from qcmap.errors import ArchitectureError

Locations: TypeAlias = tuple[int, ...]
"""The extent of a feature map along each of its spatial axes; () for one location."""


def is_symbolic(weight: object) -> bool:
    """Whether a weight is a sympy expression with free symbols."""
    return bool(getattr(weight, "free_symbols", None))


def check_positive(value: object, what: str, node: str) -> None:
    """Raise unless the value is a positive integer."""
    if type(value) is int and value >= 1:
        return  # the common case, in a network of a million nodes
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ArchitectureError(node, f"{what} must be a positive integer, not {value!r}", "give a positive integer")


def as_tuple(value: object) -> tuple[int, ...]:
    """A sequence as a tuple; anything else as it is, for the op's own check to refuse."""
    return tuple(value) if isinstance(value, Iterable) else value  # pyright: ignore[reportReturnType]


def check_channels(value: object, node: str) -> None:
    """Raise unless the value is a positive integer, symbolic or not known."""
    if is_symbolic(value):
        check_symbols(value, node, "channel count")
    elif value is not None:
        check_positive(value, "channels", node)


OWN_SYMBOLS = frozenset({"c", "q", "q1", "q2", "psi"})
"""What formulas call the inputs' values and the slope."""


def check_symbols(value: Any, node: str, what: str) -> None:
    """Raise for an expression that is not real, or that uses one of the names of formulas."""
    if value.is_real is False:
        raise ArchitectureError(node, f"a {what} is real, but {value} is not", "give a real expression")
    for name in map(str, value.free_symbols):
        if name in OWN_SYMBOLS or name.startswith("psi_"):
            raise ArchitectureError(node, f"formulas have a symbol {name} of their own", "call yours differently")


def check_number(value: object, node: str, what: str, *, least: float = -math.inf, strict: bool = False) -> None:
    """Raise unless the value is symbolic, or a finite number of at least (or strictly above) ``least``."""
    if type(value) is float and least < value < math.inf:
        return
    if is_symbolic(value):
        check_symbols(value, node, what)
        return
    try:
        number = math.nan if isinstance(value, (str, bytes)) else float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ArchitectureError(
            node, f"a {what} must be a finite number or a sympy expression, not {value!r}", "give a finite number"
        )
    if number < least or (strict and number == least):
        raise ArchitectureError(
            node, f"a {what} must be {'above' if strict else 'at least'} {least:g}, not {value!r}", "give a larger one"
        )


def check_window(kernel: Locations, stride: int | None, padding: int | str, node: str, dilation: int = 1) -> None:
    """Raise unless sizes are positive integers and the padding is a word or a count that keeps centres inside."""
    if not isinstance(kernel, tuple):
        raise ArchitectureError(node, f"a kernel has one size an axis, not {kernel!r}", "give a tuple such as (3, 3)")
    for size in kernel:
        check_positive(size, "kernel size", node)
    if stride is not None:
        check_positive(stride, "stride", node)
    if isinstance(padding, str) and padding == "same":
        even = next((size for size in kernel if size % 2 == 0), None)
        if even is not None and dilation > 1:
            raise ArchitectureError(
                node, f"a dilated kernel of the even size {even} has no tap where 'same' padding needs one",
                "use an odd size, or padding=0",
            )  # fmt: skip
        return
    if isinstance(padding, (bool, str)) or not isinstance(padding, Integral) or padding < 0:
        raise ArchitectureError(
            node,
            f"padding must be 'same' or a count of locations, not {padding!r}",
            "give one (border says what is read)",
        )
    most = min((dilation * ((size - 1) // 2) for size in kernel), default=padding)
    if padding > most:
        raise ArchitectureError(
            node, f"padding {padding} puts the centre of the kernel {kernel} outside of the feature map",
            f"use at most {most}",
        )  # fmt: skip


def visited(
    kind: str, kernel: Locations, stride: int | None, padding: int | str, locations: Locations, dilation: int = 1
) -> tuple[range, ...]:
    """Along each axis, the input locations in the middle of a sliding window, in the order of the outputs.

    An even window has its middle at the left one of two; with "same" padding, of one less than the window in all, that
    is where torch has it.

    Raises `ArchitectureError` if the kernel has another number of axes or does not fit.
    """
    if not kernel or (set(kernel) == {1} and not locations):
        return tuple(range(0, extent, stride or 1) for extent in locations)
    if len(kernel) != len(locations):
        raise ArchitectureError(
            kind, f"the kernel {kernel} does not slide over a map of {locations} locations",
            "give the kernel one size an axis",
        )  # fmt: skip
    ranges = []
    for size, extent in zip(kernel, locations, strict=True):
        centre, reach, step = dilation * ((size - 1) // 2), dilation * (size - 1) + 1, stride or size
        before, both = (centre, reach - 1) if isinstance(padding, str) else (padding, 2 * padding)
        outputs = (extent + both - reach) // step + 1
        if outputs < 1:
            raise ArchitectureError(
                kind, f"the kernel {kernel} is larger than a map of {locations} locations", "pad it, or shrink it"
            )
        ranges.append(range(centre - before, centre - before + outputs * step, step))
    return tuple(ranges)
