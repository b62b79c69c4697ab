"""Persistent sets of non-negative integers: unions share what they have in common.

A set is None (empty), an int (one element) or a branch (prefix, bit, low, high): the elements agree with ``prefix``
above ``bit``, and ``low`` holds those without the bit, ``high`` those with it (Okasaki and Gill, "Fast mergeable
integer maps", 1998). The union of a large and a small set costs the small one's size times the number of bits, in time
and in new memory, so the sets along a residual network take linear space. Recursion is as deep as there are bits.
"""

from __future__ import annotations

from typing import TypeAlias

IntSet: TypeAlias = "int | tuple[int, int, IntSet, IntSet] | None"


def union(a: IntSet, b: IntSet) -> IntSet:
    """The elements of either."""
    if a is None or a is b:
        return b
    if b is None:
        return a
    if isinstance(a, int) and isinstance(b, int):
        return a if a == b else _joined(a, a, b, b)
    if isinstance(a, int) or (not isinstance(b, int) and a[1] < b[1]):
        a, b = b, a
    assert isinstance(a, tuple)
    prefix, bit, low, high = a
    element = b if isinstance(b, int) else b[0]
    if (element ^ prefix) >> (bit + 1):
        return _joined(prefix, a, element, b)
    if not isinstance(b, int) and b[1] == bit:
        return (prefix, bit, union(low, b[2]), union(high, b[3]))
    if element >> bit & 1:
        return (prefix, bit, low, union(high, b))
    return (prefix, bit, union(low, b), high)


def _joined(p: int, a: IntSet, q: int, b: IntSet) -> IntSet:
    """Two sets whose prefixes differ."""
    bit = (p ^ q).bit_length() - 1
    return (p >> (bit + 1) << (bit + 1), bit, b, a) if p >> bit & 1 else (p >> (bit + 1) << (bit + 1), bit, a, b)


def common(a: IntSet, b: IntSet) -> int | None:
    """An element of both, or None."""
    if a is None or b is None:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a if a == b else None
    if isinstance(a, int) or (not isinstance(b, int) and a[1] < b[1]):
        a, b = b, a
    assert isinstance(a, tuple)
    prefix, bit, low, high = a
    element = b if isinstance(b, int) else b[0]
    if (element ^ prefix) >> (bit + 1):
        return None
    if not isinstance(b, int) and b[1] == bit:
        shared = common(low, b[2])
        return common(high, b[3]) if shared is None else shared
    return common(high if element >> bit & 1 else low, b)
