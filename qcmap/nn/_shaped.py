"""Activations as modules, plain and transformed, computed in float32 at least."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qcmap.activations import Activation
from qcmap.activations import activation as activation_named
from qcmap.errors import ArgumentError, DataError
from qcmap.nn.functional import resolve, torch_function

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
        counterpart = activation.torch
        assert counterpart is not None
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
        return self._evaluate(u.to(torch.promote_types(u.dtype, torch.float32))).to(u.dtype)

    def _evaluate(self, u: Tensor) -> Tensor:
        return self._function(u)

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
    state dict is empty and no optimiser changes them. With a small ``input_scale`` the sum in the bracket cancels most
    of the digits of phi: whatever the input's dtype and whatever autocast says, all of it is computed in float32 (in
    float64 for float64 input) and rounded once to the input's dtype.

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
        self.input_scale = float(transform.input_scale)
        self.input_shift = float(transform.input_shift)
        self.output_shift = float(transform.output_shift)
        self.output_scale = float(transform.output_scale)

    def _evaluate(self, u: Tensor) -> Tensor:
        return self.output_scale * (self._function(self.input_scale * u + self.input_shift) + self.output_shift)

    def extra_repr(self) -> str:
        """The activation, its parameters and the four constants."""
        names = "input_scale", "input_shift", "output_shift", "output_scale"
        return ", ".join([super().extra_repr(), *(f"{name}={getattr(self, name):.6g}" for name in names)])


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
