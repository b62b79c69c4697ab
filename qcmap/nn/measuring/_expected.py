"""What maps predict at each node, and how far networks of finite width depart from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qcmap.architecture import Affine, Architecture
from qcmap.errors import DataError, NumericalError
from qcmap.nn.measuring._places import Indices, Places, same_extent, starts
from qcmap.nn.measuring._statistics import Pairs, Values, all_values, departures, values
from qcmap.numeric import NetworkMaps, PairValues, Shaping, sampled_networks

Array = NDArray[np.float64]
_UNIFORM = 1e-5
_NULL_LOCATIONS = 2


def uniform(q: Array) -> bool:
    """Whether q values are equal, up to the rounding of the samples' dtype."""
    return bool(np.isfinite(q).all() and np.ptp(q) <= _UNIFORM * q.mean())


@dataclass
class Seen:
    """Takes the q and c values of each node, and the feature maps of those where predictions start."""

    places: Places
    chosen: Mapping[str, Indices]
    pairs: Pairs
    values: dict[str, Values] = field(default_factory=dict)
    maps: dict[str, Array] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    epsilons: dict[str, float] = field(default_factory=dict)

    def __call__(self, node: str, z: Tensor) -> None:
        """Take a feature map [samples, channels, *locations]."""
        known = self.places.arch.channels[node]
        if isinstance(known, int) and known != z.shape[1]:
            raise DataError(
                node,
                f"it has {z.shape[1]} channels where the architecture has {known}",
                "give the model's architecture",
            )
        same_extent(node, tuple(z.shape[2:]), self.places.extent[node])
        flat = z.detach().reshape(*z.shape[:2], -1)[:, :, torch.as_tensor(self.chosen[node], device=z.device)]
        array = flat.to("cpu", torch.float64).numpy()
        self.values[node], self.channels[node] = values(node, array, self.pairs), z.shape[1]
        if node in self.places.cut.inputs:
            self.maps[node] = array


def predictions(seen: Seen, maps: NetworkMaps) -> dict[str, Values]:
    """Predicted values of all nodes at the chosen locations, for all samples and pairs; ``maps`` are of the cut graph.

    Raises
    ------
    DataError
        If a node where predictions start anew was not seen.
    """
    places, chosen, (first, second) = seen.places, seen.chosen, seen.pairs
    singles, couples = {}, {}
    for name in places.cut.inputs:
        if name not in seen.values:
            raise DataError(
                name, "it mixes locations and is not seen, so nothing after it can be predicted",
                "make it a module whose path is its id",
            )  # fmt: skip
        q, c = seen.values[name]
        if uniform(q):
            q = np.full_like(q, q.mean())  # one C map serves all pairs
        mean = seen.maps[name].mean(axis=1)
        singles[name] = PairValues(np.ones_like(q), q, q, mean, mean)
        q1 = q[first]
        q2 = q1 if uniform(q) else q[second]
        couples[name] = PairValues(c, q1, q2, mean[first], mean[second])
    kept = places.kept(chosen)
    q_values = maps.propagate_q_from(singles, kept, seen.epsilons)
    pair_values = maps.propagate_from(couples, kept, seen.epsilons)
    samples = len(next(iter(singles.values())).q1)
    found: dict[str, Values] = {}
    for node in places.arch.nodes:
        if starts(node):
            found[node.id] = _as_identity(places, chosen, node.inputs[0], node.id, found[node.inputs[0]])
        else:
            count = len(chosen[node.id])
            q, c = q_values[node.id], pair_values[node.id].c
            found[node.id] = Values(np.broadcast_to(q, (samples, count)), np.broadcast_to(c, (len(first), count)))
    return found


def _as_identity(places: Places, chosen: Mapping[str, Indices], before: str, node: str, predicted: Values) -> Values:
    """What pooling as the identity predicts: the values in the middle of each window, or the mean over all."""
    window = places.window(places.arch[node], chosen[node])
    if window is None:
        return Values(*(v.mean(axis=1, keepdims=True) for v in predicted))
    at = np.searchsorted(chosen[before], window)
    return Values(*(v[:, at] for v in predicted))


def scatter(
    seen: Seen,
    predicted: Mapping[str, Values],
    few: Indices,
    *,
    networks: int,
    weights: Literal["gaussian", "orthogonal"],
    shaping: Shaping | None,
    random: np.random.Generator,
) -> dict[str, Array]:
    """For each node the root mean squares of the departures of random networks of these widths, [3].

    They see ``few`` of the samples at two locations; the last pairs that were seen are those of these samples.

    Raises
    ------
    NumericalError
        If such a network has a zero vector.
    """
    places = seen.places
    fewer = places.chosen(_NULL_LOCATIONS, random, seen.chosen)
    at = {name: np.searchsorted(seen.chosen[name], fewer[name]) for name in fewer}
    inputs = {name: z[few][:, :, at[name]].transpose(1, 0, 2) for name, z in seen.maps.items()}
    pairs = np.triu_indices(len(few), 1)
    wanted = {name: Values(v.q[few][:, at[name]], v.c[-len(pairs[0]) :][:, at[name]]) for name, v in predicted.items()}
    sampled = sampled_networks(
        _with_channels(seen), inputs, networks=networks, weights=weights, shaping=shaping, kept=places.kept(fewer),
        epsilons=seen.epsilons, seed=int(random.integers(2**62)),
    )  # fmt: skip
    found = [{name: all_values(z) for name, z in maps.items()} for maps in sampled]
    spread = {}
    for name, expected in wanted.items():
        drawn = Values(*(np.stack(parts) for parts in zip(*(values_of[name] for values_of in found), strict=True)))
        if not np.isfinite(drawn.c).all():
            what = "a random network of its width has a zero vector, whose c values are 0/0"
            raise NumericalError(name, what, "use a wider network, or networks=0")
        spread[name] = np.sqrt(np.square(departures(drawn, expected)).mean(axis=1))
    return spread


def _with_channels(seen: Seen) -> Architecture:
    """The cut graph with the channels that were seen."""
    cut = seen.places.cut
    nodes = []
    for node in cut.nodes:
        op = node.op
        if isinstance(op, Affine):
            node = replace(node, op=replace(op, channels=seen.channels.get(node.id, op.channels)))
        nodes.append(node)
    return Architecture(cut.name, tuple(nodes), cut.outputs)
