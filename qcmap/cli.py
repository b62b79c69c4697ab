"""The command line: ``qcmap slope``, ``dks``, ``tat``, ``maps``, ``ntk``, ``compare``, ``check``, ``demo``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from qcmap.errors import QCMapError

if TYPE_CHECKING:
    from qcmap.architecture import Architecture
    from qcmap.numeric import Shaping, Solution
    from qcmap.symbolic import MaximalSlope, SlopePolynomial

_ARCHITECTURE = click.argument("architecture", metavar="ARCH")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_ACTIVATION = click.option("--activation", help="The activation, instead of the one that ARCH names.")
_OF_VIOLATION = ("rule", "severity", "node", "message", "remedy")
_CERTIFY = click.option(
    "--certify", "digits", type=click.IntRange(min=1), help="Prove the constants to this many digits (ball arithmetic)."
)
_SHAPED = click.option("--zeta", type=float, help="Shape with this global slope bound; unshaped if left out.")


class _Numbers(click.ParamType):
    """Numbers separated by commas."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        try:
            return value if isinstance(value, list) else [float(part) for part in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 0,0.5,1", param, ctx)


_C = click.option("--c", "c", type=_Numbers(), default="-1,-0.5,0,0.5,0.9,1", show_default=True, help="Input c values.")
_ZETA = click.option("--zeta", type=float, default=1.5, show_default=True, help="Global slope bound, above 1.")


class _Commands(click.Group):
    """Shows an error of ours as one line, exit code 1, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except QCMapError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="qcmap")
def main() -> None:
    """What a network's wiring does to geometry, gradients and learning.

    ARCH is a zoo call: mlp, resnet_v2, wide_resnet, densenet, unet, two_towers or multi_head, with arguments after a
    colon, such as resnet_v2:depth=50,residual_weight=0.2236 or mlp:depth=100,activation=softplus. Or it is an
    architecture file, such as network.yaml or network.json.
    """


def _architecture(specification: str, activation: str | None) -> Architecture:
    """The architecture of a file or a zoo call, all of its activations replaced if one is given."""
    from qcmap.architecture import Architecture, Node, Nonlinear, load, zoo

    if not specification.lower().endswith((".yaml", ".yml", ".json")):
        return zoo.call(specification, **({} if activation is None else {"activation": activation}))
    arch = load(specification)
    if activation is None:
        return arch
    replaced = Nonlinear(activation)
    nodes = (Node(n.id, replaced if isinstance(n.op, Nonlinear) else n.op, n.inputs) for n in arch.nodes)
    return Architecture(arch.name, tuple(nodes), arch.outputs)


def _print_json(data: object) -> None:
    click.echo(json.dumps(data, indent=2))


@main.command()
@_ARCHITECTURE
@_ZETA
@_JSON
def slope(architecture: str, zeta: float, as_json: bool) -> None:
    """Slope polynomial and maximal slope function of ARCH, and psi with mu(psi) = ZETA.

    The polynomial is that of the whole network, if it has one input and one output.

    Example: qcmap slope resnet_v2:depth=50,residual_weight=w
    """
    from qcmap.symbolic import maximal_slope, slope_polynomial

    arch = _architecture(architecture, None)
    mu = maximal_slope(arch)
    whole = slope_polynomial(arch) if len(arch.inputs) == len(arch.outputs) == 1 else None
    psi = None if arch.symbols else mu.inverse(zeta)
    if as_json:
        _print_json({"polynomial": whole and str(whole), **mu.to_dict(), "zeta": zeta, "psi": psi})
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


@main.command()
@_ARCHITECTURE
@_ZETA
@_ACTIVATION
@_CERTIFY
@_JSON
def dks(architecture: str, zeta: float, activation: str | None, digits: int | None, as_json: bool) -> None:
    """Constants of Deep Kernel Shaping for the activations of ARCH.

    Example: qcmap dks resnet_v2:depth=50,residual_weight=0.2236 --activation softplus
    """
    from qcmap.numeric import dks as solve

    _show(solve(_architecture(architecture, activation), zeta), digits, as_json)


@main.command()
@_ARCHITECTURE
@click.option("--tau", type=float, help="Largest curvature C_f''(1), for smooth activations; 0.3 by default.")
@click.option("--eta", type=float, help="Largest C_f(0), for leaky relus, between 0 and 1; 0.9 by default.")
@_ACTIVATION
@_CERTIFY
@_JSON
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

    _show(solve(_architecture(architecture, activation), tau=tau, eta=eta), digits, as_json)


def _show(shaping: Shaping, digits: int | None, as_json: bool) -> None:
    """A shaping as text or JSON, with its warnings, and with certificates if digits are asked for."""
    proofs = {} if digits is None else {name: found.to_dict() for name, found in shaping.certify(digits).items()}
    if as_json:
        _print_json(shaping.to_dict() | ({"certificates": proofs} if proofs else {}))
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


@main.command()
@_ARCHITECTURE
@_SHAPED
@_ACTIVATION
@_C
@click.option("--q", type=float, help="Input q value; that of the inputs (1 unless a file says otherwise) if left out.")
@_JSON
def maps(
    architecture: str, zeta: float | None, activation: str | None, c: list[float], q: float | None, as_json: bool
) -> None:
    """Q and C maps of ARCH from its inputs to its output, with derivatives and measures.

    Example: qcmap maps mlp:depth=50,activation=tanh --zeta 1.5 --c 0,0.5,1
    """
    from qcmap.numeric import dks as solve
    from qcmap.numeric import network_maps

    arch = _architecture(architecture, activation)
    shaping = None if zeta is None else solve(arch, zeta)
    found = network_maps(arch, shaping)
    rows: dict[str, Any] = {"architecture": arch.name, "zeta": zeta, "q": float(found.q(q)), "dq": float(found.dq(q))}
    rows |= {"c": c, "C": found.c(c, q, q).tolist(), "dC": found.dc(c, q, q).tolist()}
    uniform = len(arch.inputs) == 1 or q is not None
    if uniform:
        at = float(arch[arch.inputs[0]].op.q) if q is None else q  # pyright: ignore[reportAttributeAccessIssue]
        rows |= {"nl": found.nl(at), "na": found.na(at), "deviation": found.deviation(at).to_dict()}
    if as_json:
        _print_json(rows)
        return
    click.echo(f"{arch.name}{'' if zeta is None else f', shaped with zeta = {zeta:g}'}")
    click.echo(f"Q = {rows['q']:.12g}, Q' = {rows['dq']:.12g}")
    click.echo(f"{'c':>10} {'C(c)':>18} {'dC/dc':>18}")
    for row in zip(c, rows["C"], rows["dC"], strict=True):
        click.echo("{:>10g} {:>18.12g} {:>18.12g}".format(*row))
    if uniform:
        deviation = rows["deviation"]
        click.echo(f"nl = {rows['nl']:.6g}, na = {rows['na']:.6g}, max |C(c) - c| = {deviation['value']:.6g}")


@main.command()
@_ARCHITECTURE
@_SHAPED
@_ACTIVATION
@_C
@_JSON
def ntk(architecture: str, zeta: float | None, activation: str | None, c: list[float], as_json: bool) -> None:
    """Infinite-width tangent kernel of ARCH at input c values, with the share of its first and last affine layer.

    With --json, the kernel of each layer.

    Example: qcmap ntk mlp:depth=50,activation=relu --c 0,0.5,1
    """
    from qcmap.numeric import dks as solve
    from qcmap.numeric import ntk as tangent

    arch = _architecture(architecture, activation)
    kernel = tangent(arch, c, shaping=None if zeta is None else solve(arch, zeta))
    if as_json:
        _print_json({"architecture": arch.name, "zeta": zeta, "c": c, **kernel.to_dict()})
        return
    layers = list(kernel.terms)
    first, last = layers[0], layers[-1]
    click.echo(f"{arch.name}{'' if zeta is None else f', shaped with zeta = {zeta:g}'}")
    click.echo(f"{'c':>10} {'tangent kernel':>18} {'covariance':>18} {first:>18} {last:>18}")
    for row in zip(c, kernel.total, kernel.nngp, kernel.terms[first], kernel.terms[last], strict=True):
        click.echo("{:>10g} {:>18.12g} {:>18.12g} {:>18.12g} {:>18.12g}".format(*row))


@main.command()
@_ARCHITECTURE
@_ACTIVATION
@_JSON
def compare(architecture: str, activation: str | None, as_json: bool) -> None:
    """What each method of initialisation or shaping does to the maps of ARCH, as a table.

    Example: qcmap compare mlp:depth=50,activation=softplus
    """
    from qcmap.numeric import compare as compared

    table = compared(_architecture(architecture, activation))
    if as_json:
        _print_json(table.to_dict())
    else:
        click.echo(str(table))


@main.command()
@_ARCHITECTURE
@_JSON
@click.pass_context
def check(context: click.Context, architecture: str, as_json: bool) -> None:
    """The rules of the theory that ARCH breaks; exit code 1 if there are errors, 0 with warnings only.

    Example: qcmap check network.yaml
    """
    from qcmap.architecture import check as violations

    arch = _architecture(architecture, None)
    found = violations(arch)
    if as_json:
        _print_json([{name: getattr(violation, name) for name in _OF_VIOLATION} for violation in found])
    else:
        click.echo("\n".join(map(str, found)) or f"{arch.name}: no rule is broken")
    if any(violation.severity == "error" for violation in found):
        context.exit(1)


@main.command()
@click.option("--output", type=click.Path(file_okay=False), default="demo-output", show_default=True, help="Folder.")
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True, help="Epochs of training.")
@_JSON
def demo(output: str, epochs: int, as_json: bool) -> None:
    """Formulas, constants, training on real data, predictions against measurements, a picture. Under a minute."""
    from pathlib import Path

    from qcmap.demo import run

    results = run(Path(output), epochs=epochs, quiet=as_json)
    if as_json:
        _print_json(results)
