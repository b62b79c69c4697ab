"""The command ``paths``: neural paths of an architecture."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qcmap.cli._common import ARCHITECTURE, JSON, print_json, read_architecture
from qcmap.errors import DataError, NumericalError

if TYPE_CHECKING:
    from qcmap.architecture import Units
    from qcmap.numeric.paths._first import Unit


@click.command()
@ARCHITECTURE
@click.option("--first", type=click.IntRange(min=0), default=3, show_default=True, help="Show so many paths.")
@click.option(
    "--gates",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="An .npz file with an array [n, channels, *extent] for each activation: print Lambda.",
)
@JSON
def paths(architecture: str, first: int, gates: Path | None, as_json: bool) -> None:
    """Neural paths of ARCH: how many, some of them, and how many of them examples share.

    ARCH has channels everywhere and no biases. Lambda(s, s') is the number of paths that are active for both of two
    examples, for each input unit.

    Example: qcmap paths mlp:depth=2,width=3,in_channels=2,out_channels=1 --gates gates.npz
    """
    from qcmap import paths as neural

    units = neural.Units.of(read_architecture(architecture, None))
    count = neural.count_paths(units)
    shown = [_text(path) for path in (neural.first_paths(units, first) if first else ())]
    rows: dict[str, Any] = {"architecture": units.architecture.name, "paths": count, "first": shown}
    overlap, heading = (None, "") if gates is None else _overlap(units, _read(gates))
    if overlap is not None:
        key = "overlap" if heading == "Lambda" else "log_overlap"
        rows[key] = [[entry if entry > -math.inf else None for entry in row] for row in overlap.tolist()]
    if as_json:
        with _all_digits():
            print_json(rows)
        return
    with _all_digits():
        click.echo(f"{units.architecture.name}: {count} paths{'' if count < 10**6 else f', about {_rounded(count)}'}")
    click.echo("\n".join([*(f"  {text}" for text in shown), *(["  ..."] if 0 < len(shown) < count else [])]))
    if overlap is not None:
        click.echo(heading)
        click.echo("\n".join(" ".join(f"{entry:12g}" for entry in row) for row in overlap))


def _overlap(units: Units, gates: dict[str, Any]) -> tuple[Any, str]:
    """Lambda and its name, or its logarithm if it is beyond the range of floats."""
    import numpy as np

    from qcmap import paths as neural

    given = neural.Gates.of(units, gates)
    try:
        return neural.overlap(units, given), "Lambda"
    except NumericalError:
        ones = {name: np.ones((given.count, *units.shape(name))) for name in units.architecture.inputs}
        d_in = sum(units.size(name) for name in ones)
        return neural.log_path_kernel(units, given, ones).logarithm - math.log(
            d_in
        ), "log Lambda, as Lambda is no float"


def _text(path: tuple[Unit, ...]) -> str:
    steps = [f"{node}[{','.join(map(str, position))}]" for node, position in path]
    return " -> ".join(steps if len(steps) <= 12 else [*steps[:6], f"({len(steps) - 11} more)", *steps[-5:]])


@contextmanager
def _all_digits() -> Iterator[None]:
    """Python prints integers of at most 4,300 digits, unless told otherwise."""
    most = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(most)


def _rounded(count: int) -> str:
    return f"{Decimal(count):.3g}"


def _read(path: Path) -> dict[str, Any]:
    import zipfile

    import numpy as np

    try:
        loaded = np.load(path)
        if isinstance(loaded, np.ndarray):
            raise ValueError("it is one array")
        with loaded:
            return dict(loaded)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(str(path), "it is no .npz file of arrays", "write it with numpy.savez") from error
