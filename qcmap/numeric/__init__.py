"""The numeric layer: local and network maps, shaping, dynamics, tangent kernels, certificates; float64 and balls.

A name loads its module when it is first used, so that what a user does not need costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qcmap.numeric._dks import Shaping, Solution, dks, solve
    from qcmap.numeric._local import LocalMaps, local_maps
    from qcmap.numeric._network import NetworkMaps, PairValues, network_maps
    from qcmap.numeric._transform import Conditions, Transform, conditions

_HOMES = {
    "_dks": ("Shaping", "Solution", "dks", "solve"),
    "_local": ("LocalMaps", "local_maps"),
    "_network": ("NetworkMaps", "PairValues", "network_maps"),
    "_transform": ("Conditions", "Transform", "conditions"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

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


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'qcmap.numeric' has no attribute {name!r}")
    value = getattr(import_module(f"qcmap.numeric.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
