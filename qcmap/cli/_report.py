"""The command ``report``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qcmap.cli._common import ACTIVATION, ARCHITECTURE, JSON, ZETA, print_json, read_network
from qcmap.cli._models import inputs_option
from qcmap.errors import ArgumentError

if TYPE_CHECKING:
    from qcmap.reporting import Report


@click.command()
@ARCHITECTURE
@click.option("-o", "--output", type=click.Path(dir_okay=False), default="report.html", show_default=True,
              help="The page to write.")  # fmt: skip
@ZETA
@ACTIVATION
@click.option("--title", help="The heading; the architecture's name if left out.")
@inputs_option(required=False)
@click.option("--samples", type=click.IntRange(min=2), default=16, show_default=True, help="Of a model's measurement.")
@click.option("--measure/--no-measure", default=True, show_default=True, help="Measure a model beside its predictions.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of a model's measurement.")
@JSON
def report(
    architecture: str,
    output: str,
    zeta: float,
    activation: str | None,
    title: str | None,
    inputs: tuple[tuple[int, ...], ...],
    samples: int,
    measure: bool,
    seed: int,
    as_json: bool,
) -> None:
    """A page about ARCH: graph, slopes, C maps, constants, rules, tangent kernel; works without a network.

    ARCH may also be package.module:callable, which makes an architecture or, with --input, a torch model. Random
    inputs of q value 1 are then measured beside the predictions. --json prints what the page says as well.

    Example: qcmap report resnet_v2:depth=50,residual_weight=0.2236 --activation softplus -o report.html
    """
    from qcmap.architecture import Architecture
    from qcmap.reporting import report as made

    network = read_network(architecture, activation)
    if isinstance(network, Architecture):
        if inputs:
            raise ArgumentError("--input", "an architecture takes none", "leave it out, or name a torch model")
        page = made(network, zeta=zeta, title=title)
    else:
        if not inputs:
            raise ArgumentError(architecture, "a torch model is traced with an example", "give --input 3x224x224")
        page = _of_model(network, inputs, samples, zeta=zeta, title=title, measure=measure, seed=seed)
    page.save(output)
    if as_json:
        print_json(page.to_dict())
    else:
        click.echo(f"{output}: {page.title}, {len(page.html.encode()) / 1000:,.0f} kB")


def _of_model(
    model: object,
    inputs: tuple[tuple[int, ...], ...],
    samples: int,
    *,
    zeta: float,
    title: str | None,
    measure: bool,
    seed: int,
) -> Report:
    """The report of a model at random inputs whose location vectors have q value 1."""
    import torch

    from qcmap.reporting import report as made

    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(samples, *sizes, generator=generator) for sizes in inputs]
    x = tuple(one / one.square().mean(1, keepdim=True).sqrt() for one in drawn)
    return made(model, x, zeta=zeta, title=title, measure=measure, seed=seed)  # pyright: ignore[reportArgumentType]
