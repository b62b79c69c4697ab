"""Activations as modules, plain and transformed, computed in float32 at least."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vjp

from qcmap.activations import Activation
from qcmap.activations import activation as activation_named
from qcmap.errors import ArgumentError, DataError
from qcmap.nn._differences import difference, has_difference
from qcmap.nn._value_slopes import Constants, value_slope
from qcmap.nn.functional import counterpart_of, resolve, torch_function

if TYPE_CHECKING:
    from qcmap.numeric import Transform


class PlainActivation(nn.Module):
    """An activation phi as a module without parameters, computed in at least float32.

    Input: a floating tensor of any shape, dtype and device; output: the same shape, dtype and device.

    Raises
    ------
    ActivationError
        At construction, if the activation has no torch counterpart.
    DataError
        At a call, for a tensor that is not real floating point.
    """

    activation_name: str

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self._function = torch_function(activation)
        self.activation_name = activation.name
        counterpart = counterpart_of(activation)
        # The activation itself holds functions that do not pickle; its name and this plain data do.
        self._counterpart = counterpart.path, dict(counterpart.arguments)

    def forward(self, u: Tensor) -> Tensor:
        """Phi of every element; half precision is widened to float32 before it and rounded once after it."""
        if not u.is_floating_point():
            raise DataError(
                type(self).__name__,
                f"an activation takes floating-point tensors, not {u.dtype}",
                "convert with u.float()",
            )
        return self._evaluate(u)

    def _evaluate(self, u: Tensor) -> Tensor:
        return _widened(self._function, u)

    def extra_repr(self) -> str:
        """The activation and its parameters."""
        arguments = "".join(f", {key}={value}" for key, value in self._counterpart[1].items())
        return f"{self.activation_name}{arguments}"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_function"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._function = resolve(self.activation_name, *self._counterpart)


class ShapedActivation(PlainActivation):
    """A transformed activation phi_hat(u) = output_scale * (phi(input_scale * u + input_shift) + output_shift).

    The constants are plain floats (gamma, alpha, beta and delta of DKS, section 18.1, in this order), so the
    state dict is empty and no optimiser changes them.

    With a small ``input_scale`` the sum in the bracket cancels most of the digits of phi. So with u0 the zero of
    phi_hat nearest to 0 and y = alpha * u0 + beta, the value is computed as gamma * (phi(y + t) - phi(y)) for
    t = alpha * (u - u0), by a formula for the difference that does not cancel: to a few units in the last place of
    phi_hat(u), also next to u0 (docs/layers.md). Half precision, whatever autocast says, is widened to float32 for it
    and rounded once; so is the derivative, gamma * alpha * phi'. Float64 input takes the definition as it stands, and
    so do, in float64, functions without such a formula, or with y beyond 4.

    Parameters
    ----------
    transform
        The activation and its four constants.

    Raises
    ------
    ActivationError
        If the activation has no torch counterpart.
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__(transform.activation)
        self.activation_parameters = dict(transform.activation.parameters)
        self.input_scale = float(transform.input_scale)
        self.input_shift = float(transform.input_shift)
        self.output_shift = float(transform.output_shift)
        self.output_scale = float(transform.output_scale)
        zero = _nearest_zero(transform)
        # A zero in two parts: the first is exact in float32, so that u - u0 keeps its digits next to it.
        self.anchor = float(np.float32(zero or 0.0))
        self._remainder = self.input_scale * ((zero or 0.0) - self.anchor)
        self._offset = 0.0 if zero is not None else float(transform(0.0))
        y = self.input_scale * (zero or 0.0) + self.input_shift
        known = has_difference(transform.activation, y)
        self._base = (self.activation_name, self.activation_parameters, y) if known else None
        self._find_formulas()

    def _find_formulas(self) -> None:
        """The functions that do not pickle, from the plain data."""
        self._difference = self._value_slope = None
        if self._base is not None:
            constants = Constants(
                self.input_scale, self.input_shift, self.output_shift, self.output_scale, self.activation_parameters
            )
            self._difference = difference(*self._base)
            self._value_slope = value_slope(self.activation_name, constants)

    def _evaluate(self, u: Tensor) -> Tensor:
        if u.dtype == torch.float64:
            return self.defined(u)
        if self._difference is None:
            if u.device.type == "mps":
                raise DataError(
                    self.activation_name, "without a difference formula it is computed in float64, which mps has not",
                    "use an activation of the catalogue, or another device",
                )  # fmt: skip
            return self.defined(u.double()).to(u.dtype)
        # Dynamo has no tracing rule for functions with a forward-mode derivative.
        return (_Anchored if torch.compiler.is_compiling() else _AnchoredEager).apply(u, self)

    def defined(self, u: Tensor) -> Tensor:
        """The definition as it stands, in the dtype of ``u``: its rounding errors are those of gamma * phi."""
        return self.output_scale * (self._function(self.input_scale * u + self.input_shift) + self.output_shift)

    def anchored(self, u: Tensor) -> Tensor:
        """The value by the difference from its zero, whose relative error is small; not for automatic derivatives."""
        assert self._difference is not None
        step = (u - self.anchor).mul_(self.input_scale).sub_(self._remainder)
        value = self.output_scale * self._difference(step)
        return value + self._offset if self._offset else value

    def keeps_value(self, dtype: torch.dtype) -> bool:
        """Whether derivatives are computed from the value instead of the input (qcmap.nn._value_slopes).

        Not in half precision, to which values are rounded.
        """
        return self._value_slope is not None and dtype == torch.float32

    def slope(self, kept: Tensor, factor: Tensor) -> Tensor:
        """``factor`` times the derivative gamma * alpha * phi': from the value if `keeps_value`, else the input."""
        if self._value_slope is not None and self.keeps_value(kept.dtype):
            return self._value_slope(kept, factor)
        return _widened(self._slope, kept, factor)

    def _slope(self, u: Tensor, factor: Tensor) -> Tensor:
        v, steep = self.input_scale * u + self.input_shift, self.output_scale * self.input_scale
        if self._base is not None and self.activation_name in _SLOPES:
            return steep * factor * _SLOPES[self.activation_name](v)
        return vjp(self._function, v)[1](steep * factor)[0]

    def extra_repr(self) -> str:
        """The activation, its parameters and the four constants."""
        names = "input_scale", "input_shift", "output_shift", "output_scale"
        return ", ".join([super().extra_repr(), *(f"{name}={getattr(self, name):.6g}" for name in names)])

    def __getstate__(self) -> dict[str, Any]:
        formulas = "_difference", "_value_slope"
        return {key: value for key, value in super().__getstate__().items() if key not in formulas}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._find_formulas()


