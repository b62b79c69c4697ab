"""What the commands share: the group, options, reading an architecture, printing JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from qcmap._named import named
from qcmap.errors import ArgumentError, QCMapError

if TYPE_CHECKING:
    from qcmap.architecture import Architecture

ARCHITECTURE = click.argument("architecture", metavar="ARCH")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
ACTIVATION = click.option("--activation", help="The activation, instead of the one that ARCH names.")
CERTIFY = click.option(
    "--certify", "digits", type=click.IntRange(min=1), help="Prove the constants to this many digits (ball arithmetic)."
)
_CALLABLE = re.compile(r"[\w.]+:[A-Za-z_][\w.]*")
SHAPED = click.option("--zeta", type=float, help="Shape with this global slope bound; unshaped if left out.")


class _Numbers(click.ParamType):
    """Numbers separated by commas."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        try:
            return value if isinstance(value, list) else [float(part) for part in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 0,0.5,1", param, ctx)


C = click.option("--c", "c", type=_Numbers(), default="-1,-0.5,0,0.5,0.9,1", show_default=True, help="Input c values.")
ZETA = click.option("--zeta", type=float, default=1.5, show_default=True, help="Global slope bound, above 1.")


class _Commands(click.Group):
    """Shows an error of ours as one line, exit code 1, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except QCMapError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="qcmap", prog_name="qcmap")
def main() -> None:
    """What a network's wiring does to geometry, gradients and learning.

    ARCH is a zoo call: mlp, resnet_v2, wide_resnet, densenet, unet, two_towers or multi_head, with arguments after a
    colon, such as resnet_v2:depth=50,residual_weight=0.2236 or mlp:depth=100,activation=softplus. Or it is an
    architecture file, such as network.yaml or network.json, or package.module:callable, which makes an architecture.

    The exit code is 0 if all went well, 1 if something was refused or found wrong, with one line that says why, and 2
    for a command line that is not understood.

    Example: qcmap slope resnet_v2:depth=50

    Completion: eval "$(_QCMAP_COMPLETE=bash_source qcmap)", or zsh_source, or fish_source.
    """


def read_architecture(specification: str, activation: str | None) -> Architecture:
    """The architecture of a file, a zoo call or a callable, all of its activations replaced if one is given."""
    from qcmap.architecture import Architecture

    network = read_network(specification, activation)
    if not isinstance(network, Architecture):
        raise ArgumentError(
            specification, f"it is no architecture but a {type(network).__name__}",
            "name one, or give a torch model to qcmap report or qcmap shape",
        )  # fmt: skip
    return network


def read_network(specification: str, activation: str | None) -> Any:
    """What ARCH stands for: an architecture, or whatever else its callable makes; see `read_architecture`."""
    from qcmap.architecture import Architecture, Node, Nonlinear, load, zoo

    if specification.lower().endswith((".yaml", ".yml", ".json")):
        network = load(specification)
    elif _CALLABLE.fullmatch(specification) and specification.partition(":")[0] not in zoo.FAMILIES:
        remedy = "name something importable from here that makes an architecture or a model without arguments"
        network = named(specification, _is_network, remedy)
    else:
        return zoo.call(specification, **({} if activation is None else {"activation": activation}))
    if activation is None:
        return network
    if not isinstance(network, Architecture):
        raise ArgumentError("--activation", "a model keeps its own activations", "leave it out")
    replaced = Nonlinear(activation)
    nodes = (Node(n.id, replaced if isinstance(n.op, Nonlinear) else n.op, n.inputs) for n in network.nodes)
    return Architecture(network.name, tuple(nodes), network.outputs)


def _is_network(found: object) -> bool:
    """Whether it is one as it stands: models can be called too, but not to make one."""
    return not callable(found) or (not isinstance(found, type) and hasattr(found, "forward"))


def print_json(data: object) -> None:
    """Print plain data."""
    click.echo(json.dumps(data, indent=2))
