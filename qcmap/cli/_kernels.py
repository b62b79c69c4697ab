"""The commands that evaluate maps and kernels: ``maps``, ``ntk`` and ``compare``."""

from __future__ import annotations

from typing import Any

import click

from qcmap.cli._common import ACTIVATION, ARCHITECTURE, JSON, SHAPED, C, print_json, read_architecture


@click.command()
@ARCHITECTURE
@SHAPED
@ACTIVATION
@C
@click.option("--q", type=float, help="Input q value; that of the inputs (1 unless a file says otherwise) if left out.")
@JSON
def maps(
    architecture: str, zeta: float | None, activation: str | None, c: list[float], q: float | None, as_json: bool
) -> None:
    """Q and C maps of ARCH from its inputs to its output, with derivatives and measures.

    Example: qcmap maps mlp:depth=50,activation=tanh --zeta 1.5 --c 0,0.5,1
    """
    from qcmap.numeric import dks as solve
    from qcmap.numeric import network_maps

    arch = read_architecture(architecture, activation)
    shaping = None if zeta is None else solve(arch, zeta)
    found = network_maps(arch, shaping)
    rows: dict[str, Any] = {"architecture": arch.name, "zeta": zeta, "q": float(found.q(q)), "dq": float(found.dq(q))}
    rows |= {"c": c, "C": found.c(c, q, q).tolist(), "dC": found.dc(c, q, q).tolist()}
    uniform = len(arch.inputs) == 1 or q is not None
    if uniform:
        at = float(arch[arch.inputs[0]].op.q) if q is None else q  # pyright: ignore[reportAttributeAccessIssue]
        rows |= {"nl": found.nl(at), "na": found.na(at), "deviation": found.deviation(at).to_dict()}
    if as_json:
        print_json(rows)
        return
    click.echo(f"{arch.name}{'' if zeta is None else f', shaped with zeta = {zeta:g}'}")
    click.echo(f"Q = {rows['q']:.12g}, Q' = {rows['dq']:.12g}")
    click.echo(f"{'c':>10} {'C(c)':>18} {'dC/dc':>18}")
    for row in zip(c, rows["C"], rows["dC"], strict=True):
        click.echo("{:>10g} {:>18.12g} {:>18.12g}".format(*row))
    if uniform:
        deviation = rows["deviation"]
        click.echo(f"nl = {rows['nl']:.6g}, na = {rows['na']:.6g}, max |C(c) - c| = {deviation['value']:.6g}")


@click.command()
@ARCHITECTURE
@SHAPED
@ACTIVATION
@C
@JSON
def ntk(architecture: str, zeta: float | None, activation: str | None, c: list[float], as_json: bool) -> None:
    """Infinite-width tangent kernel of ARCH at input c values, with the share of its first and last affine layer.

    With --json, the kernel of each layer.

    Example: qcmap ntk mlp:depth=50,activation=relu --c 0,0.5,1
    """
    from qcmap.numeric import dks as solve
    from qcmap.numeric import ntk as tangent

    arch = read_architecture(architecture, activation)
    kernel = tangent(arch, c, shaping=None if zeta is None else solve(arch, zeta))
    if as_json:
        print_json({"architecture": arch.name, "zeta": zeta, "c": c, **kernel.to_dict()})
        return
    layers = list(kernel.terms)
    first, last = layers[0], layers[-1]
    click.echo(f"{arch.name}{'' if zeta is None else f', shaped with zeta = {zeta:g}'}")
    click.echo(f"{'c':>10} {'tangent kernel':>18} {'covariance':>18} {first:>18} {last:>18}")
    for row in zip(c, kernel.total, kernel.nngp, kernel.terms[first], kernel.terms[last], strict=True):
        click.echo("{:>10g} {:>18.12g} {:>18.12g} {:>18.12g} {:>18.12g}".format(*row))


@click.command()
@ARCHITECTURE
@ACTIVATION
@JSON
def compare(architecture: str, activation: str | None, as_json: bool) -> None:
    """What each method of initialisation or shaping does to the maps of ARCH, as a table.

    Example: qcmap compare mlp:depth=50,activation=softplus
    """
    from qcmap.numeric import compare as compared

    table = compared(read_architecture(architecture, activation))
    if as_json:
        print_json(table.to_dict())
    else:
        click.echo(str(table))
