"""Gated deep linear networks: graph, contexts, moments, and the walk over what gates leave open (docs/gated.md)."""

from qcmap.architecture.gated._call import FAMILIES, call
from qcmap.architecture.gated._cells import Cells, Lanes, NodeCells, Term
from qcmap.architecture.gated._examples import contextual, multimodal, skips, tree, xor
from qcmap.architecture.gated._files import load, save
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.architecture.gated._routing import routing, sharing
from qcmap.architecture.gated._tables import Blocks, Coded
from qcmap.architecture.gated._task import Context, GatedTask, Gating

__all__ = [
    "FAMILIES",
    "Blocks",
    "Cells",
    "Coded",
    "Context",
    "GatedNetwork",
    "GatedTask",
    "Gating",
    "Lanes",
    "NodeCells",
    "Term",
    "call",
    "contextual",
    "load",
    "multimodal",
    "routing",
    "save",
    "sharing",
    "skips",
    "tree",
    "xor",
]
