"""The example input: which arguments of the forward it gives, and the tensors without data that stand for it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qcmap.errors import TraceError

if TYPE_CHECKING:
    from torch._subclasses.fake_tensor import FakeTensorMode

BATCH = 31
"""The batch size that stands for any: a prime that no other size is a multiple of by accident."""


@dataclass(frozen=True)
class Example:
    """The tensors of an example by the names of the forward's arguments; ``keyword`` says how they are given."""

    tensors: Mapping[str, Tensor]
    keyword: bool

    @staticmethod
    def of(model: nn.Module, example_input: Any) -> Example:
        """The example for a model.

        ``example_input`` is a tensor, a tuple or list of tensors for the first arguments, or a dictionary of tensors
        for keyword arguments. The first axis of each is the batch.

        Raises
        ------
        TraceError
            For anything else, for arguments that the forward does not have, or for different batch sizes.
        """
        if isinstance(example_input, Tensor):
            example_input = (example_input,)
        keyword = isinstance(example_input, Mapping)
        if not keyword and not isinstance(example_input, (tuple, list)):
            found = type(example_input).__name__
            raise TraceError(
                "example_input", f"it is no tensor, but {found}", "give a tensor, a tuple or a dict of them"
            )
        parameters = inspect.signature(model.forward).parameters.values()
        names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        many = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        if keyword:
            tensors = {str(name): value for name, value in example_input.items()}
        else:
            count = len(example_input)
            if many is not None:
                names = [*names, *(f"{many}{k}" for k in range(1, count - len(names) + 1))]
            if count > len(names):
                taken = ", ".join(names) or "nothing"
                raise TraceError("example_input", f"it has {count} tensors, but forward takes {taken}", "give fewer")
            tensors = dict(zip(names, example_input, strict=False))
        if not tensors:
            raise TraceError("example_input", "it has no tensor", "give one tensor for each argument of forward")
        for name, value in tensors.items():
            if not isinstance(value, Tensor):
                raise TraceError(
                    f"example_input, {name}", f"it is no tensor, but {type(value).__name__}",
                    "give tensors only, and fix other arguments in a module that calls the model",
                )  # fmt: skip
            if value.ndim < 2 or 0 in value.shape:
                raise TraceError(
                    f"example_input, {name}", f"its shape is {list(value.shape)}, but a batch has two axes or more",
                    "give [batch, channels] or [batch, channels, locations...], none of them empty",
                )  # fmt: skip
        sizes = {value.shape[0] for value in tensors.values()}
        if len(sizes) > 1:
            raise TraceError(
                "example_input", f"its batches (the first axes) have sizes {sorted(sizes)}", "give equal ones"
            )
        return Example(tensors, keyword)

    def call(self, model: nn.Module, arguments: Mapping[str, Tensor]) -> Any:
        """The model's output for these values of the arguments."""
        return model(**arguments) if self.keyword else model(*arguments.values())


def symbolic(example: Example) -> tuple[FakeTensorMode, dict[str, Tensor], torch.SymInt]:
    """The example as tensors without data whose batch size is a symbol; their mode, and the symbol."""
    # Slow to import, and needed here only.
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    context = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC])
    batch: Any = mode.from_tensor(torch.empty(BATCH), symbolic_context=context).shape[0]
    with mode:
        found = {
            name: torch.empty((batch, *value.shape[1:]), dtype=value.dtype, device=value.device)
            for name, value in example.tensors.items()
        }
    return mode, found, batch
