"""The commands that read the wiring alone: ``slope`` and ``check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qcmap.cli._common import ARCHITECTURE, JSON, ZETA, print_json, read_architecture

if TYPE_CHECKING:
    from qcmap.architecture import Architecture
    from qcmap.symbolic import MaximalSlope, SlopePolynomial

_OF_VIOLATION = ("rule", "severity", "node", "message", "remedy")


@click.command()
@ARCHITECTURE
@ZETA
@JSON
def slope(architecture: str, zeta: float, as_json: bool) -> None:
    """Slope polynomial and maximal slope function of ARCH, and psi with mu(psi) = ZETA.

    The polynomial is that of the whole network, if it has one input and one output.

    Example: qcmap slope resnet_v2:depth=50,residual_weight=w
    """
    from qcmap.symbolic import maximal_slope, slope_polynomial

    arch = read_architecture(architecture, None)
    mu = maximal_slope(arch)
    whole = slope_polynomial(arch) if len(arch.inputs) == len(arch.outputs) == 1 else None
    psi = None if arch.symbols else mu.inverse(zeta)
    if as_json:
        print_json({"polynomial": whole and str(whole), **mu.to_dict(), "zeta": zeta, "psi": psi})
        return
    click.echo(_slope_text(arch, whole, mu))
    if psi is None:
        click.echo(f"psi is not computed: give {' and '.join(arch.symbols)} a number")
    else:
        best = mu.argmax(psi)
        click.echo(f"mu(psi) = {zeta:g} at psi = {psi:.15g}, attained from {best.source} to {best.target}")


def _slope_text(arch: Architecture, whole: SlopePolynomial | None, mu: MaximalSlope) -> str:
    lines = [arch.name, *([] if whole is None else [f"slope polynomial p(psi) = {whole}"])]
    lines.append(f"maximal slope mu(psi) = {mu}")
    starts = mu.starts
    for c in mu.candidates if len(mu.candidates) > 1 else ():
        where = "".join(f", from psi = {start}" for start in starts.get(c.target, ()))
        lines.append(f"  {c.source} to {c.target}: {c.polynomial}{where}")
    return "\n".join(lines)


@click.command()
@ARCHITECTURE
@JSON
@click.pass_context
def check(context: click.Context, architecture: str, as_json: bool) -> None:
    """The rules of the theory that ARCH breaks; exit code 1 if there are errors, 0 with warnings only.

    Example: qcmap check network.yaml
    """
    from qcmap.architecture import check as violations

    arch = read_architecture(architecture, None)
    found = violations(arch)
    if as_json:
        print_json([{name: getattr(violation, name) for name in _OF_VIOLATION} for violation in found])
    else:
        click.echo("\n".join(map(str, found)) or f"{arch.name}: no rule is broken")
    if any(violation.severity == "error" for violation in found):
        context.exit(1)