_SLOPES: dict[str, Callable[[Tensor], Tensor]] = {"softplus": torch.sigmoid}
"""Derivatives of the catalogue's activations with one exponential that is used once.

That of torch's softplus uses its exponential twice, so torch.compile keeps it in memory on CPUs, beside convolutions in
another order of the axes than theirs: twice to five times the time of the kernel.
"""


class _Anchored(torch.autograd.Function):
    """The anchored value with the derivative of the definition, which does not cancel; saves its input or its value."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, module: ShapedActivation) -> Tensor:
        return _widened(module.anchored, u)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ShapedActivation], output: Tensor) -> None:
        u, ctx.module = inputs
        kept = output if ctx.module.keeps_value(u.dtype) else u
        ctx.save_for_backward(kept)
        ctx.save_for_forward(kept)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return ctx.module.slope(kept, gradients[0]), None


class _AnchoredEager(_Anchored):
    """The same with forward-mode derivatives."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        (kept,) = ctx.saved_tensors
        return ctx.module.slope(kept, tangents[0])


def _widened(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """The function of tensors of one dtype, computed in float32 at least and rounded once to that dtype."""
    dtype = tensors[0].dtype
    wide = torch.promote_types(dtype, torch.float32)
    if wide == dtype:
        return function(*tensors)  # no conversions, which tracing would write down as they are
    return function(*(tensor.to(wide) for tensor in tensors)).to(dtype)


_RANGE = np.concatenate([[0.0], np.geomspace(1e-6, 32, 512)])


def _nearest_zero(transform: Transform) -> float | None:
    """The u with abs(u) <= 32 nearest to 0 at which phi_hat changes its sign or is 0 at u = 0; None without one."""
    from scipy.optimize import brentq

    if float(transform(0.0)) == 0:
        return 0.0
    root: Any = brentq
    found: list[float] = []
    for side in (1.0, -1.0):
        with np.errstate(over="ignore", invalid="ignore"):
            signs = np.sign(transform(side * _RANGE))
        changes = np.flatnonzero(signs[1:] * signs[:-1] == -1)
        if changes.size:
            a, b = side * _RANGE[changes[0]], side * _RANGE[changes[0] + 1]
            found.append(float(root(lambda u: float(transform(u)), a, b, xtol=1e-300, rtol=1e-15)))
    return min(found, key=abs, default=None)


def activation_module(activation: str | Activation, transform: Transform | None = None) -> PlainActivation:
    """The module of an activation: `PlainActivation` without a transform, `ShapedActivation` with one.

    Parameters
    ----------
    activation
        A name of the catalogue or an `Activation`.
    transform
        The constants found for it. Its activation may have other parameters than ``activation`` (shaping chooses the
        negative slope of leaky_relu) and is the one that counts.

    Raises
    ------
    ActivationError
        For an unknown name, or an activation without a torch counterpart.
    ArgumentError
        If the transform belongs to another activation.
    """
    row = activation_named(activation)
    if transform is None:
        return PlainActivation(row)
    if transform.activation.name != row.name:
        raise ArgumentError(
            "transform",
            f"it was made for {transform.activation.name}, not for {row.name}",
            f"solve for {row.name} or give the activation {transform.activation.name}",
        )
    return ShapedActivation(transform)
