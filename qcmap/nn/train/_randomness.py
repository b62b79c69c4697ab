"""Randomness that depends on a seed and a place alone, and torch's global generators lent and given back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derived_seed(*words: object) -> int:
    """A seed in [0, 2^63) that depends on all of the words and looks random."""
    return int.from_bytes(hashlib.blake2b(repr(words).encode(), digest_size=8).digest(), "big") >> 1


def seed_everything(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of the device, which dropout draws from."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Give torch's global generators their states back at the end."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
