"""Shaping a torch model: the rebuilt model, its report, equivalent parameters."""

from qcmap.nn.shaping._branches import ResidualWeight
from qcmap.nn.shaping._changes import Change, Report
from qcmap.nn.shaping._fold import fold, unfold
from qcmap.nn.shaping._model import ShapedModel
from qcmap.nn.shaping._norm import ChannelNorm
from qcmap.nn.shaping._shape import METHODS, shape

__all__ = ["METHODS", "Change", "ChannelNorm", "Report", "ResidualWeight", "ShapedModel", "fold", "shape", "unfold"]
