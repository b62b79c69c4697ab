"""The architecture graph of any torch model."""

from qcmap.nn.tracing._traced import Traced, trace, traced

__all__ = ["Traced", "trace", "traced"]
