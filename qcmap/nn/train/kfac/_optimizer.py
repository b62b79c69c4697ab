"""K-FAC as an optimiser of torch, with the settings of the paper (DKS, section 27.5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError, NumericalError
from qcmap.nn._modes import device_of
from qcmap.nn._random import generator_from
from qcmap.nn.train.kfac._blocks import BLOCKS, Block
from qcmap.nn.train.kfac._damping import Damping
from qcmap.nn.train.kfac._losses import LOSSES
from qcmap.nn.train.kfac._measure import CURVLINOPS_FISHER, Fisher, Pass, curvlinops_operator, measure_curvature
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
        Of the step; also in ``param_groups``, where schedules change them.
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
        lr: float = 1e-3,
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
        _check_positive(lr=lr, max_norm=max_norm)
        _check_counts(inverse_every=inverse_every, curvature_every=curvature_every)
        _check_fractions(momentum=momentum, decay=decay)
        _check_among("loss", loss, LOSSES)
        _check_among("fisher", fisher, CURVLINOPS_FISHER)
        self._model = _unwrapped(model)
        self._parameters = {name: p for name, p in self._model.named_parameters() if p.requires_grad}
        _check_parameters(self._parameters)
        self._damping = Damping(damping, damping_decay, damping_every, least_damping)
        self._decay, self._max_norm = decay, max_norm
        self._inverse_every, self._curvature_every = inverse_every, curvature_every
        self._loss = LOSSES[loss]
        self._fisher: Fisher = fisher
        self._generator = generator_from(seed)
        self._pass: Pass | None = None
        self._blocks: dict[str, Block] = {}
        self._steps = 0
        super().__init__(list(self._parameters.values()), {"lr": lr, "momentum": momentum})

    @property
    def blocks(self) -> dict[str, str]:
        """For each trainable parameter the kind of its block, once known: Kronecker or diagonal."""
        return {name: block.kind for block in self._blocks.values() for name in block.names}

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
            For an empty batch, outputs that are not one tensor [batch, ...], or layers other than at first.
        NumericalError
            If an output of the model or a factor is not finite; the averages are as they were then.
        ArgumentError
            At the first call, for a model in which nothing has Kronecker factors.
        """
        if not isinstance(inputs, Tensor) or inputs.ndim < 2 or len(inputs) == 0:
            raise DataError("inputs", "they must be one tensor [batch, ...] that is not empty", "give a batch")
        if self._blocks and self._steps % self._curvature_every:
            return
        inputs = inputs.to(device_of(self._model))
        if self._pass is None:
            self._pass = self._first_pass(inputs)
        labels, signs = (int(torch.randint(2**62, (), generator=self._generator)) for _ in range(2))
        rank = process_rank()
        found = measure_curvature(self._pass, inputs, self._fisher, (labels + rank, signs + rank))
        average_over_processes(tensor for tensors in found.values() for tensor in tensors)
        for name, tensors in found.items():
            self._blocks[name].add(*tensors)

    def _first_pass(self, inputs: Tensor) -> Pass:
        """Find the layers and make their blocks, unless those came with a loaded state."""
        run = Pass(self._model, self._parameters, self._loss, inputs)
        rows = [("Kronecker", layer.names) for layer in run.layers]
        rows += [("diagonal", (name,)) for name in run.others]
        blocks = self._made(rows)
        if self._blocks and {(b.kind, b.names) for b in self._blocks.values()} != set(rows):
            raise DataError(
                "model", "the loaded state belongs to a model that calls other layers", "load it into an equal model"
            )
        self._blocks = self._blocks or blocks
        return run

    def _made(self, rows: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, Block]:
        """New blocks by the path of their first parameter, from their kinds and the paths of their parameters."""
        return {
            names[0]: BLOCKS[kind](names, [self._parameters[name] for name in names], self._decay)
            for kind, names in rows
        }

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
        if not self._blocks:
            raise ArgumentError(
                "KFAC.step", "no curvature was measured", "call update_curvature(inputs) before each step"
            )
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._steps % self._inverse_every == 0:
            for block in self._blocks.values():
                block.refresh(self.damping)
        (group,) = self.param_groups
        velocities = {
            name: v for name, b in self._blocks.items() if (v := self._velocity(b, group["momentum"])) is not None
        }
        norm = group["lr"] * self._norm(velocities)
        length = group["lr"] * min(1.0, self._max_norm / norm if norm > 0 else 1.0)
        for name, velocity in velocities.items():
            block = self._blocks[name]
            for parameter, part in zip(block.parameters, block.split(velocity), strict=True):
                self.state[parameter]["momentum_buffer"] = part
                parameter.add_(part, alpha=-length)
        self._steps += 1
        return loss

    def _velocity(self, block: Block, momentum: float) -> Tensor | None:
        """What the parameters of a block move along: momentum v + F^-1 gradient; None without gradients."""
        if all(parameter.grad is None for parameter in block.parameters):
            return None
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in block.parameters]
        velocity = block.solved(block.joined(gradients))
        before = [self.state[p].get("momentum_buffer") for p in block.parameters]
        if before[0] is not None:
            velocity.add_(block.joined(before), alpha=momentum)
        return velocity

    def _norm(self, velocities: Mapping[str, Tensor]) -> float:
        """sqrt(v^T F v) over all blocks, in the damped curvature."""
        squares = [self._blocks[name].squared_norm(velocity) for name, velocity in velocities.items()]
        total = float(torch.stack(squares).sum()) if squares else 0.0
        if not math.isfinite(total):
            raise NumericalError(
                "KFAC.step", "a gradient has a NaN or infinity, or the step would", "lower the learning rate"
            )
        return math.sqrt(max(total, 0.0))

    def state_dict(self) -> dict[str, Any]:
        """What torch's optimisers give, and as ``"kfac"`` the averages, inverses, steps and the generator's state."""
        blocks = [{"kind": b.kind, "names": b.names, **b.state_dict()} for b in self._blocks.values()]
        own = {"steps": self._steps, "generator": self._generator.get_state(), "blocks": blocks}
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
        rows = [(row["kind"], tuple(row["names"])) for row in own["blocks"]]
        for name in (name for _, names in rows for name in names):
            if name not in self._parameters:
                raise ArgumentError("state_dict", f"the model has no trainable parameter {name!r}", _OTHER_MODEL)
        blocks = self._made(rows)
        for block, row in zip(blocks.values(), own["blocks"], strict=True):
            if not block.fits(row):
                raise ArgumentError("state_dict", f"{block.names[0]} has another shape in the model", _OTHER_MODEL)
        try:
            super().load_state_dict({key: state_dict[key] for key in ("state", "param_groups")})
        except (ValueError, KeyError) as error:
            raise ArgumentError("state_dict", f"it does not fit ({error})", _OTHER_MODEL) from error
        for block, row in zip(blocks.values(), own["blocks"], strict=True):
            block.load_state_dict(row)
        self._blocks, self._pass, self._steps = blocks, None, own["steps"]
        self._generator.set_state(own["generator"].cpu())


_OTHER_MODEL = "load it into the model that it was saved with"


def _unwrapped(model: nn.Module) -> nn.Module:
    """The model inside wrappers of torch.compile and of data parallelism."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.parallel.DistributedDataParallel):
            inner = model.module
        if inner is None:
            return model
        model = inner


def _check_parameters(parameters: Mapping[str, nn.Parameter]) -> None:
    if not parameters:
        raise ArgumentError("model", "it has no trainable parameters", "give a model with some")
    for name, parameter in parameters.items():
        if hasattr(parameter, "placements"):
            raise ArgumentError(name, "it is sharded, and K-FAC needs whole layers", "use data parallelism (DDP)")


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ArgumentError(name, f"it must be positive, not {value!r}", "give e.g. 1e-3")


def _check_counts(**values: int) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(name, f"it must be a positive integer, not {value!r}", "give 1 or more")


def _check_fractions(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ArgumentError(name, f"it must lie in [0, 1), not {value!r}", "give e.g. 0.9")


def _check_among(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise ArgumentError(name, f"it is one of {', '.join(known)}, not {value!r}", "choose one of these")
