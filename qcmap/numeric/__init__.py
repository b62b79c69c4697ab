"""The numeric layer: float64 quadrature, local and network maps, Deep Kernel Shaping."""

from qcmap.numeric._dks import Shaping, Solution, dks, solve
from qcmap.numeric._local import LocalMaps, local_maps
from qcmap.numeric._network import NetworkMaps, PairValues, network_maps
from qcmap.numeric._transform import Conditions, Transform, conditions

__all__ = [
    "Conditions",
    "LocalMaps",
    "NetworkMaps",
    "PairValues",
    "Shaping",
    "Solution",
    "Transform",
    "conditions",
    "dks",
    "local_maps",
    "network_maps",
    "solve",
]
