"""One call from a torch model to the shaped model, or to the exact reason why not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

from qcmap.architecture import Architecture, Violation
from qcmap.errors import ArgumentError
from qcmap.nn._random import generator_from
from qcmap.nn.shaping._branches import ResidualWeight, check_residual_weight
from qcmap.nn.shaping._changes import Change
from qcmap.nn.shaping._draft import BatchNorms, Pooling, Scalars, drafted
from qcmap.nn.shaping._model import Made, ShapedModel
from qcmap.nn.shaping._surgery import carried_out
from qcmap.nn.tracing import traced
from qcmap.nn.tracing._copy import refuse_names
from qcmap.numeric import Shaping, dks, tat, unit_q

METHODS: dict[str, Callable[..., Shaping]] = {"dks": dks, "tat": tat, "unit_q": unit_q}
"""What solves for the constants, by name."""
_CHOICES = {
    "weights": ("orthogonal", "gaussian"),
    "batch_norm": ("error", "remove", "layer_norm"),
    "pooling": ("keep", "weighted"),
    "scalars": ("error", "remove"),
}


def shape(
    model: nn.Module,
    example_input: Any,
    *,
    zeta: float | None = None,
    method: Literal["dks", "tat", "unit_q"] | Callable[[Architecture], Shaping] = "dks",
    weights: Literal["orthogonal", "gaussian"] = "orthogonal",
    delta: bool = True,
    batch_norm: BatchNorms = "error",
    pooling: Pooling = "keep",
    residual_weight: ResidualWeight = None,
    scalars: Scalars = "error",
    seed: int = 0,
    generator: torch.Generator | None = None,
    **options: Any,
) -> ShapedModel:
    """The model with its kernel shaped: traced, checked, solved, rebuilt and initialised (DKS, section 21.2).

    The model itself is left as it is. Inputs of the shaped model must have q value 1 at every location: normalise them
    with `qcmap.nn.pln`, or put `qcmap.nn.PLN` in front (section 10.2).

    Parameters
    ----------
    model, example_input
        As for `qcmap.nn.trace`: a tensor, a tuple of tensors, or a dictionary of keyword tensors.
    zeta
        The global slope bound of Deep Kernel Shaping, 1.5 if left out.
    method
        ``"dks"``; ``"tat"`` with ``tau=`` or ``eta=``; ``"unit_q"`` for Q(1) = 1 alone; or a function that gives a
        `Shaping` for an architecture.
    weights, delta
        How weights are drawn, see `qcmap.nn.initialize`; biases become zero. Without Delta initialization filters mix
        locations, and the maps are predictions for its Delta counterpart (appendix N.1).
    batch_norm
        ``"remove"`` takes batch norms out and gives biases to the layers before them (section 23.2), ``"layer_norm"``
        puts layer norms over the channels in their places.
    pooling
        ``"weighted"`` makes global mean pooling weighted mean pooling (section 20.1.2).
    residual_weight
        The weights of sums, see `qcmap.nn.shaping.ResidualWeight`.
    scalars
        ``"remove"`` takes multiplications by constants out. Those on a branch of a sum, or right after it, are its
        weights in any case.
    seed, generator
        Where the weights come from; a generator goes before a seed and is advanced.
    options
        Further keyword arguments of the solver: ``psi``, ``tau``, ``eta``, ...

    Raises
    ------
    TraceError
        If the model cannot be read as a graph, naming the module.
    ArchitectureError
        If it breaks a rule of the theory, naming the module, the rule and the option or change that helps.
    Infeasible
        If no transform of an activation meets the conditions.
    ArgumentError
        For an unknown option.
    """
    given = {"weights": weights, "batch_norm": batch_norm, "pooling": pooling, "scalars": scalars}
    for name, value in given.items():
        if value not in _CHOICES[name]:
            listed = " or ".join(map(repr, _CHOICES[name]))
            raise ArgumentError(name, f"there is no choice {value!r}", f"choose {listed}")
    if not isinstance(delta, bool):
        raise ArgumentError("delta", f"it must be True or False, not {delta!r}", "choose one of the two")
    check_residual_weight(residual_weight)
    source = generator_from(seed, generator)
    solve, words = _solver(method, zeta, options)
    found = traced(model, example_input)
    refuse_names(model, ShapedModel)
    draft = drafted(found, batch_norm=batch_norm, pooling=pooling, scalars=scalars, residual_weight=residual_weight)
    shaping = solve(draft.architecture)
    if not isinstance(shaping, Shaping):
        what = f"it gave {type(shaping).__name__} for the architecture, not a Shaping"
        raise ArgumentError("method", what, "return what qcmap.dks or qcmap.tat gives")
    whereabouts, changes = carried_out(found, draft, shaping, weights, delta=delta, generator=source)
    warnings = (*shaping.warnings, *_fan_in(draft.architecture, delta=delta))
    made = Made(whereabouts, shaping, f"{words}: {shaping!r}", (*draft.changes, *changes, *_hooks(model)), warnings)
    shaped = ShapedModel(found.graph_module, found.graph_module.graph, made)
    _set_modes(shaped, model)
    return shaped


def _hooks(model: nn.Module) -> list[Change]:
    """The modules whose hooks the shaped model does not have."""
    kinds = "_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks"
    why = "hooks are no part of the graph; register those that are still wanted on the shaped model"
    return [
        Change(path or "model", "hook", f"{count} {'hook' if count == 1 else 'hooks'}", "none", why)
        for path, module in model.named_modules()
        if (count := sum(len(getattr(module, kind)) for kind in kinds))
    ]


def _set_modes(shaped: nn.Module, model: nn.Module) -> None:
    """Give each module the mode, training or eval, of the one at its path, or of the nearest above it."""
    modes = {path: module.training for path, module in model.named_modules(remove_duplicate=False)}
    for path, module in shaped.named_modules():
        while path not in modes:
            path, _, _ = path.rpartition(".")
        module.training = modes[path]


def _solver(
    method: str | Callable[[Architecture], Shaping], zeta: float | None, options: dict[str, Any]
) -> tuple[Callable[[Architecture], Shaping], str]:
    """What solves for the constants, and its name in words."""
    if callable(method):
        if zeta is not None or options:
            raise ArgumentError("method", "a function gets the architecture alone", "leave zeta and other options out")
        return method, f"shaped by {getattr(method, '__name__', 'a function')}"
    if method not in METHODS:
        raise ArgumentError("method", f"there is no method {method!r}", f"choose one of {', '.join(METHODS)}")
    if method == "dks" and "psi" not in options:
        options = {"zeta": 1.5 if zeta is None else zeta, **options}
    elif zeta is not None:
        raise ArgumentError("zeta", f"the method {method!r} with these options takes no zeta", "leave it out")
    solver = METHODS[method]
    known = list(inspect.signature(solver).parameters)[1:]
    for name in options:
        if name not in known:
            raise ArgumentError(
                name, f"the method {method!r} has no such option", f"its options: {', '.join(known) or 'none'}"
            )
    return lambda arch: solver(arch, **options), f"shaped by {method}"


def _fan_in(arch: Architecture, *, delta: bool) -> list[Violation]:
    """The warnings that filters mix locations, where they are initialised without Delta."""
    if delta:
        return []
    return [
        Violation(
            node.id, "delta-initialization",
            "its filter is initialised over all its taps, so it mixes locations; the maps are those of a Delta filter"
            " (DKS, sections 4.1 and 5.4)",
            "use delta=True", "warning",
        )
        for node in arch.nodes
        if set(getattr(node.op, "kernel", ())) - {1} and node.op.kind == "affine"
    ]  # fmt: skip
