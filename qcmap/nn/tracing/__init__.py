"""The architecture graph of any torch model."""

from qcmap.nn.tracing._traced import trace, traced
from qcmap.nn.tracing._whereabouts import Traced, Whereabouts

__all__ = ["Traced", "Whereabouts", "trace", "traced"]
