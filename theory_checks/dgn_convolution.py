"""Circular convolutions and global average pooling: Deep Gated Networks, section 4."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

import qcmap as qc
from qcmap.paths import count_paths, expected_kernels
from theory_checks.path_networks import Array, signs
from theory_checks.registry import Outcome, Tally, checks


@dataclass(frozen=True, eq=False)
class Ring:
    """One channel on a circle: inputs [n, places], gates [n, places] of each layer, windows of so many taps."""

    x: Array
    gates: tuple[Array, ...]
    taps: int

    @classmethod
    def random(cls, seed: int, places: int, taps: int, layers: int, examples: int = 2) -> Ring:
        """Inputs near 1, gates that are on with probability 0.7."""
        random = np.random.default_rng(seed)
        gates = tuple(1.0 * (random.random((examples, places)) < 0.7) for _ in range(layers))
        return cls(random.standard_normal((examples, places)), gates, taps)

    @property
    def places(self) -> int:
        """d_in."""
        return self.x.shape[1]

    @property
    def arch(self) -> qc.Architecture:
        """The same network as an architecture."""
        b = qc.Builder("ring")
        h = b.input("x", 1, locations=(self.places,))
        for k in range(len(self.gates)):
            h = b.affine(h, 1, kernel=(self.taps,), border="circular", name=f"conv{k}")
            h = b.activation(h, "relu", name=f"act{k}")
        return b.build([b.mean_pool(h)])

    @property
    def named_gates(self) -> dict[str, Array]:
        """Gates as qcmap takes them."""
        return {f"act{k}": gate[:, None] for k, gate in enumerate(self.gates)}

    def read(self, place: int, tap: int) -> int:
        """The location that a tap of a window reads."""
        return (place + tap - (self.taps - 1) // 2) % self.places

    def outputs(self, flat: Array) -> Array:
        """y [n] for weights [layers * taps]."""
        z = self.x
        for weights, gate in zip(flat.reshape(len(self.gates), self.taps), self.gates, strict=True):
            reads = [[self.read(at, tap) for at in range(self.places)] for tap in range(self.taps)]
            z = sum(w * z[:, at] for w, at in zip(weights, reads, strict=True)) * gate
        return z.mean(axis=1)

    def bundles(self) -> list[Array]:
        """For each choice of a tap in every layer, the features [n, places] of its paths, one from each end."""
        found = []
        for taps in product(range(self.taps), repeat=len(self.gates)):
            ends = []
            for end in range(self.places):
                place, active = end, np.ones(len(self.x))
                for gate, tap in zip(reversed(self.gates), taps, strict=True):
                    active, place = active * gate[:, place], self.read(place, tap)
                ends.append(self.x[:, place] * active)
            found.append(np.stack(ends, axis=1))
        return found

    def turned(self, by: int) -> Ring:
        """Inputs and gates turned round."""
        return Ring(np.roll(self.x, by, axis=1), tuple(np.roll(g, by, axis=1) for g in self.gates), self.taps)

    def beside(self, other: Ring) -> Ring:
        """The examples of both."""
        gates = zip(self.gates, other.gates, strict=True)
        return Ring(np.concatenate([self.x, other.x]), tuple(np.concatenate(pair) for pair in gates), self.taps)


RINGS = ((3, 2, 3), (4, 3, 2), (5, 2, 4), (4, 1, 3))
"""Places, taps and layers; the first is that of Fig. 9."""


@checks(
    "dgn-11",
    part="bundles",
    source="DGN 4, Fig. 9",
    claim="d - 1 circular layers have d_in w_hat^(d-1) paths, in w_hat^(d-1) bundles of d_in with one strength",
    subject=lambda places, taps, layers: (places * taps**layers, taps**layers),
    broken=lambda places, taps, layers: (places * taps**layers, places * taps ** (layers - 1)),
)
def bundles(subject: Callable[[int, int, int], tuple[int, int]], effort: int) -> Outcome:
    """By qcmap's count, and by listing."""
    tally = Tally()
    for places, taps, layers in RINGS:
        ring = Ring.random(0, places, taps, layers)
        paths, strengths = subject(places, taps, layers)
        found = ring.bundles()
        tally.add(count_paths(ring.arch) - paths, 0.5, f"{places}, {taps}, {layers}: {count_paths(ring.arch)} paths")
        tally.add(len(found) - strengths, 0.5, f"{places}, {taps}, {layers}: {len(found)} strengths, not {strengths}")
    return tally.outcome()


@checks(
    "dgn-11",
    part="mean",
    source="DGN Lemma 4.1, 8.2",
    claim="E y y' = sigma^(2(d-1)) / d_in^2 times the sum over bundles of all pairs of paths in one",
    subject=lambda bundle: np.outer(bundle.sum(axis=1), bundle.sum(axis=1)),
    broken=lambda bundle: bundle @ bundle.T,
)
def mean_product(subject: Callable[[Array], Array], effort: int) -> Outcome:
    """Against all sign patterns of the shared weights, and qcmap's walk over pairs of locations."""
    tally, sigma = Tally(), 0.8
    for seed, (places, taps, layers) in enumerate(RINGS[: 3 + effort]):
        ring = Ring.random(seed, places, taps, layers)
        total = sum(subject(bundle) for bundle in ring.bundles())
        found = sigma ** (2 * layers) / places**2 * np.asarray(total)
        every = [ring.outputs(sigma * row) for row in signs(layers * taps)]
        ours = expected_kernels(ring.arch, ring.named_gates, ring.x[:, None], sigma).outputs
        for name, want in (("all signs", np.einsum("ks,kt->st", every, every) / len(every)), ("qcmap", ours)):
            witness = f"{places} places, {taps} taps, {layers} layers: E y y' ({name}) is {want[0, 1]:.8g}"
            tally.add(np.abs(found - want).max(), 1e-12, f"{witness}, not {found[0, 1]:.8g}")
    return tally.outcome()


@checks(
    "dgn-11",
    part="translation",
    source="DGN 4, Lemma 4.1",
    claim="Turning an input and its gates round changes neither E y y' nor, with it, the expected tangent kernel",
    subject=lambda ring, by: ring.turned(by),
    broken=lambda ring, by: Ring(np.roll(ring.x, by, axis=1), ring.gates, ring.taps),
)
def translation(subject: Callable[[Ring, int], Ring], effort: int) -> Outcome:
    """Kernels of the first example as it is and turned, with all others."""
    tally = Tally()
    for seed, (places, taps, layers) in enumerate(RINGS):
        ring = Ring.random(10 + seed, places, taps, layers, examples=3)
        for by in range(1, places):
            both = ring.beside(subject(ring, by))
            kernels = expected_kernels(both.arch, both.named_gates, both.x[:, None], 0.8)
            for name, matrix in (("E y y'", kernels.outputs), ("E K", kernels.tangent)):
                gap = float(np.abs(matrix[:3, :3] - matrix[3:, :3]).max())
                tally.add(gap, 1e-12, f"{places} places turned by {by}: {name} changes by {gap:.3g}")
    return tally.outcome()
