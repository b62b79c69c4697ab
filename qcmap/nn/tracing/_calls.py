"""A call of the recorded graph under the one name that all of its spellings share, with its arguments by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx, nn
from torch._ops import OpOverload

from qcmap.activations import _rows as activations
from qcmap.nn.tracing._feature import Constant, Feature

_POOLS = "max", "avg", "adaptive_avg", "adaptive_max"
_RESIZES = "nearest", "linear", "bilinear", "bicubic", "trilinear"
ALIASES: Mapping[str, str] = {
    **{f"conv{n}d": "conv" for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": "conv_transpose" for n in (1, 2, 3)},
    **{f"{kind}_pool{n}d": f"{kind}_pool" for kind in _POOLS for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": "max_pool_with_indices" for n in (1, 2, 3)},
    **{f"{kind}{n}d": kind for kind in ("dropout", "feature_dropout") for n in (1, 2, 3)},
    **{f"upsample_{mode}{n}d": f"upsample_{mode}" for mode in _RESIZES for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": "upsample_nearest" for n in (1, 2, 3)}, "upsample": "interpolate",
    "truediv": "div", "true_divide": "div", "divide": "div", "multiply": "mul", "subtract": "sub", "negative": "neg",
    "concat": "cat", "concatenate": "cat", "absolute": "abs", "_softmax": "softmax",
    "bmm": "matmul", "mm": "matmul", "swapaxes": "transpose",
    "swapdims": "transpose", "t": "transpose", "T": "transpose", "mT": "transpose", "movedim": "permute",
    "moveaxis": "permute", "type_as": "to", "_native_batch_norm_legit_no_training": "batch_norm",
    "_unsafe_view": "view", "_to_copy": "to", "expit": "sigmoid", "_threshold": "threshold", "positive": "identity",
    **activations.ALIASES,
}  # fmt: skip
"""Spellings of functions, methods and operators, by the name that the tables use."""


@dataclass
class Call:
    """One call: its common name, its spelling for messages, its arguments, and the module if it is a module's call.

    Attributes
    ----------
    positional, keywords
        Arguments, with `Feature`, `Constant` and numbers in the place of nodes.
    shape
        The sizes of the result, the batch's as a number.
    """

    name: str
    spelling: str
    node: fx.Node
    positional: list[Any]
    keywords: dict[str, Any]
    shape: tuple[int, ...]
    module: nn.Module | None = None

    def bound(self, parameters: str) -> dict[str, Any]:
        """The arguments by these names; those of a module that its call does not give are the module's attributes."""
        names = parameters.split()
        found = dict(zip(names, self.positional, strict=False))
        found.update({key: value for key, value in self.keywords.items() if key in names})
        for synonym, name in (("axis", "dim"), ("keepdims", "keepdim"), ("tensors", "input"), ("self", "input")):
            if synonym in self.keywords:
                found.setdefault(name, self.keywords[synonym])
        if self.module is not None:
            for name in names:
                if name not in found and hasattr(self.module, name):
                    found[name] = getattr(self.module, name)
        return found

    @property
    def features(self) -> list[Feature]:
        """The feature maps among the arguments, in order."""
        found: list[Feature] = []

        def look(value: Any) -> None:
            if isinstance(value, Feature):
                found.append(value)
            elif isinstance(value, (list, tuple)):
                for item in value:
                    look(item)

        look([*self.positional, *self.keywords.values()])
        return found

    @property
    def constants(self) -> list[Constant]:
        """The constant tensors among the arguments, in order."""
        return [value for value in (*self.positional, *self.keywords.values()) if isinstance(value, Constant)]


def spelled(node: fx.Node) -> tuple[str, str]:
    """The common name of a call of a function or method, and its spelling."""
    target: Any = node.target
    if node.op == "call_method":
        return common(str(target)), f"tensor.{target}"
    if target is getattr:
        return common(str(node.args[1])), f"tensor.{node.args[1]}"
    if isinstance(target, OpOverload):
        return common(target._schema.name.split("::")[1]), str(target)
    name = str(getattr(target, "__name__", target))
    home = str(getattr(target, "__module__", "") or "torch").replace("torch._C._nn", "torch.nn.functional")
    home = {"_operator": "operator", "builtins": "torch"}.get(home, home)
    return common(name), f"{home}.{name}"


def common(name: str) -> str:
    """The name by which the tables know a function."""
    plain = name.removeprefix("special_").removesuffix("_") or name
    return ALIASES.get(plain, plain)
