"""The numeric layer: local and network maps, shaping, dynamics, tangent kernels, certificates; float64 and balls.

A name loads its module when it is first used, so that what a user does not need costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qcmap._lazy import lazy

if TYPE_CHECKING:
    from qcmap.numeric.asymptotics._bounds import (
        edge_envelope,
        geometric_envelope,
        negative_lower_bound,
        odd_bound,
        slope_at_one_bound,
        slope_bound,
    )
    from qcmap.numeric.asymptotics._composition import Dynamics, EdgeLaw, FixedPoint
    from qcmap.numeric.asymptotics._dynamics import dynamics
    from qcmap.numeric.asymptotics._fixed_points import QFixedPoint, QFixedPoints, q_fixed_points
    from qcmap.numeric.asymptotics._growth import Growth, growing
    from qcmap.numeric.asymptotics._sampled import sampled_networks
    from qcmap.numeric.asymptotics._sampling import SamplingError, sampling_error
    from qcmap.numeric.asymptotics._widths import kernel_error, kernel_width, orthogonal_error, orthogonal_width
    from qcmap.numeric.kernels._gram import Gram, GramBlock, gram_blocks, nngp_gram, ntk_gram
    from qcmap.numeric.kernels._kernel_descent import BestTime, KernelDescent
    from qcmap.numeric.kernels._kernel_limits import (
        DegenerateKernel,
        degenerate_kernel,
        edge_alpha_bar,
        edge_alphas,
        tangent_deviation,
        theorem_27,
    )
    from qcmap.numeric.kernels._kernel_matrix import condition_number
    from qcmap.numeric.kernels._tangent import TangentKernel, nngp, ntk
    from qcmap.numeric.maps._bounds import DeviationBounds, Interval, deviation_bounds, flatness
    from qcmap.numeric.maps._geometry import CMap, Deviation
    from qcmap.numeric.maps._local import LocalMaps, local_maps
    from qcmap.numeric.maps._network import NetworkMaps, PairValues, network_maps
    from qcmap.numeric.maps._shaping import Shaping, Solution
    from qcmap.numeric.maps._transform import Conditions, Transform, conditions
    from qcmap.numeric.methods._chaos import EdgeOfChaos, EdgeOfChaosCurve, edge_of_chaos_curve
    from qcmap.numeric.methods._chaos_search import edge_of_chaos
    from qcmap.numeric.methods._compare import Comparison, compare
    from qcmap.numeric.methods._initializations import Initialization, initialization, initialized
    from qcmap.numeric.methods._selu_like import SelfNormalizing, selu_like
    from qcmap.numeric.proofs._certified_maps import (
        certified_c,
        certified_curvature,
        certified_dc,
        certified_dq,
        certified_q,
    )
    from qcmap.numeric.proofs._certified_slope import certified_inverse, certify_shaping
    from qcmap.numeric.proofs._certify import Certificate, certify
    from qcmap.numeric.proofs._count import count_solutions
    from qcmap.numeric.proofs._count_result import Count
    from qcmap.numeric.proofs._infeasible import certify_infeasible
    from qcmap.numeric.proofs._infeasible_result import InfeasibilityProof
    from qcmap.numeric.shaping._canonical import CanonicalBranch, Jump, canonical_branch
    from qcmap.numeric.shaping._continuation import Branch, End, follow
    from qcmap.numeric.shaping._dks import dks, solve, unit_q
    from qcmap.numeric.shaping._tat import tat

_HOMES = {
    "asymptotics._bounds": (
        "edge_envelope",
        "geometric_envelope",
        "negative_lower_bound",
        "odd_bound",
        "slope_at_one_bound",
        "slope_bound",
    ),
    "shaping._canonical": ("CanonicalBranch", "Jump", "canonical_branch"),
    "proofs._certified_maps": ("certified_c", "certified_curvature", "certified_dc", "certified_dq", "certified_q"),
    "proofs._certified_slope": ("certified_inverse", "certify_shaping"),
    "proofs._certify": ("Certificate", "certify"),
    "methods._chaos": ("EdgeOfChaos", "EdgeOfChaosCurve", "edge_of_chaos_curve"),
    "methods._chaos_search": ("edge_of_chaos",),
    "methods._compare": ("Comparison", "compare"),
    "asymptotics._composition": ("Dynamics", "EdgeLaw", "FixedPoint"),
    "shaping._continuation": ("Branch", "End", "follow"),
    "proofs._count": ("count_solutions",),
    "proofs._count_result": ("Count",),
    "shaping._dks": ("dks", "solve", "unit_q"),
    "asymptotics._dynamics": ("dynamics",),
    "asymptotics._fixed_points": ("QFixedPoint", "QFixedPoints", "q_fixed_points"),
    "maps._bounds": ("DeviationBounds", "Interval", "deviation_bounds", "flatness"),
    "maps._geometry": ("CMap", "Deviation"),
    "kernels._gram": ("Gram", "GramBlock", "gram_blocks", "nngp_gram", "ntk_gram"),
    "asymptotics._growth": ("Growth", "growing"),
    "proofs._infeasible": ("certify_infeasible",),
    "proofs._infeasible_result": ("InfeasibilityProof",),
    "methods._initializations": ("Initialization", "initialization", "initialized"),
    "kernels._kernel_descent": ("BestTime", "KernelDescent"),
    "kernels._kernel_limits": (
        "DegenerateKernel",
        "degenerate_kernel",
        "edge_alpha_bar",
        "edge_alphas",
        "tangent_deviation",
        "theorem_27",
    ),
    "kernels._kernel_matrix": ("condition_number",),
    "maps._local": ("LocalMaps", "local_maps"),
    "maps._network": ("NetworkMaps", "PairValues", "network_maps"),
    "asymptotics._sampled": ("sampled_networks",),
    "asymptotics._sampling": ("SamplingError", "sampling_error"),
    "methods._selu_like": ("SelfNormalizing", "selu_like"),
    "maps._shaping": ("Shaping", "Solution"),
    "kernels._tangent": ("TangentKernel", "nngp", "ntk"),
    "shaping._tat": ("tat",),
    "maps._transform": ("Conditions", "Transform", "conditions"),
    "asymptotics._widths": ("kernel_error", "kernel_width", "orthogonal_error", "orthogonal_width"),
}

__all__ = [
    "BestTime",
    "Branch",
    "CMap",
    "CanonicalBranch",
    "Certificate",
    "Comparison",
    "Conditions",
    "Count",
    "DegenerateKernel",
    "Deviation",
    "DeviationBounds",
    "Dynamics",
    "EdgeLaw",
    "EdgeOfChaos",
    "EdgeOfChaosCurve",
    "End",
    "FixedPoint",
    "Gram",
    "GramBlock",
    "Growth",
    "InfeasibilityProof",
    "Initialization",
    "Interval",
    "Jump",
    "KernelDescent",
    "LocalMaps",
    "NetworkMaps",
    "PairValues",
    "QFixedPoint",
    "QFixedPoints",
    "SamplingError",
    "SelfNormalizing",
    "Shaping",
    "Solution",
    "TangentKernel",
    "Transform",
    "canonical_branch",
    "certified_c",
    "certified_curvature",
    "certified_dc",
    "certified_dq",
    "certified_inverse",
    "certified_q",
    "certify",
    "certify_infeasible",
    "certify_shaping",
    "compare",
    "condition_number",
    "conditions",
    "count_solutions",
    "degenerate_kernel",
    "deviation_bounds",
    "dks",
    "dynamics",
    "edge_alpha_bar",
    "edge_alphas",
    "edge_envelope",
    "edge_of_chaos",
    "edge_of_chaos_curve",
    "flatness",
    "follow",
    "geometric_envelope",
    "gram_blocks",
    "growing",
    "initialization",
    "initialized",
    "kernel_error",
    "kernel_width",
    "local_maps",
    "negative_lower_bound",
    "network_maps",
    "nngp",
    "nngp_gram",
    "ntk",
    "ntk_gram",
    "odd_bound",
    "orthogonal_error",
    "orthogonal_width",
    "q_fixed_points",
    "sampled_networks",
    "sampling_error",
    "selu_like",
    "slope_at_one_bound",
    "slope_bound",
    "solve",
    "tangent_deviation",
    "tat",
    "theorem_27",
    "unit_q",
]

__getattr__, __dir__ = lazy(__name__, "qcmap.numeric", _HOMES, shown=__all__)
