"""Schedules of the learning rate found by populations: PBT and FIRE PBT (DKS, section 27.4)."""

from qcmap.nn.train.population._members import Piece
from qcmap.nn.train.population._population import Decision, Population
from qcmap.nn.train.population._result import PopulationResult, Trained
from qcmap.nn.train.population._settings import PAPER, PopulationSettings, scaled
from qcmap.nn.train.population._train import train_population

__all__ = [
    "PAPER",
    "Decision",
    "Piece",
    "Population",
    "PopulationResult",
    "PopulationSettings",
    "Trained",
    "scaled",
    "train_population",
]
