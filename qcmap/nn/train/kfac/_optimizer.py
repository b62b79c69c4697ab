"""K-FAC as an optimiser of torch, with the settings of the paper (DKS, section 27.5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError, NumericalError
from qcmap.nn._modes import device_of, running
from qcmap.nn._random import generator_from
from qcmap.nn.train.kfac._blocks import GROUPS, Group, Names
from qcmap.nn.train.kfac._checks import (
    check_among,
    check_counts,
    check_fractions,
    check_parameters,
    check_positive,
    unwrapped,
)
from qcmap.nn.train.kfac._damping import Damping
from qcmap.nn.train.kfac._losses import LOSSES
from qcmap.nn.train.kfac._measure import (
    CURVLINOPS_FISHER,
    Curvature,
    Fisher,
    Pass,
    curvlinops_operator,
    measure_curvature,
)
from qcmap.nn.train.kfac._processes import average_over_processes, process_rank


class KFAC(torch.optim.Optimizer):
    """Kronecker-factored approximate curvature (Martens and Grosse, 2015) with the settings of DKS, section 27.5.

    Each step is preceded by `update_curvature` with the inputs of the batch::

        optimizer.update_curvature(inputs)
        loss(model(inputs), targets).backward()
        optimizer.step()

    The Fisher matrix F is taken as a block A (x) G for each dense or 2-d convolutional layer (KFAC-expand, weights and
    biases together), averaged with ``decay``; every ``inverse_every`` steps its inverse with damping is computed. A
    step is v <- momentum v + F^-1 gradient; theta <- theta - lr v, shortened where its norm sqrt(lr^2 v^T F v) in the
    damped curvature would exceed ``max_norm``. Trainable parameters without factors (gains of norms, embeddings,
    grouped convolutions, layers called several times) have the diagonal of the Fisher matrix in place of A (x) G;
    `blocks` says which. docs/kfac.md has the derivations.

    The curvature is measured in the mode that the model is in and in the precision of its parameters, float32 at least,
    whatever autocast says. Buffers and torch's global generators are left as they were. In a torch.distributed process
    group it is averaged over the processes, whose batches count alike.

    Parameters
    ----------
    model
        Whose trainable parameters are optimised; wrappers for compilation and data parallelism are looked through.
    lr, momentum
        Of the step; also in ``param_groups``, where schedules change them. The paper searches rates from 1e-7 to 1e-3
        (section 27.4).
    damping, damping_decay, damping_every, least_damping
        lambda = max(least_damping, damping * damping_decay^(step // damping_every)), as of the last inverse.
    decay
        Of the averages of the factors, for each measurement.
    inverse_every, curvature_every
        Steps between inverses and between measurements.
    max_norm
        The largest norm of an update; ``inf`` for none.
    loss
        ``"cross_entropy"`` of outputs [batch, classes, ...], averaged over all but the classes, or ``"squared_error"``,
        half the squared error of outputs [batch, ...], averaged over the batch.
    fisher
        ``"sampled"`` draws one label for each example from the model's distribution; ``"exact"`` takes as many backward
        passes as a term has outputs.
    seed
        Of the sampled labels, an integer in [0, 2^63).

    Raises
    ------
    ArgumentError
        For an argument out of its range, or a model without trainable parameters or with sharded ones.
    MissingExtra
        If curvlinops is not installed.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 1e-4,
        *,
        momentum: float = 0.9,
        damping: float = 1e-3,
        damping_decay: float = 0.98,
        damping_every: int = 50,
        least_damping: float = 1e-6,
        decay: float = 0.99,
        inverse_every: int = 50,
        curvature_every: int = 1,
        max_norm: float = 1e-2,
        loss: str = "cross_entropy",
        fisher: Fisher = "sampled",
        seed: int = 0,
    ) -> None:
        curvlinops_operator()
        check_positive(lr=lr, max_norm=max_norm)
        if lr == math.inf:
            raise ArgumentError("lr", "it must be finite", "give e.g. 1e-4")
        check_counts(inverse_every=inverse_every, curvature_every=curvature_every)
        check_fractions(momentum=momentum, decay=decay)
        check_among("loss", loss, LOSSES)
        check_among("fisher", fisher, CURVLINOPS_FISHER)
        self._model = unwrapped(model)
        self._parameters = {name: p for name, p in self._model.named_parameters() if p.requires_grad}
        check_parameters(self._parameters)
        self._damping = Damping(damping, damping_decay, damping_every, least_damping)
        self._decay, self._max_norm = decay, max_norm
        self._inverse_every, self._curvature_every = inverse_every, curvature_every
        self._loss = LOSSES[loss]
        self._fisher: Fisher = fisher
        self._generator = generator_from(seed)
        self._pass: Pass | None = None
        self._groups: list[Group] = []
        self._steps = 0
        super().__init__(list(self._parameters.values()), {"lr": lr, "momentum": momentum})

    @property
    def blocks(self) -> dict[str, str]:
        """For each trainable parameter the kind of its block, once known: Kronecker or diagonal."""
        return {name: group.kind for group in self._groups for names in group.members for name in names}

    @property
    def damping(self) -> float:
        """The damping that an inverse computed at the coming step has."""
        return self._damping.at(self._steps)

    def update_curvature(self, inputs: Tensor) -> None:
        """Measure the curvature on a batch and count it in the averages; every ``curvature_every`` steps.

        Labels are not needed: they are drawn from the model's own distribution. A part of the batch will do.

        Parameters
        ----------
        inputs
            [batch, ...], as the model takes them.

        Raises
        ------
        DataError
            For an empty batch or one that the model does not run on, outputs that are not one tensor [batch, ...], or
            layers other than at first.
        NumericalError
            If an output of the model or a factor is not finite; the averages are as they were then.
        ArgumentError
            At the first call, for a model in which nothing has Kronecker factors.
        """
        if not isinstance(inputs, Tensor) or inputs.ndim < 2 or len(inputs) == 0:
            raise DataError("inputs", "they must be one tensor [batch, ...] that is not empty", "give a batch")
        if self._groups and self._steps % self._curvature_every:
            return
        inputs = inputs.to(device_of(self._model))
        if self._pass is None:
            with running(self._model, "inputs"):
                self._pass = self._first_pass(inputs)
        labels, signs = (int(torch.randint(2**62, (), generator=self._generator)) for _ in range(2))
        rank = process_rank()
        found = measure_curvature(self._pass, inputs, self._fisher, (labels + rank, signs + rank))
        measured = [_stacked(group, found) for group in self._groups]
        for group, tensors in zip(self._groups, measured, strict=True):
            average_over_processes(tensors)
            group.add(tensors)

    def _first_pass(self, inputs: Tensor) -> Pass:
        """Find the layers and make their groups, unless those came with a loaded state."""
        run = Pass(self._model, self._parameters, self._loss, inputs)
        rows = [("Kronecker", layer.names) for layer in run.layers] + [("diagonal", (name,)) for name in run.others]
        alike: dict[Any, list[Names]] = {}
        for kind, names in rows:
            own = [self._parameters[name] for name in names]
            alike.setdefault((kind, *((p.shape, p.dtype) for p in own)), []).append(names)
        groups = [self._made(kind, members) for (kind, *_), members in alike.items()]
        if self._groups and {(g.kind, g.members) for g in self._groups} != {(g.kind, g.members) for g in groups}:
            raise DataError(
                "model", "the loaded state belongs to a model that calls other layers", "load it into an equal model"
            )
        self._groups = self._groups or groups
        return run

    def _made(self, kind: str, members: Sequence[Names]) -> Group:
        return GROUPS[kind](members, [[self._parameters[name] for name in names] for names in members], self._decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step against the gradients that a backward pass left.

        Parameters
        ----------
        closure
            Computes the loss and its gradients anew, as torch's optimisers take it; its result is returned.

        Raises
        ------
        ArgumentError
            If the curvature was never measured.
        NumericalError
            If a gradient is not finite, or a factor cannot be inverted; no parameter is changed then.
        """
        if not self._groups:
            raise ArgumentError(
                "KFAC.step", "no curvature was measured", "call update_curvature(inputs) before each step"
            )
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._steps % self._inverse_every == 0:
            for group in self._groups:
                group.refresh(self.damping)
        (options,) = self.param_groups
        velocities = [group.advanced(options["momentum"]) for group in self._groups]
        norm = options["lr"] * self._norm(velocities)
        length = options["lr"] * min(1.0, self._max_norm / norm if norm > 0 else 1.0)
        for group, velocity in zip(self._groups, velocities, strict=True):
            group.move(velocity, length)
        self._steps += 1
        return loss

    def _norm(self, velocities: Sequence[Tensor]) -> float:
        """sqrt(v^T F v) over all groups, in the damped curvature."""
        squares = [group.squared_norm(velocity) for group, velocity in zip(self._groups, velocities, strict=True)]
        total = float(torch.stack(squares).sum())
        if not math.isfinite(total):
            raise NumericalError(
                "KFAC.step", "a gradient has a NaN or infinity, or the step would", "lower the learning rate"
            )
        return math.sqrt(max(total, 0.0))

    def state_dict(self) -> dict[str, Any]:
        """What torch's optimisers give, and as ``"kfac"`` the averages, inverses, steps and the generator's state."""
        groups = [group.state_dict() for group in self._groups]
        own = {"steps": self._steps, "generator": self._generator.get_state(), "groups": groups}
        return {**super().state_dict(), "kfac": own}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave: on one machine's CPU to the same bits.

        Raises
        ------
        ArgumentError
            For the state of another optimiser or of a model with other parameters; nothing is changed then.
        """
        own = state_dict.get("kfac")
        if own is None:
            raise ArgumentError("state_dict", "it is the state of another optimiser", "give that of a KFAC")
        for name in (name for row in own["groups"] for names in row["members"] for name in names):
            if name not in self._parameters:
                raise ArgumentError("state_dict", f"the model has no trainable parameter {name!r}", _OTHER_MODEL)
        groups = [self._made(row["kind"], [tuple(names) for names in row["members"]]) for row in own["groups"]]
        for group, row in zip(groups, own["groups"], strict=True):
            if not group.fits(row):
                raise ArgumentError("state_dict", f"{group.members[0][0]} has another shape in the model", _OTHER_MODEL)
        try:
            super().load_state_dict({key: state_dict[key] for key in ("state", "param_groups")})
        except (ValueError, KeyError) as error:
            raise ArgumentError("state_dict", f"it does not fit ({error})", _OTHER_MODEL) from error
        for group, row in zip(groups, own["groups"], strict=True):
            group.load_state_dict(row)
        self._groups, self._pass, self._steps = groups, None, own["steps"]
        self._generator.set_state(own["generator"].cpu())


_OTHER_MODEL = "load it into the model that it was saved with"


def _stacked(group: Group, found: Curvature) -> tuple[Tensor, ...]:
    """What was measured for the members of a group, tensors [members, ...]; raises `NumericalError` if not finite."""
    tensors = tuple(torch.stack(row) for row in zip(*(found[names[0]] for names in group.members), strict=True))
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        bad = next(names[0] for k, names in enumerate(group.members) if not all(t[k].isfinite().all() for t in tensors))
        raise NumericalError(bad, "its curvature has a NaN or infinity", "lower the learning rate")
    return tensors
