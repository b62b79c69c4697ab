"""The variance of the tangent kernel of linear networks: d^3/w, not max(d^2/w, d^3/w^2) (DGN, Theorem 2.3).

``python -m examples.neural_paths.variance`` prints exact values at widths 64 to 1024 and depths 4 to 32 beside both
laws, and draws docs/figures/neural_paths/variance.png.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import qcmap as qc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTHS = (4, 6, 8, 12, 16, 24, 32)
WIDTHS = (64, 128, 256, 512, 1024)
FIGURE = Path(__file__).parents[2] / "docs" / "figures" / "neural_paths" / "variance.png"


def variance(depth: int, width: int) -> float:
    """Var K over weights +-1/sqrt(w), exactly, of a linear network with one input that is 1; E K is the depth."""
    arch = qc.zoo.mlp(depth - 1, width=width, in_channels=1, out_channels=1)
    moments = qc.paths.chain_moments(arch, qc.paths.Gates.all_open(arch), [[1.0]], width**-0.5)
    return float(moments.variance[0, 0])


def law(depth: int, width: int) -> float:
    """(2/3)(d-2)(d-1)(2d-3)/w: one crossing of the base paths (docs/paths.md)."""
    return 2 / 3 * (depth - 2) * (depth - 1) * (2 * depth - 3) / width


def printed(depth: int, width: int) -> float:
    """max(d^2/w, d^3/w^2), without its constant."""
    return max(depth**2 / width, depth**3 / width**2)


def draw(found: dict[tuple[int, int], float]) -> Figure:
    """Exact values and the law by depth, and the ratios to both laws."""
    from qcmap.plot import new_figure

    figure, (left, right) = new_figure(2)
    for k, width in enumerate(WIDTHS):
        values = [found[depth, width] for depth in DEPTHS]
        left.loglog(DEPTHS, values, ".-", color=f"C{k}", label=f"w = {width}")
        left.loglog(DEPTHS, [law(depth, width) for depth in DEPTHS], ":", color=f"C{k}")
        right.plot(DEPTHS, [v / printed(d, width) for d, v in zip(DEPTHS, values, strict=True)], ".-", color=f"C{k}")
        right.plot(DEPTHS, [v / law(d, width) for d, v in zip(DEPTHS, values, strict=True)], ":", color=f"C{k}")
    left.set(xlabel="depth d", ylabel="Var K (E K = d)", title="exact (points) and (2/3)(d-2)(d-1)(2d-3)/w (dotted)")
    right.set(xlabel="depth d", ylabel="ratio", title="Var K over max(d^2/w, d^3/w^2) (points), over the law (dotted)")
    for axes in (left, right):
        axes.title.set_fontsize("small")
    left.legend(fontsize="small")
    return figure


def main() -> None:
    """Print the table and draw the figure."""
    from qcmap.plot import save

    found = {(depth, width): variance(depth, width) for depth in DEPTHS for width in WIDTHS}
    print(f"{'d':>4} {'w':>6} {'Var K':>12} {'over the law':>14} {'over the printed':>18}")
    for (depth, width), value in found.items():
        print(
            f"{depth:4} {width:6} {value:12.6g} {value / law(depth, width):14.4f} {value / printed(depth, width):18.4g}"
        )
    print(save(draw(found), FIGURE))


if __name__ == "__main__":
    main()
