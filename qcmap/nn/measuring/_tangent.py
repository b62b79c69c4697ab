"""The tangent kernel of a torch model at its present parameters, layer by layer (DKS, section 24.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from qcmap._tables import Cells, Tabled
from qcmap.architecture import Affine, Architecture
from qcmap.errors import ArgumentError, DataError
from qcmap.nn._modes import device_of, modes_restored, running

if TYPE_CHECKING:
    from rich.table import Table

    from qcmap.numeric import TangentKernel

Array = NDArray[np.float64]
Parameterization = Literal["ntk", "standard"]
_CONVOLUTIONS = nn.Conv1d, nn.Conv2d, nn.Conv3d


@dataclass(frozen=True, eq=False)
class EmpiricalNTK(Tabled):
    """Theta(x, x') of a model for two lists of inputs, averaged over the outputs.

    Attributes
    ----------
    terms
        [inputs, inputs] for the parameters of each module, keyed by its path: the node id of its layer. A parameter
        that several modules share counts once, at the first of them.
    parameterization
        Of which parameters: ``"ntk"`` or ``"standard"``.
    """

    terms: Mapping[str, Array]
    parameterization: Parameterization

    @cached_property
    def total(self) -> Array:
        """The kernel of all parameters."""
        return np.add.reduce(list(self.terms.values()))

    def table(self, theory: TangentKernel | None = None) -> Table:
        """Means over the pairs of inputs by layer, beside those of ``qc.ntk`` at the same pairs."""
        return self._cells(theory).table()

    def _cells(self, theory: TangentKernel | None = None) -> Cells:
        title = f"tangent kernel, {self.parameterization} parameterization: means over pairs"
        head = ("layer", "measured") if theory is None else ("layer", "measured", "infinite width", "ratio")
        rows = []
        for name, term in (*self.terms.items(), ("total", self.total)):
            wanted = None if theory is None else theory.total if name == "total" else theory.terms.get(name)
            figures = [float(term.mean())]
            if wanted is not None:
                figures += [float(np.mean(wanted)), float(term.mean() / np.mean(wanted))]
            rows.append((name, *(f"{figure:.4g}" for figure in figures)))
        return Cells(title, head, rows)

    def to_dict(self) -> dict[str, Any]:
        """The terms and their sum as nested lists."""
        terms = {name: term.tolist() for name, term in self.terms.items()}
        return {"parameterization": self.parameterization, "terms": terms, "total": self.total.tolist()}

    def __repr__(self) -> str:
        rows, columns = self.total.shape
        return f"<empirical tangent kernel of {len(self.terms)} layers for {rows} x {columns} inputs>"


def empirical_ntk(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None = None,
    *,
    parameterization: Parameterization = "ntk",
    architecture: Architecture | None = None,
    delta: bool = True,
    block: int = 16,
    dtype: torch.dtype = torch.float64,
) -> EmpiricalNTK:
    """The tangent kernel sum over parameters of df/dtheta(x) df/dtheta(x'), by layer, averaged over the outputs f.

    In the ``"ntk"`` parameterization, the one of DKS section 24 and of `qcmap.ntk`, a weight is sqrt(a / k) times its
    parameter (k the fan-in, a the layer's ``weight_variance``), and a bias sqrt(s) times its own (s the
    ``bias_variance``). Derivatives in the two differ by that factor, so a layer's kernel is a/k and s times those of
    its weights and biases in the ``"standard"`` parameterization, where the parameters are the model's own. Of a
    Delta-initialised filter only the middle has a variance, so that the rest of it has no part in the ``"ntk"`` kernel.

    Parameters
    ----------
    model
        Gives [samples, outputs] for a batch; any that `torch.func.vmap` can follow. Used in evaluation mode; neither
        its parameters nor their gradients change.
    x1, x2
        Batches of inputs; ``x2`` is ``x1`` if left out.
    parameterization
        Which parameters.
    architecture
        Gives the variances of the layers, whose ids are module paths; ``model.architecture`` by default. Layers that it
        does not have get a = 1, s = 0.
    delta
        Whether convolutions that it does not have are Delta-initialised.
    block
        Derivatives of two blocks of so many inputs are held at once: 2 * block * parameters numbers.
    dtype
        Of the computation.

    Raises
    ------
    ArgumentError
        For bad arguments; naming the module, for parameters of anything but linear and convolutional layers in the
        ``"ntk"`` parameterization.
    DataError
        For inputs that are no batch, outputs that are not [samples, outputs], or derivatives that are not finite.
    """
    if parameterization not in ("ntk", "standard"):
        raise ArgumentError("parameterization", f"it is 'ntk' or 'standard', not {parameterization!r}", "choose one")
    if isinstance(block, bool) or not isinstance(block, int) or block < 1:
        raise ArgumentError("block", f"it must be a positive integer, not {block!r}", "give 1 or more")
    if not dtype.is_floating_point:
        raise ArgumentError("dtype", f"it is a floating type, not {dtype}", "use torch.float64")
    graph = getattr(model, "architecture", None) if architecture is None else architecture
    factors = _factors(model, graph, delta=delta) if parameterization == "ntk" else {}
    first = _batch("x1", x1).to(device_of(model), dtype)
    second = first if x2 is None else _batch("x2", x2).to(device_of(model), dtype)
    with modes_restored(model):
        model.eval()
        jacobian = _Jacobian(model, dtype)
        outputs = jacobian.outputs(first)
        names = {name: name.rpartition(".")[0] for name in jacobian.parameters}
        terms = {path: np.zeros((len(first), len(second))) for path in dict.fromkeys(names.values())}
        for output in range(outputs):
            for start, rows in _blocks(first, block):
                left = jacobian(rows, output)
                for begin, columns in _blocks(second, block):
                    if x2 is None and begin < start:
                        continue
                    right = left if x2 is None and begin == start else jacobian(columns, output)
                    at = slice(start, start + len(rows)), slice(begin, begin + len(columns))
                    for name, path in names.items():
                        scaled = left[name] * factors[name].to(left[name]) if name in factors else left[name]
                        terms[path][at] += (scaled.flatten(1) @ right[name].flatten(1).T).cpu().numpy() / outputs
    if x2 is None:
        terms = {path: np.triu(term) + np.triu(term, 1).T for path, term in terms.items()}
    for path, term in terms.items():
        if not np.isfinite(term).all():
            raise DataError(path or "model", "the derivatives of its parameters are not finite", "check the weights")
    return EmpiricalNTK(terms, parameterization)


class _Jacobian:
    """Derivatives of one output in all parameters, one row an input."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self.model = model
        self.parameters = {name: p.detach().to(dtype) for name, p in model.named_parameters()}
        self.buffers = {name: b.to(dtype) if b.is_floating_point() else b for name, b in model.named_buffers()}
        if not self.parameters:
            raise ArgumentError(type(model).__name__, "it has no parameters", "give a model with some")

        def single(parameters: dict[str, Tensor], x: Tensor, output: int) -> Tensor:
            return functional_call(model, (parameters, self.buffers), (x[None],)).flatten()[output]

        self._rows: Callable[..., dict[str, Tensor]] = vmap(grad(single), in_dims=(None, 0, None))

    def outputs(self, x: Tensor) -> int:
        """How many outputs there are."""
        with torch.no_grad(), running(self.model, "x1"):
            y = functional_call(self.model, (self.parameters, self.buffers), (x[:1],))
        if not isinstance(y, Tensor) or y.ndim < 2 or y.shape[0] != 1 or math.prod(y.shape[2:]) != 1:
            what = f"a tensor of shape {list(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise DataError("model", f"it gives {what} where [1, outputs] is due", "end it with pooling and a layer")
        return y.shape[1]

    def __call__(self, x: Tensor, output: int) -> dict[str, Tensor]:
        return {name: row.detach() for name, row in self._rows(self.parameters, x, output).items()}


def _batch(name: str, x: object) -> Tensor:
    if not isinstance(x, Tensor) or x.ndim < 2 or not x.is_floating_point() or 0 in x.shape:
        what = f"{x.dtype} of shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise DataError(name, f"inputs are a floating tensor with the samples first, not {what}", "give a batch")
    return x


def _blocks(x: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(x), size):
        yield start, x[start : start + size]


def _factors(model: nn.Module, graph: Architecture | None, *, delta: bool) -> dict[str, Tensor]:
    """What squares of derivatives are multiplied by, for each parameter by name: a/k for weights, s for biases."""
    known = {} if graph is None else {node.id: node.op for node in graph.nodes if isinstance(node.op, Affine)}
    modules, found = dict(model.named_modules()), {}
    for name, parameter in model.named_parameters():
        path, _, kind = name.rpartition(".")
        module, op = modules[path], known.get(path, Affine(init="delta" if delta else "fan_in"))
        if not isinstance(module, (nn.Linear, *_CONVOLUTIONS)) or kind not in ("weight", "bias"):
            raise ArgumentError(
                path or type(model).__name__, f"{type(module).__name__} has parameters ({kind}) of no known variance",
                "freeze them into buffers, or use parameterization='standard'",
            )  # fmt: skip
        if kind == "bias":
            found[name] = torch.tensor(float(op.bias_variance), dtype=torch.float64)
            continue
        _, k, *sizes = parameter.shape
        factor = torch.zeros(tuple(sizes), dtype=torch.float64)
        if op.init == "delta":
            if any(size % 2 == 0 for size in sizes):
                raise ArgumentError(path, f"a filter of {sizes} has no middle", "say delta=False")
            factor[tuple(size // 2 for size in sizes)] = float(op.weight_variance) / k
        else:
            factor += float(op.weight_variance) / (k * math.prod(sizes))
        found[name] = factor
    return found
