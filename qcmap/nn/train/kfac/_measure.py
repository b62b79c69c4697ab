"""One measurement of the curvature on a batch: Kronecker factors by curvlinops, and a diagonal for what has none.

The curvature is the Fisher matrix of the mean loss, which for these losses is its generalized Gauss-Newton matrix:
F = 1/n sum_n J_n^T H_n J_n with the Jacobian J_n of the outputs of term n and the Hessian H_n of its loss in them.
curvlinops carries vectors s_n with E[s_n s_n^T] = H_n back to the outputs of each layer: derivatives of the loss at
labels drawn from the model's own distribution ("sampled"), or the columns of a root of H_n one by one ("exact").
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from qcmap.errors import ArgumentError, DataError, MissingExtra, NumericalError
from qcmap.nn.train.kfac._layers import Arguments, Layer, LayerCalls, find_layers
from qcmap.nn.train.kfac._losses import FisherLoss

Fisher = Literal["sampled", "exact"]
CURVLINOPS_FISHER: Mapping[str, str] = {"sampled": "mc", "exact": "type-2"}


Curvature = dict[str, tuple[Tensor, ...]]
"""Factors (A, G) by the path of a layer's weights, and a diagonal by the path of each other parameter."""


def curvlinops_operator() -> Any:
    """The class of curvlinops that measures factors.

    Raises
    ------
    MissingExtra
        If curvlinops is not installed.
    """
    try:
        with warnings.catch_warnings():
            # A library that curvlinops imports uses torch.jit, which torch warns of.
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            from curvlinops import KFACLinearOperator
    except ModuleNotFoundError as error:
        raise MissingExtra("KFAC", f"it needs {error.name}", "pip install 'qcmap[train]'") from error
    return KFACLinearOperator


