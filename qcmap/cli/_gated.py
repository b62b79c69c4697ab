"""The command ``gated``: gated deep linear networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qcmap.cli._common import JSON, print_json
from qcmap.errors import ArgumentError

if TYPE_CHECKING:
    from qcmap.gated import Reduced, Solution


@click.command()
@click.argument("network", metavar="NETWORK")
@click.option("--derive", is_flag=True, help="Write the gradient flow of every edge as a sum over paths.")
@click.option(
    "--reduce", "reduced", is_flag=True, help="Lumped equations, integrals, ratios, scalar equation (default)."
)
@click.option("--solve", "solved", is_flag=True, help="Integrate the reduced dynamics.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the solution to this file.")
@click.option("--s", "s", type=float, default=1.0, show_default=True, help="S, for a network without data.")
@click.option("--d", "d", type=float, default=1.0, show_default=True, help="D, for a network without data.")
@click.option("--start", type=float, default=0.1, show_default=True, help="All variables at time 0.")
@click.option("--time", type=float, default=50.0, show_default=True, help="Time to integrate to, in units of tau.")
@JSON
def gated(
    network: str, derive: bool, reduced: bool, solved: bool, plot: Path | None, s: float, d: float, start: float,
    time: float, as_json: bool,
) -> None:  # fmt: skip
    """Learning dynamics of a gated deep linear network, reduced.

    NETWORK is a builder with its arguments: routing, sharing, xor, contextual, tree, skips or multimodal, such as
    routing:M=7,K=4 or sharing:M=10,P=1+4+25. Or it is a file, such as network.yaml or network.json.

    Example: qcmap gated routing:M=7,K=4 --derive --reduce --solve --s 13.6 --plot race.png
    """
    from qcmap import gated as g

    given = g.load(network) if network.lower().endswith((".yaml", ".yml", ".json")) else g.call(network)
    rows: dict[str, Any] = {"network": given.architecture.name}
    texts: list[str] = [given.architecture.name]
    if derive:
        flow = g.gradient_flow(given)
        rows["flow"] = {edge: str(rate) for edge, rate in flow.equations.items()}
        texts.append(str(flow))
    found = g.reduce(given)
    if reduced or not (derive or solved or plot):
        rows["reduced"] = found.to_dict()
        texts.append(str(found))
        balanced = found.balanced()
        if len(balanced.symbols) < len(found.symbols):
            rows["balanced"] = balanced.to_dict()
            texts.append(f"balanced:\n{balanced}")
        texts += _scalar(balanced, rows)
    if solved or plot:
        solution = _solution(found, s, d, start, time)
        rows["solution"] = solution.to_dict() | {"half": solution.times_to(0.5).tolist()}
        texts.append(_table(solution))
        if plot is not None:
            from qcmap.plot import new_figure, save, variables

            figure, axes = new_figure(1)
            variables(axes[0], solution)
            rows["plot"] = str(save(figure, plot))
    if as_json:
        print_json(rows)
    else:
        click.echo("\n".join(texts))


def _scalar(balanced: Reduced, rows: dict[str, Any]) -> list[str]:
    """The scalar equation and the ratios, where the integrals leave one."""
    try:
        equation = balanced.scalar()
        ratios = balanced.ratios()
    except ArgumentError as error:
        return [f"no single equation: {error.rule}"]
    rows["scalar"], rows["ratios"] = equation.to_dict(), {str(b): str(ratio) for b, ratio in ratios.items()}
    texts = [f"one equation: {equation}"]
    texts += [f"  with {constant} = {integral}" for constant, integral in equation.constants.items()]
    return [*texts, "ratios: " + " : ".join(f"{ratio}" for ratio in ratios.values())]


def _solution(found: Reduced, s: float, d: float, start: float, time: float) -> Solution:
    import numpy as np

    from qcmap import gated as g

    letters = {name for table in (found.quotient.targets, found.quotient.inputs) for value in table
               for name in map(str, getattr(value, "free_symbols", ()))}  # fmt: skip
    known = {name: value for name, value in (("S", s), ("D", d)) if name in letters}
    return g.solve(found.substitute(**known) if known else found, start, np.linspace(0, time, 201))


def _table(solution: Solution) -> str:
    names = [str(symbol) for symbol in solution.reduced.symbols]
    lines = ["  ".join([f"{'t/tau':>8}", *(f"{name:>10}" for name in names), f"{'loss':>12}"])]
    for k in range(0, len(solution.times), 20):
        cells = [f"{solution.times[k]:8.3g}", *(f"{v:10.6f}" for v in solution.values[k, :, 0])]
        lines.append("  ".join([*cells, f"{solution.losses[k]:12.6g}"]))
    half = ", ".join(f"{time:.4g}" for time in solution.times_to(0.5))
    return "\n".join([*lines, f"half learned at t/tau = {half} (by mode; the table shows the first)"])
