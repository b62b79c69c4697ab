"""Training: optimisers that torch does not have."""

from qcmap.nn.train.kfac import KFAC

__all__ = ["KFAC"]
