"""Earlier ways to construct and initialise networks, as baselines: DKS, sections 26 and 28.5."""

from qcmap.nn.methods._chaos import edge_of_chaos
from qcmap.nn.methods._data_driven import lsuv, wli
from qcmap.nn.methods._fans import fan_in, glorot, he
from qcmap.nn.methods._fixup import fixup
from qcmap.nn.methods._looks_linear import looks_linear

__all__ = ["edge_of_chaos", "fan_in", "fixup", "glorot", "he", "looks_linear", "lsuv", "wli"]
