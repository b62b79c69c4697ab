"""Randomness that is always given: a seed or a generator, never torch's global state."""

from __future__ import annotations

import torch

from qcmap.errors import ArgumentError


def generator_from(seed: int, generator: torch.Generator | None = None) -> torch.Generator:
    """The generator itself if there is one, else a new one on the CPU with the seed.

    Raises
    ------
    ArgumentError
        For a seed that is not an integer in [0, 2^63), or a generator that is none.
    """
    if generator is not None:
        if not isinstance(generator, torch.Generator):
            what = f"it must be a torch.Generator, not {type(generator).__name__}"
            raise ArgumentError("generator", what, "give torch.Generator().manual_seed(...), or a seed instead")
        return generator
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ArgumentError("seed", f"a seed is an integer in [0, 2^63), not {seed!r}", "give such an integer")
    return torch.Generator().manual_seed(seed)
