"""The training engine: typed settings, one loop, records, checkpoints, data."""

from qcmap.nn.train._choice import Choice
from qcmap.nn.train._examples import Augmentation, Examples, Splits, TensorExamples
from qcmap.nn.train._fit import History, fit
from qcmap.nn.train._losses import LOSSES, Loss
from qcmap.nn.train._measures import Measure, Moment
from qcmap.nn.train._optimizers import OPTIMIZERS, optimizer_for
from qcmap.nn.train._result import Result
from qcmap.nn.train._schedules import SCHEDULES
from qcmap.nn.train._settings import Settings
from qcmap.nn.train._trainer import Trainer
from qcmap.nn.train.kfac import KFAC

__all__ = [
    "KFAC",
    "LOSSES",
    "OPTIMIZERS",
    "SCHEDULES",
    "Augmentation",
    "Choice",
    "Examples",
    "History",
    "Loss",
    "Measure",
    "Moment",
    "Result",
    "Settings",
    "Splits",
    "TensorExamples",
    "Trainer",
    "fit",
    "optimizer_for",
]
