"""Empirical q and c values at the nodes of a torch model, beside those that its architecture predicts."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from qcmap.architecture import Architecture, Input, Node
from qcmap.errors import ArgumentError
from qcmap.nn._modes import running
from qcmap.nn._random import generator_from
from qcmap.nn.measuring._epsilons import epsilons
from qcmap.nn.measuring._expected import Seen, predictions, scatter, uniform
from qcmap.nn.measuring._places import Places, starts
from qcmap.nn.measuring._record import Recorder, inputs_of
from qcmap.nn.measuring._results import Measurement, NodeMeasurement
from qcmap.nn.measuring._statistics import Departures, Pairs, Values, departures
from qcmap.nn.shaping import ShapedModel
from qcmap.nn.tracing import traced
from qcmap.numeric import NetworkMaps, Shaping, network_maps

_FEW = 8


def measure(
    model: nn.Module,
    x: Tensor | tuple[Tensor, ...] | dict[str, Tensor],
    *,
    architecture: Architecture | None = None,
    maps: NetworkMaps | None = None,
    shaping: Shaping | None = None,
    pairs: int = 64,
    locations: int | None = None,
    networks: int = 32,
    weights: Literal["gaussian", "orthogonal"] = "gaussian",
    false_alarm: float = 0.01,
    seed: int = 0,
) -> Measurement:
    """Run a model once and compare q and c values at its nodes with the predicted ones.

    A feature map z is [N, C] or [N, C, *locations]. Its q value at a sample and a location is ||z||^2 / C, its c value
    for two samples is <z, z'> / (||z|| ||z'||) at equal locations (DKS, section 5). Predictions start from the values
    measured at the inputs, and anew at pooling nodes, which the maps treat as the identity; each location is compared
    with the prediction from the input location that it stands for. The model runs in evaluation mode without gradients;
    hooks are removed and training flags restored whatever happens.

    Networks of finite width scatter around the prediction. ``networks`` random networks of the same wiring and widths
    are sampled (`qcmap.numeric.sampled_networks`) on a few of the samples and locations, and each node's departures are
    divided by theirs (docs/measuring.md): beyond `Measurement.threshold` the node disagrees.

    Parameters
    ----------
    model
        The model. Without a graph it is traced (`traced`), and every node is measured, as of a `GraphNetwork`. With a
        graph of another origin the modules whose path is a node id are measured, and the others are ``unmeasured``.
    x
        At least two samples, [N, C] or [N, C, *locations], [N, *locations, C] before a Linear layer; with several
        inputs one tensor each, in their order or by node id. Moved to the model's device.
    architecture
        Its graph; by default that of ``maps``, or ``model.architecture``, or else the traced one.
    maps
        Predict the values; by default the network maps of the architecture under ``model.shaping``, if there is one.
    shaping
        The transforms that the predictions are for, where neither ``maps`` nor the model says it.
    pairs
        How many distinct pairs of samples to draw, at most; all N(N-1)/2 if there are no more.
    locations
        How many locations to look at in each feature map, at least, if there are so many. By default 64, but 2 where
        q values differ (inputs that are not normalised, pooling): maps then take milliseconds for each pair, location
        and layer.
    networks
        How many networks to sample; 0 leaves out the comparison with them, and nothing is said to disagree.
    weights
        How the model's weights are distributed: Gaussian ones scatter more than orthogonal ones.
    false_alarm
        The probability with which a network that the maps describe has a disagreeing node, at most.
    seed
        Of all draws.

    Raises
    ------
    ArgumentError
        For a graph with no measurable node, or arguments out of range.
    DataError
        Naming the node: values that are not finite, a zero vector (its c value is 0/0), locations that are not those
        of the graph, a pooling node that is not measured, a module that runs twice or never. For ``x`` of the wrong
        shape or dtype.
    ArchitectureError, TraceError
        For a graph that has no maps, a model that cannot be traced.
    """
    graph = architecture or (None if maps is None else maps.architecture) or getattr(model, "architecture", None)
    found = model.traced if isinstance(model, ShapedModel) and graph is model.architecture else None
    if graph is None:
        found = traced(model, x)
        graph = found.architecture
    if shaping is None:
        shaping = getattr(model, "shaping", None) if maps is None else maps.shaping
    _check(pairs, locations, networks, false_alarm)
    generator_from(seed)
    random = np.random.default_rng(seed)
    recorder, inputs = Recorder(model, graph, found), inputs_of(graph, x)
    extents = {name: tuple(recorder.channels_first(name, z, len(z)).shape[2:]) for name, z in inputs.items()}
    places = Places(graph, extents)
    chosen = places.chosen(locations or (64 if _uniform(places, inputs, recorder) else 2), random)
    samples = len(next(iter(inputs.values())))
    drawn, few = _drawn_pairs(samples, pairs, random), random.permutation(samples)[:_FEW]
    start, finish = np.triu_indices(len(few), 1)
    # The pairs of a few samples come last: sampled networks see only these.
    seen = Seen(places, chosen, (np.concatenate([drawn[0], few[start]]), np.concatenate([drawn[1], few[finish]])))
    seen.epsilons = epsilons(recorder, next(iter(inputs.values())).dtype)
    with running(model, "x"):
        recorder.run(inputs, seen)
    predicted = predictions(seen, network_maps(places.cut, shaping))
    errors: dict[str, Departures] = {}
    if networks:
        spread = scatter(seen, predicted, few, networks=networks, weights=weights, shaping=shaping, random=random)
        # Weights may have been rounded to float32 once, whatever their dtype is now.
        rounding = 4 * max(torch.finfo(z.dtype).eps for z in (*inputs.values(), torch.empty(0, dtype=torch.float32)))
        for k, node in enumerate(graph.nodes, start=1):
            errors[node.id] = Departures(*np.hypot(spread[node.id], rounding * math.sqrt(k)).tolist())
    count = len(drawn[0])
    rows = tuple(
        _row(node, _first(seen.values[node.id], count), _first(predicted[node.id], count), errors.get(node.id))
        for node in graph.nodes
        if node.id in seen.values
    )
    unmeasured = tuple(node.id for node in graph.nodes if node.id not in seen.values)
    return Measurement(rows, samples, count, networks, false_alarm, unmeasured)


def _check(pairs: object, locations: object, networks: object, false_alarm: object) -> None:
    for name, value, least in (("pairs", pairs, 1), ("locations", locations, 1), ("networks", networks, 0)):
        if value is None and name == "locations":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            what = "a positive integer" if least else "an integer of at least 0"
            raise ArgumentError(name, f"it must be {what}, not {value!r}", f"give {least} or more")
    if networks in (1, 2, 3):
        raise ArgumentError("networks", f"{networks} do not show how far networks scatter", "give 8 or more, or 0")
    if isinstance(false_alarm, bool) or not isinstance(false_alarm, (int, float)) or not 0 < false_alarm < 1:
        raise ArgumentError("false_alarm", f"it is a probability, not {false_alarm!r}", "give one such as 0.01")


def _drawn_pairs(samples: int, pairs: int, random: np.random.Generator) -> Pairs:
    """Indices of the two samples of each pair, drawn without repetition from all pairs i < j."""
    count = samples * (samples - 1) // 2
    chosen = random.choice(count, min(pairs, count), replace=False)
    # Pair number j(j-1)/2 + i stands for i < j; isqrt inverts the triangular numbers without rounding.
    larger = [(1 + math.isqrt(1 + 8 * int(number))) // 2 for number in chosen]
    smaller = [int(number) - j * (j - 1) // 2 for number, j in zip(chosen, larger, strict=True)]
    return np.array(smaller), np.array(larger)


def _uniform(places: Places, inputs: dict[str, Tensor], recorder: Recorder) -> bool:
    """Whether all q values at which predictions start are the same: normalised inputs, no pooling."""
    if any(map(starts, places.arch.nodes)):
        return False
    for name, z in inputs.items():
        q = recorder.channels_first(name, z, len(z)).detach().double().square().mean(1)
        if not uniform(q.cpu().numpy()):
            return False
    return True


def _first(v: Values, count: int) -> Values:
    return Values(v.q, v.c[:count])


def _row(node: Node, measured: Values, predicted: Values, errors: Departures | None) -> NodeMeasurement:
    judged = not (isinstance(node.op, Input) or starts(node))
    per_sample = measured.q.mean(axis=1)
    return NodeMeasurement(
        node.id,
        node.op.kind,
        q_mean=float(per_sample.mean()),
        q_standard_error=float(per_sample.std(ddof=1) / math.sqrt(len(per_sample))),
        q_predicted=float(predicted.q.mean()),
        c_deviation=float(np.abs(measured.c - predicted.c).mean()),
        q_measured=measured.q,
        c_measured=measured.c,
        c_predicted=predicted.c,
        departures=Departures(*map(float, departures(measured, predicted))),
        judged=judged,
        errors=errors if judged else None,
    )
