"""The training engine: typed settings, one loop, records, checkpoints, data."""

from qcmap.nn.train import data
from qcmap.nn.train._choice import Choice
from qcmap.nn.train._examples import Augmentation, Examples, Splits, TensorExamples
from qcmap.nn.train._fit import History, fit
from qcmap.nn.train._losses import LOSSES, Loss
from qcmap.nn.train._measures import Measure, Moment
from qcmap.nn.train._models import MODELS
from qcmap.nn.train._optimizers import OPTIMIZERS, optimizer_for
from qcmap.nn.train._result import Result
from qcmap.nn.train._run import RunSettings, run
from qcmap.nn.train._run_file import read_run, settings_from
from qcmap.nn.train._schedules import SCHEDULES
from qcmap.nn.train._settings import Settings
from qcmap.nn.train._trainer import Trainer
from qcmap.nn.train.kfac import KFAC

__all__ = [
    "KFAC",
    "LOSSES",
    "MODELS",
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
    "RunSettings",
    "Settings",
    "Splits",
    "TensorExamples",
    "Trainer",
    "data",
    "fit",
    "optimizer_for",
    "read_run",
    "run",
    "settings_from",
]