class Pass(nn.Module):
    """A model whose layer calls go through modules of torch, its only submodules, so that curvlinops finds them.

    No hook is put on the model's own modules, which may be compiled. ``forward`` gives rows [terms, numbers of a term].

    Parameters
    ----------
    model
        Whose curvature is measured.
    parameters
        Its trainable parameters, by path.
    loss
        What it is trained on.
    inputs
        A batch [batch, ...] that shows which layers the model calls.

    Raises
    ------
    ArgumentError
        If no layer has Kronecker factors.
    DataError
        If the outputs are not one tensor [batch, ...].
    """

    layers: tuple[Layer, ...]
    """Those with Kronecker factors, in the order of their calls."""
    trained: list[nn.Parameter]
    """Their trainable parameters."""
    others: dict[str, nn.Parameter]
    """The trainable parameters that belong to none of them, by path."""

    def __init__(
        self, model: nn.Module, parameters: Mapping[str, nn.Parameter], loss: FisherLoss, inputs: Tensor
    ) -> None:
        super().__init__()
        with undisturbed(model, inputs):
            self.layers, outputs = find_layers(model, inputs)
        if not self.layers:
            raise ArgumentError(
                "model", "no dense or 2-d convolutional layer, called just once, has Kronecker factors",
                "use another optimiser, such as Adam",
            )  # fmt: skip
        own = {name for layer in self.layers for name in layer.names}
        self.trained = [parameters[name] for layer in self.layers for name in layer.names]
        self.others = {name: parameter for name, parameter in parameters.items() if name not in own}
        self.model, self.loss = (model,), loss
        self.calls = nn.ModuleList(layer.module for layer in self.layers)
        self.terms_of_example = len(loss.rows(outputs)) // len(inputs)
        self.extents: dict[str, int] = {}
        """For each layer, the first extent of the input of its last call."""

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs as rows.

        Raises
        ------
        DataError
            If a layer is not called, or the outputs are of another shape than at first.
        NumericalError
            If an output is not finite.
        """
        (model,) = self.model
        by_weight = {id(layer.module.weight): layer for layer in self.layers}
        self.extents = {}

        def through_module(call: Arguments) -> Tensor | None:
            layer = by_weight.get(id(call["weight"]))
            if layer is None:
                return None
            self.extents[layer.name] = len(call["input"])
            return layer.module(call["input"])

        with LayerCalls(through_module):
            rows = self.loss.rows(model(inputs))
        for layer in self.layers:
            if layer.name not in self.extents:
                raise DataError(
                    layer.name, "this batch does not pass through it, as the first one did",
                    "let the model call the same layers for each batch, or freeze it and make the optimiser anew",
                )  # fmt: skip
        if len(rows) != len(inputs) * self.terms_of_example:
            raise DataError(
                "inputs", f"{len(inputs)} examples have {len(rows)} labels, but in the first batch each had "
                f"{self.terms_of_example}", "give maps of one extent",
            )  # fmt: skip
        if not bool(rows.isfinite().all()):
            raise NumericalError("model", "its outputs have a NaN or infinity", "lower the learning rate")
        return rows


def measure_curvature(run: Pass, inputs: Tensor, fisher: Fisher, seeds: tuple[int, int]) -> Curvature:
    """The curvature of the model's mean loss on one batch.

    The diagonal for parameters without factors takes a second pass: with independent random signs r, the squared
    derivatives of sum_n r_n s_n^T f_n have the mean sum_n E (J_n^T s_n)^2, which is n times the diagonal.

    Parameters
    ----------
    run
        The model's pass.
    inputs
        [batch, ...], on the model's device.
    fisher
        Whether labels are sampled.
    seeds
        Of the sampled labels and of the random signs.

    Raises
    ------
    MissingExtra
        Without curvlinops.
    DataError, NumericalError
        Where `Pass` raises them.
    """
    terms = len(inputs) * run.terms_of_example
    operator = curvlinops_operator()(
        run, run.loss.known, run.trained,
        [(inputs, run.loss.labels(terms).to(inputs.device))], check_deterministic=False, seed=seeds[0],
        fisher_type=CURVLINOPS_FISHER[fisher], num_per_example_loss_terms=1, separate_weight_and_bias=False,
        num_data=len(inputs),
    )  # fmt: skip
    vectors: list[Tensor] = []

    def keep_vectors(_: nn.Module, __: Any, rows: Tensor) -> None:
        rows.register_hook(vectors.append)

    watch = run.register_forward_hook(keep_vectors)
    try:
        with undisturbed(run.model[0], inputs):
            operator.compute_kronecker_factors()
    finally:
        watch.remove()
    state = operator.state_dict()
    scale = 1 / (terms * run.loss.multiple)
    found: Curvature = {}
    for place, layer in enumerate(run.layers):
        # curvlinops divides by the number of examples, and the model may have joined other axes to theirs.
        joined = len(inputs) / run.extents[layer.name]
        inner, outer = (_wide(state[key][f"calls.{place}"]) for key in ("input_covariances", "gradient_covariances"))
        found[layer.name] = inner * joined, outer * scale
    if run.others:
        found.update(_diagonals(run, inputs, _signed_sum(vectors, seeds[1]), scale))
    return found


def _signed_sum(vectors: Sequence[Tensor], seed: int) -> Tensor:
    """sum_c r_nc s_nc over the vectors s_nc [terms, numbers] of each term n, with independent signs."""
    generator = torch.Generator(vectors[0].device).manual_seed(seed)
    total = torch.zeros_like(vectors[0])
    for vector in vectors:
        bits = torch.randint(2, (len(vector), 1), generator=generator, device=vector.device)
        total += (2 * bits - 1) * vector
    return total


def _diagonals(run: Pass, inputs: Tensor, signed: Tensor, scale: float) -> Curvature:
    with undisturbed(run.model[0], inputs):
        gradients = torch.autograd.grad(
            run(inputs), list(run.others.values()), signed, allow_unused=True, materialize_grads=True
        )
    return {name: (_wide(gradient).square() * scale,) for name, gradient in zip(run.others, gradients, strict=True)}


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))


@contextmanager
def undisturbed(model: nn.Module, inputs: Tensor) -> Iterator[None]:
    """Full precision and gradients inside; buffers and torch's global generators as they were afterwards."""
    device = inputs.device
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    cuda = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(cuda), torch.autocast(device.type, enabled=False), torch.enable_grad():
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
