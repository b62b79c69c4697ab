"""The layers of `qcmap.nn`: each is one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from qcmap.activations import activation
from qcmap.architecture import Nonlinear, WeightedMeanPool
from qcmap.errors import ActivationError
from qcmap.nn import _layers as layers
from qcmap.nn._pln import PLN
from qcmap.nn._shaped import ShapedActivation
from qcmap.nn.tracing._calls import Call
from qcmap.nn.tracing._elementwise import applied, one
from qcmap.nn.tracing._expressions import named_activation
from qcmap.nn.tracing._feature import Feature
from qcmap.nn.tracing._layers import over_map, tidy
from qcmap.nn.tracing._wiring import added

if TYPE_CHECKING:
    from qcmap.nn.tracing._translate import Rule, Translator


def _shaped_activation(t: Translator, call: Call) -> Feature:
    """The activation phi_hat itself, by its formula."""
    module, x = call.module, one(t, call, call.bound("input"))
    assert isinstance(module, ShapedActivation)
    try:
        phi: Any = activation(module.activation_name, kinks=(), **module.activation_parameters).sympy
    except ActivationError as error:
        raise t.error(
            call, f"the formula of {module.activation_name} is not known", "trace the model before it is shaped"
        ) from error

    def formula(u: Any) -> Any:
        inner = phi.subs(next(iter(phi.free_symbols)), module.input_scale * u + module.input_shift)
        return module.output_scale * (inner + module.output_shift)

    return applied(t, call, x, lambda: Nonlinear(named_activation(formula)), formula)


def _normalized_sum(t: Translator, call: Call) -> Feature:
    assert isinstance(call.module, layers.NormalizedSum)
    if len(call.features) != len(call.positional):
        raise t.error(call, "one of its branches is no feature map", "sum what layers give")
    return added(t, call, call.features, call.module.weights)


def _weighted_mean_pool(t: Translator, call: Call) -> Feature:
    x = over_map(t, call, one(t, call, call.bound("input")))
    return Feature(call.node, t.draft(call, WeightedMeanPool(), x), tidy(call.shape[0], x.channels, call.shape[2:]), ())


def _pln(t: Translator, call: Call) -> Feature:
    raise t.error(
        call, "per-location normalization prepares inputs; in an architecture it is an input of q value 1",
        "trace the model behind it, on inputs that it has normalized",
    )  # fmt: skip


MODULES: dict[type[nn.Module], str] = {
    ShapedActivation: "shaped_activation",
    layers.NormalizedSum: "normalized_sum",
    layers.WeightedMeanPool: "weighted_mean_pool",
    PLN: "pln",
}
RULES: dict[str, Rule] = {
    "shaped_activation": _shaped_activation,
    "normalized_sum": _normalized_sum,
    "weighted_mean_pool": _weighted_mean_pool,
    "pln": _pln,
}
