"""The commands that read torch models: ``shape``."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import click

from qcmap._atomic import write_whole
from qcmap.cli._common import JSON, print_json


class _Shape(click.ParamType):
    """The sizes of one example, such as 3x224x224."""

    name = "sizes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = value.lower().split("x")
        if not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not a list of sizes such as 3x224x224", param, ctx)
        return tuple(map(int, parts))


def inputs_option(*, required: bool) -> Callable[[Any], Any]:
    """The option that gives the sizes of a model's inputs."""
    words = "Sizes of one example of a torch model without the batch, such as 3x224x224; once for each input."
    return click.option("--input", "inputs", type=_Shape(), multiple=True, required=required, help=words)


class _ResidualWeight(click.ParamType):
    """A number, or q."""

    name = "number or q"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        if value == "q" or isinstance(value, float):
            return value
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor q", param, ctx)


@click.command()
@click.argument("model", metavar="package.module:callable")
@inputs_option(required=True)
@click.option("--method", type=click.Choice(["dks", "tat", "unit_q"]), default="dks", show_default=True)
@click.option("--zeta", type=float, help="Global slope bound of dks, above 1; 1.5 by default.")
@click.option("--tau", type=float, help="Largest curvature of tat, for smooth activations.")
@click.option("--eta", type=float, help="Largest C_f(0) of tat, for leaky relus.")
@click.option("--weights", type=click.Choice(["orthogonal", "gaussian"]), default="orthogonal", show_default=True)
@click.option("--delta/--no-delta", default=True, show_default=True, help="Delta initialization of filters.")
@click.option("--batch-norm", type=click.Choice(["error", "remove", "layer_norm"]), default="error", show_default=True)
@click.option("--pooling", type=click.Choice(["keep", "weighted"]), default="keep", show_default=True)
@click.option("--residual-weight", type=_ResidualWeight(), help="Weight of residual branches, between 0 and 1, or q.")
@click.option("--scalars", type=click.Choice(["error", "remove"]), default="error", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--report", "report_to", type=click.Path(dir_okay=False), help="Write what was changed (Markdown).")
@click.option("--save", "save_to", type=click.Path(dir_okay=False), help="Write the shaped model (torch.save).")
@JSON
def shape(
    model: str,
    inputs: tuple[tuple[int, ...], ...],
    report_to: str | None,
    save_to: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Shape a torch model: trace it, check its rules, solve, rebuild and initialise it.

    Example: qcmap shape models.resnet:resnet50 --input 3x224x224 --batch-norm remove --report out.md --save model.pt
    """
    from qcmap.nn import shape as shaped_model
    from qcmap.nn._named import read_model

    made = read_model(model)
    import torch

    examples = tuple(torch.zeros(2, *sizes) for sizes in inputs)
    given = {name: value for name, value in options.items() if value is not None}
    shaped = shaped_model(made, examples, **given)
    report = shaped.report()
    if save_to is not None:
        saved = io.BytesIO()
        torch.save(shaped, saved)
        write_whole(save_to, saved.getvalue())
    if report_to is not None:
        write_whole(report_to, f"{report}\n".encode())
    if as_json:
        print_json({**report.to_dict(), "shaping": shaped.shaping.to_dict()})
        return
    click.echo(report.method)
    click.echo(", ".join(f"{kind}: {count}" for kind, count in report.counts().items()))
    for warning in report.warnings:
        click.echo(f"warning: {warning.node}: {warning.message}; {warning.remedy}", err=True)
