"""Joint diagonalization of statistics between several spaces, with degenerate singular values (NRR (7)-(8)).

Given matrices A_k from space b_k to space a_k, orthonormal vectors r_(a, mode) are sought such that each A_k takes
r_(b, mode) to a multiple of r_(a, mode). If they exist, the symmetric matrices A A^T, A^T A, A B^T + B A^T, ... that
loops of A's make in one space commute and have the r as eigenvectors: those of a generic combination L, up to rotations
within an eigenspace, which no loop tells apart. A's are multiples of isometries there, so vectors chosen in one space
are carried to the others by the A's themselves, and equal singular values do no harm.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = tuple[Hashable, Hashable, Array]
"""Row space, column space and the matrix."""

_SMALL = 1e-8


def joint_bases(statistics: Sequence[Statistic]) -> dict[Hashable, Array]:
    """For each space a matrix [channels, modes]: a unit vector for each mode, a zero column where a mode is absent.

    Modes that link no two spaces are left out. Where the statistics are not jointly diagonalizable the vectors are
    orthonormal all the same; `off_diagonal` tells how far they are from diagonalizing.
    """
    random = np.random.default_rng(0)
    sizes: dict[Hashable, int] = {}
    for a, b, matrix in statistics:
        sizes[a], sizes[b] = matrix.shape
    generic: dict[tuple[Hashable, Hashable], Array] = {}
    for a, b, matrix in statistics:
        norm = np.linalg.norm(matrix)
        if norm > 0:
            generic[a, b] = generic.get((a, b), 0) + random.uniform(0.5, 1.5) * matrix / norm
            if a != b:
                generic[b, a] = generic[a, b].T
    loops = _loops(generic, sizes, random)
    columns: dict[Hashable, list[tuple[int, Array]]] = {space: [] for space in sizes}
    labels = 0
    # The narrowest space first: it has the fewest vectors without a partner.
    for space in sorted(sizes, key=lambda s: sizes[s]):
        for vector in _eigenvectors(loops[space], [v for _, v in columns[space]]):
            if _insert(columns, space, labels, vector) is not None:
                _carry(columns, generic, space, labels, vector)
                labels += 1
    linked = [m for m in range(labels) if sum(any(label == m for label, _ in found) for found in columns.values()) > 1]
    bases = {}
    for space, size in sizes.items():
        basis = np.zeros((size, len(linked)))
        for label, vector in columns[space]:
            if label in linked:
                basis[:, linked.index(label)] = vector
        bases[space] = basis
    strength = np.zeros(len(linked))
    for a, b, matrix in statistics:
        if a != b:
            strength += np.abs(np.einsum("im,ij,jm->m", bases[a], matrix, bases[b]))
    order = np.argsort(-strength, kind="stable")
    return {space: basis[:, order] for space, basis in bases.items()}


def off_diagonal(statistics: Sequence[Statistic], bases: dict[Hashable, Array]) -> float:
    """The largest share of a statistic that its bases leave off the diagonal, in Frobenius norm.

    All of the statistic counts, so what links a mode to a direction without one is off the diagonal too; within a space
    the directions without a mode may have any moment.
    """
    worst = 0.0
    for a, b, matrix in statistics:
        norm = float(np.linalg.norm(matrix))
        if norm == 0:
            continue
        left, right = completed(bases[a]), completed(bases[b])
        turned = left.T @ matrix @ right
        modes = bases[a].shape[1]
        rows, cols = (np.flatnonzero(np.any(bases[s] != 0, axis=0)) for s in (a, b))
        rest = turned.copy()
        position = {int(m): k for k, m in enumerate(cols)}
        for k, m in enumerate(rows):
            if int(m) in position:
                rest[k, position[int(m)]] = 0
        if a == b:
            rest[len(rows) :, len(cols) :] = 0
        assert modes >= max(len(rows), len(cols))
        worst = max(worst, float(np.linalg.norm(rest)) / norm)
    return worst


def completed(basis: Array) -> Array:
    """The modes that are there, and an orthonormal basis of what is orthogonal to them."""
    present = basis[:, np.any(basis != 0, axis=0)]
    full, _ = np.linalg.qr(np.concatenate([present, np.eye(len(basis))], axis=1))
    full[:, : present.shape[1]] = present
    return full[:, : len(basis)]


def _loops(
    generic: dict[tuple[Hashable, Hashable], Array], sizes: dict[Hashable, int], random: np.random.Generator
) -> dict[Hashable, Array]:
    """A generic symmetric combination of loops at each space; each round lengthens them by a step there and back."""
    loops = {space: np.zeros((size, size)) for space, size in sizes.items()}
    for _ in range(len(sizes) + 1):
        longer = {space: loop.copy() for space, loop in loops.items()}
        for (a, b), matrix in generic.items():
            step = (matrix + matrix.T) / 2 if a == b else matrix @ matrix.T + matrix @ loops[b] @ matrix.T
            longer[a] += random.uniform(0.5, 1.5) * step
        loops = {space: loop / max(float(np.linalg.norm(loop)), 1e-300) for space, loop in longer.items()}
    return loops


def _eigenvectors(loop: Array, known: list[Array]) -> list[Array]:
    """Eigenvectors of the loop on what is orthogonal to the known vectors, largest eigenvalue first."""
    rest = np.eye(len(loop))
    if known:
        full, _ = np.linalg.qr(np.concatenate([np.stack(known, axis=1), rest], axis=1))
        rest = full[:, len(known) : len(loop)]
    _, vectors = np.linalg.eigh(rest.T @ loop @ rest)
    return [rest @ vector for vector in vectors.T[::-1]]


def _insert(
    columns: dict[Hashable, list[tuple[int, Array]]], space: Hashable, label: int, vector: Array
) -> Array | None:
    """Add a vector to a space, made orthogonal to those there; None if little is left or the mode has one already."""
    found = columns[space]
    if any(known == label for known, _ in found) or len(found) == len(vector):
        return None
    norm = np.linalg.norm(vector)
    for _ in range(2):
        for _, other in found:
            vector = vector - other * (other @ vector)
    left = np.linalg.norm(vector)
    if left < 0.5 * norm:
        return None
    found.append((label, vector / left))
    return vector / left


def _carry(
    columns: dict[Hashable, list[tuple[int, Array]]], generic: dict[tuple[Hashable, Hashable], Array],
    space: Hashable, label: int, vector: Array,
) -> None:  # fmt: skip
    """Carry a mode's vector from a space to all others that statistics link it to."""
    waiting = [(space, vector)]
    while waiting:
        here, vector = waiting.pop()
        for (a, b), matrix in generic.items():
            if b != here or a == here:
                continue
            image = matrix @ vector
            if np.linalg.norm(image) > _SMALL * np.linalg.norm(matrix, 2):
                added = _insert(columns, a, label, image)
                if added is not None:
                    waiting.append((a, added))
