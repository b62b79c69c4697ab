"""Earlier ways to construct and initialise networks, as baselines: DKS, sections 26 and 28.5."""

from qcmap.nn.methods._chaos import edge_of_chaos
from qcmap.nn.methods._data_driven import lsuv, wli
from qcmap.nn.methods._fans import fan_in, glorot, he

__all__ = ["edge_of_chaos", "fan_in", "glorot", "he", "lsuv", "wli"]
