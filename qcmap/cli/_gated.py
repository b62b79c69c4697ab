"""The command ``gated``: gated deep linear networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qcmap.cli._common import JSON, print_json
from qcmap.errors import ArgumentError

if TYPE_CHECKING:
    from qcmap.gated import Reduced, Solution


@click.command()
@click.argument("network", metavar="NETWORK")
@click.option(
    "--derive",
    is_flag=True,
    help="Write the gradient flow of every edge as a sum over paths; of a class of edges if there are over 1,000.",
)
@click.option(
    "--reduce", "reduced", is_flag=True, help="Lumped equations, integrals, ratios, scalar equation (default)."
)
@click.option("--solve", "solved", is_flag=True, help="Integrate the reduced dynamics.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the solution to this file.")
@click.option("--s", "s", type=float, help="S, for a network without data; 1 if left out.")
@click.option("--d", "d", type=float, help="D, for a network without data; 1 if left out.")
@click.option("--start", type=float, help="All variables at time 0; 0.1 if left out.")
@click.option("--time", type=float, help="Time to integrate to, in units of tau; 50 if left out.")
@JSON
def gated(
    network: str, derive: bool, reduced: bool, solved: bool, plot: Path | None, s: float | None, d: float | None,
    start: float | None, time: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Learning dynamics of a gated deep linear network, reduced.

    NETWORK is a builder with its arguments: routing, sharing, xor, contextual, tree, skips or multimodal, such as
    routing:M=7,K=4 or sharing:M=10,P=1+4+25. Or it is a file, such as network.yaml or network.json.

    Example: qcmap gated routing:M=7,K=4 --derive --reduce --solve --s 13.6 --plot race.png
    """
    from qcmap import gated as g

    unused = [
        f"--{name}" for name, value in (("s", s), ("d", d), ("start", start), ("time", time)) if value is not None
    ]
    if unused and not (solved or plot):
        raise ArgumentError(", ".join(unused), "it says how to solve, but nothing is solved", "add --solve or --plot")
    given = g.load(network) if network.lower().endswith((".yaml", ".yml", ".json")) else g.call(network)
    rows: dict[str, Any] = {"network": given.architecture.name}
    texts: list[str] = [given.architecture.name]
    found = g.reduce(given)
    rows["classes"] = {str(symbol): list(edges) for symbol, edges in found.classes.items()}
    if derive:
        try:
            flow = g.gradient_flow(given)
        except ArgumentError as error:
            reduced = True
            texts.append(f"no sum over paths: {error.rule}; one equation for each class of edges:")
        else:
            rows["flow"] = {edge: str(rate) for edge, rate in flow.equations.items()}
            texts.append(str(flow))
    if reduced or not (derive or solved or plot):
        rows["reduced"] = found.to_dict()
        texts.append(str(found))
        balanced = found.balanced()
        if len(balanced.symbols) < len(found.symbols):
            rows["balanced"] = balanced.to_dict()
            texts.append(f"balanced:\n{balanced}")
        texts += _scalar(balanced, rows)
    if solved or plot:
        solution = _solution(found, {"S": s, "D": d}, 0.1 if start is None else start, 50.0 if time is None else time)
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


def _solution(found: Reduced, given: Mapping[str, float | None], start: float, time: float) -> Solution:
    """The flow, with the values given for S and D, or 1, where the moments have these symbols."""
    import numpy as np

    from qcmap import gated as g

    letters = {name for table in (found.quotient.targets, found.quotient.inputs) for value in table
               for name in map(str, getattr(value, "free_symbols", ()))}  # fmt: skip
    for name, value in given.items():
        if value is not None and not letters:
            network = found.network.architecture.name
            raise ArgumentError(f"--{name.lower()}", f"S and D of {network} are given by its data", "leave it out")
        if value is not None and name not in letters:
            raise ArgumentError(
                f"--{name.lower()}", f"the moments of {found.network.architecture.name} have no symbol {name} to set",
                "leave it out",
            )  # fmt: skip
    known = {name: 1.0 if value is None else value for name, value in given.items() if name in letters}
    return g.solve(found.substitute(**known) if known else found, start, np.linspace(0, time, 201))


def _table(solution: Solution) -> str:
    names = [str(symbol) for symbol in solution.reduced.symbols]
    # Without <|y|^2> the loss (1) is known up to a constant: its value at zero weights.
    loss = "loss less that of zero weights" if solution.reduced.network.task.yy is None else "loss"
    lines = ["  ".join([f"{'t/tau':>8}", *(f"{name:>10}" for name in names), f"{loss:>12}"])]
    for k in range(0, len(solution.times), 20):
        cells = [f"{solution.times[k]:8.3g}", *(f"{v:10.6f}" for v in solution.values[k, :, 0])]
        lines.append("  ".join([*cells, f"{solution.losses[k]:12.6g}"]))
    half = ", ".join(f"{time:.4g}" for time in solution.times_to(0.5))
    return "\n".join([*lines, f"half learned at t/tau = {half} (by mode; the table shows the first)"])
