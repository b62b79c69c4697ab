"""Borders: zeros that a filter reads beyond the map, made explicit where they stand for another value."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from qcmap.nn.shaping._equivalent import Array
from qcmap.nn.shaping._sites import CONVOLUTIONS, Site, argument, set_argument, tensor_input


def pads_of(site: Site) -> list[int]:
    """The zeros at each end of each axis, the last axis first as ``pad`` takes them; empty if there are none."""
    module: Any = site.module
    if module is not None:
        zeros = isinstance(module, nn.Linear) or module.padding_mode != "zeros"
        pads = [] if zeros else [int(size) for size in cast("list[int]", module._reversed_padding_repeated_twice)]
    elif site.node.target not in CONVOLUTIONS:
        pads = []
    else:
        kernel = site.weight.shape[2:]
        padding = argument(site.node, "padding", 0)
        if padding == "same":
            spread = [
                d * (k - 1) for d, k in zip(_each(argument(site.node, "dilation", 1), kernel), kernel, strict=True)
            ]
            pads = [half for total in reversed(spread) for half in (total // 2, total - total // 2)]
        else:
            each = _each(0 if padding == "valid" else padding, kernel)
            pads = [size for size in reversed(each) for _ in range(2)]
    return pads if any(pads) else []


def _each(value: int | Sequence[int], kernel: Sequence[int]) -> list[int]:
    given = [value] if isinstance(value, int) else list(value)
    return given * len(kernel) if len(given) == 1 else given


def pad_with(model: fx.GraphModule, name: str, site: Site, pads: list[int], shift: Array) -> None:
    """Pad the input of a layer with the numbers that stand for zero, one for all channels or one for each."""
    node, graph = site.node, model.graph
    source = tensor_input(node)
    with graph.inserting_before(node):
        if shift.ndim == 0:
            padded = graph.call_function(functional.pad, (source, pads), {"value": float(shift)})
        else:
            like = site.weight
            values = torch.from_numpy(np.ascontiguousarray(shift)).to(like).reshape(-1, *[1] * (like.ndim - 2))
            path = f"{name.replace('.', '_')}_border"
            model.register_buffer(path, values)
            border = graph.get_attr(path)
            level = graph.call_function(operator.sub, (source, border))
            padded = graph.call_function(operator.add, (graph.call_function(functional.pad, (level, pads)), border))
    node.replace_input_with(source, padded)


def unpadded(site: Site) -> None:
    """Take a layer's own padding away."""
    module: Any = site.module
    if module is not None:
        module.padding = (0,) * (module.weight.ndim - 2)
        module._reversed_padding_repeated_twice = [0] * (2 * (module.weight.ndim - 2))
    else:
        set_argument(site.node, "padding", "valid" if argument(site.node, "padding") in ("same", "valid") else 0)
