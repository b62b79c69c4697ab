"""Persistent sets of integers against Python's sets: elements, sharing and memory."""

import random

from hypothesis import given
from hypothesis import strategies as st

from qcmap.architecture._sets import common, union

NUMBERS = st.integers(0, 40) | st.integers(0, 2**40)


def made(elements):
    result = None
    for element in elements:
        result = union(result, element)
    return result


def elements(a):
    """The elements, in order, by walking the branches."""
    found, stack = [], [a]
    while stack:
        top = stack.pop()
        if isinstance(top, int):
            found.append(top)
        elif top is not None:
            stack.extend((top[3], top[2]))
    return found


def branches(*sets):
    """How many different branches (tuples) these sets are stored in, together."""
    seen, stack = set(), list(sets)
    while stack:
        top = stack.pop()
        if isinstance(top, tuple) and id(top) not in seen:
            seen.add(id(top))
            stack.extend(top[2:])
    return len(seen)


def valid(a):
    """Raise unless prefixes, bits and subsets are as the module says."""
    if isinstance(a, tuple):
        prefix, bit, low, high = a
        assert low is not None
        assert high is not None
        assert prefix & ((2 << bit) - 1) == 0
        for part, value in ((low, 0), (high, 1)):
            assert all((e >> bit) & 1 == value and (e ^ prefix) >> (bit + 1) == 0 for e in elements(part))
            valid(part)


@given(a=st.lists(NUMBERS), b=st.lists(NUMBERS), c=st.lists(NUMBERS))
def test_against_python_sets(a, b, c):
    first, second = made(a), made(b)
    both = union(first, second)
    valid(both)
    assert elements(both) == sorted({*a, *b})
    assert elements(first) == sorted({*a})  # the arguments stay
    shared = common(first, second)
    assert (shared is None) == (not {*a} & {*b})
    assert shared is None or shared in {*a} & {*b}
    # One set has one form, however it came about.
    assert union(second, first) == both == made([*b, *a])
    assert union(union(first, second), made(c)) == union(first, union(second, made(c)))


@given(a=st.lists(NUMBERS), b=st.lists(NUMBERS), c=st.lists(NUMBERS))
def test_sets_that_share_structure(a, b, c):
    root = made(a)
    left, right = union(root, made(b)), union(root, made(c))
    assert elements(union(left, right)) == sorted({*a, *b, *c})
    assert (common(left, right) is None) == (not {*a, *b} & {*a, *c})
    assert union(left, left) is left


def test_the_empty_set():
    assert union(None, None) is None
    assert union(None, 3) == union(3, None) == union(3, 3) == 3
    assert common(None, 3) is common(3, None) is common(None, None) is None
    assert common(3, 3) == 3
    assert common(0, 0) == 0  # an element, though it is false


def test_large_random_sets():
    rng = random.Random(0)
    for bits in (12, 17, 30, 62):
        a, b = ({rng.getrandbits(bits) for _ in range(size)} for size in (20_000, 5_000))
        x, y = made(a), made(b)
        assert elements(union(x, y)) == sorted(a | b)
        assert elements(union(y, x)) == sorted(a | b)
        shared = common(x, y)
        assert shared in a & b if a & b else shared is None
        # Disjoint by construction, interleaved all over.
        assert common(made(2 * e for e in a), made(2 * e + 1 for e in b)) is None


def test_a_history_of_100_000_unions_takes_linear_memory():
    """Every prefix of a growing set is kept, as along a residual network; each step may add a branch for each bit."""
    count, history, grown = 100_000, [], None
    for k in range(count):
        grown = union(grown, k)
        history.append(grown)
        assert common(grown, k) == k
    assert common(grown, union(count, count + 7)) is None
    assert common(history[count // 2], count // 2 + 1) is None
    # Only the path to the new element is new: at most 17 branches for 17 bits.
    assert branches(*history) <= 17 * count
    assert branches(grown) == count - 1
    assert elements(grown) == list(range(count))


def test_a_small_set_costs_its_own_size_and_not_the_large_one():
    large = made(range(0, 2**17, 2))
    small = made([1, 5, 2**16 + 1])
    both = union(large, small)
    assert branches(large, both) - branches(large) <= 3 * 18
    assert branches(large, union(small, large)) - branches(large) <= 3 * 18


def test_the_union_with_a_part_of_itself_is_built_along_one_path():
    large = made(range(2**12))
    assert union(large, 77) == large
    assert branches(large, union(large, 77)) - branches(large) <= 12
