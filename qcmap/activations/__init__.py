"""Activations: what one is, the catalogue, closed forms, and those that a user brings."""

from qcmap.activations._activation import Activation, Kink, TorchFunction
from qcmap.activations._callable import from_callable
from qcmap.activations._catalogue import CATALOGUE, activation
from qcmap.activations._closed_forms import Kernel
from qcmap.activations._formula import from_sympy

__all__ = ["CATALOGUE", "Activation", "Kernel", "Kink", "TorchFunction", "activation", "from_callable", "from_sympy"]
