"""K-FAC (DKS, section 27.5) as an optimiser of torch."""

from qcmap.nn.train.kfac._optimizer import KFAC

__all__ = ["KFAC"]
