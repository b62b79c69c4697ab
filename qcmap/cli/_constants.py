"""The commands that solve for the constants of activations: ``dks`` and ``tat``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qcmap.cli._common import ACTIVATION, ARCHITECTURE, CERTIFY, JSON, ZETA, print_json, read_architecture

if TYPE_CHECKING:
    from qcmap.numeric import Shaping, Solution


@click.command()
@ARCHITECTURE
@ZETA
@ACTIVATION
@CERTIFY
@JSON
def dks(architecture: str, zeta: float, activation: str | None, digits: int | None, as_json: bool) -> None:
    """Constants of Deep Kernel Shaping for the activations of ARCH.

    Example: qcmap dks resnet_v2:depth=50,residual_weight=0.2236 --activation softplus
    """
    from qcmap.numeric import dks as solve

    _show(solve(read_architecture(architecture, activation), zeta), digits, as_json)


@click.command()
@ARCHITECTURE
@click.option("--tau", type=float, help="Largest curvature C_f''(1), for smooth activations; 0.3 by default.")
@click.option("--eta", type=float, help="Largest C_f(0), for leaky relus, between 0 and 1; 0.9 by default.")
@ACTIVATION
@CERTIFY
@JSON
def tat(
    architecture: str,
    tau: float | None,
    eta: float | None,
    activation: str | None,
    digits: int | None,
    as_json: bool,
) -> None:
    """Constants of tailored activation transformations for the activations of ARCH.

    Example: qcmap tat resnet_v2:depth=50,residual_weight=0.2236 --activation leaky_relu --eta 0.8
    """
    from qcmap.numeric import tat as solve

    _show(solve(read_architecture(architecture, activation), tau=tau, eta=eta), digits, as_json)


def _show(shaping: Shaping, digits: int | None, as_json: bool) -> None:
    """A shaping as text or JSON, with its warnings, and with certificates if digits are asked for."""
    proofs = {} if digits is None else {name: found.to_dict() for name, found in shaping.certify(digits).items()}
    if as_json:
        print_json(shaping.to_dict() | ({"certificates": proofs} if proofs else {}))
        return
    bounds = {"tau": shaping.tau, "eta": shaping.eta, "zeta": shaping.zeta}
    rows = [f"{name} = {value:g}" for name, value in bounds.items() if value is not None]
    rows += [] if shaping.psi is None else [f"psi = {shaping.psi:.15g}"]
    click.echo(f"{shaping.architecture.name}: {', '.join(rows)}")
    for name, solution in shaping.solutions.items():
        click.echo(_solution_text(name, solution))
        if name in proofs:
            rows = proofs[name]["constants"]
            click.echo("\n".join([f"  proved to {digits} digits:", *(f"    {key:<15}{rows[key]}" for key in rows)]))
    _warn(shaping)


def _solution_text(name: str, solution: Solution) -> str:
    rows = {**solution.transform.activation.parameters, **solution.transform.constants}
    lines = [name, *(f"  {key:<15}{value: .15g}" for key, value in rows.items())]
    worst = max(map(abs, solution.residuals.values()))
    lines.append(f"  {', '.join(solution.targets)} met, residuals at most {worst:.1e}")
    if solution.others:
        pairs = ", ".join(f"({scale:.6g}, {shift:.6g})" for scale, shift in solution.others)
        lines.append(f"  other solutions (input_scale, input_shift): {pairs}")
    return "\n".join(lines)


def _warn(shaping: Shaping) -> None:
    for warning in shaping.warnings:
        click.echo(f"warning: {warning.node}: {warning.message}; {warning.remedy}", err=True)
