"""The command ``npk``: the neural path kernel of a trained torch model on data."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qcmap.cli._common import JSON, print_json
from qcmap.errors import ArgumentError, DataError, NumericalError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    Array = NDArray[np.float64]


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("data", metavar="DATA")
@click.option("--limit", type=click.IntRange(min=2), default=1000, show_default=True, help="Use so many examples.")
@click.option("--plot", "plot_to", type=click.Path(dir_okay=False, path_type=Path), help="Draw the kernel.")
@click.option("--save", "save_to", type=click.Path(dir_okay=False, path_type=Path), help="Write the kernel (.npy).")
@JSON
def npk(model: str, data: str, limit: int, plot_to: Path | None, save_to: Path | None, as_json: bool) -> None:
    """The neural path kernel of a ReLU network: how many paths examples share, and how that turns to their labels.

    MODEL is a file that torch.save wrote of a whole model (such files can run code when read: use your own), or
    package.module:callable. DATA is an .npz file with x [n, ...] and labels y [n], if there are any, an .npy file with
    x, or the word digits.

    Example: qcmap npk model.pt digits --plot kernel.png
    """
    import numpy as np
    import torch

    from qcmap.nn import split_gates, subnetworks
    from qcmap.paths import Spectrum, nu

    network = read_saved_model(model)
    x, labels = read_examples(data, limit)
    dtype = next((p.dtype for p in network.parameters()), torch.float32)
    inputs = torch.as_tensor(x).to(dtype)
    split = split_gates(network.eval(), inputs[:2])
    try:
        kernel = split.path_kernel(inputs)
    except NumericalError as error:
        remedy = "divide the inputs by a constant: the kernel is quadratic in them"
        raise NumericalError(model, "its path kernel is beyond the range of floats", remedy) from error
    active = subnetworks(split.gates, inputs)
    spectrum = Spectrum.of(kernel)
    found: dict[str, Any] = {
        "examples": len(kernel),
        "active": active.shares(),
        "eigenvalues": {"largest": spectrum.largest, "median": spectrum.median, "smallest": spectrum.smallest},
        "trace": float(np.trace(kernel)),
    }
    if labels is not None:
        found["likeness"] = likeness(kernel, labels)
        if len(np.unique(labels)) == 2:
            signs = np.where(labels == labels.max(), 1.0, -1.0)
            try:
                found["nu"] = nu(kernel, signs)
            except NumericalError as error:
                found["nu"] = None
                click.echo(f"warning: no nu: {error.rule}", err=True)
    if plot_to is not None:
        from qcmap.plot import new_figure, path_kernel, save

        figure, axes = new_figure(2, 5.0)
        path_kernel(axes, kernel, labels)
        save(figure, plot_to)
    if save_to is not None:
        _write(save_to, kernel)
    if as_json:
        print_json(found)
        return
    from rich.console import Console

    click.echo(f"{split.architecture.name}: path kernel of {len(kernel)} examples")
    Console().print(active.table())
    total = found["trace"]
    click.echo("eigenvalues / trace: " + ", ".join(f"{k} {v / total:.3g}" for k, v in found["eigenvalues"].items()))
    if "likeness" in found:
        one, other = ("no pairs" if mean is None else f"{mean:.3f}" for mean in found["likeness"].values())
        click.echo(f"mean cosine of path features: {one} within classes, {other} between")
    if found.get("nu") is not None:
        click.echo(
            f"nu = y' (H / tr H)^-1 y = {found['nu']:.6g} (from {len(kernel)}, where H is aligned with the labels)"
        )


def read_saved_model(specification: str) -> nn.Module:
    """A model from a file of torch.save, or made by ``package.module:callable``.

    Raises
    ------
    ArgumentError
        For a file that is not there or holds no whole model, or what `read_model` refuses.
    """
    from torch import load, nn

    from qcmap.nn._named import read_model

    path = Path(specification)
    if not path.is_file() and ":" in specification:
        return read_model(specification)
    if not path.is_file():
        raise ArgumentError(specification, "there is no such file", "name a .pt file or package.module:callable")
    try:
        found = load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # whatever unpickling raises
        raise ArgumentError(
            specification, f"it cannot be read ({type(error).__name__}: {error})",
            "write it with torch.save(model, path), where the model's class can be imported from here",
        ) from error  # fmt: skip
    if not isinstance(found, nn.Module):
        rule = f"it holds a {type(found).__name__}, not a whole model"
        raise ArgumentError(specification, rule, "write it with torch.save(model, path), not its state_dict")
    return found


def read_examples(specification: str, limit: int) -> tuple[Array, NDArray[Any] | None]:
    """Inputs [n, ...] and labels [n] or None: the first examples of a file, or of scikit-learn's digits.

    Raises
    ------
    DataError
        For a file that is missing, is no array file, or whose arrays do not fit each other or are not finite.
    """
    import numpy as np

    if specification == "digits":
        from qcmap.nn.train.data import read_digits

        images = read_digits()
        return images.pixels.reshape(-1, 64)[:limit].astype(np.float64), images.labels[:limit]
    path = Path(specification)
    if not path.is_file():
        raise DataError(specification, "there is no such file", "give an .npz or .npy file, or the word digits")
    try:
        loaded = np.load(path)
        if isinstance(loaded, np.ndarray):
            arrays = {"x": loaded}
        else:
            with loaded:
                arrays = dict(loaded)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(specification, f"it is no file of arrays ({error})", "write it with numpy.savez") from error
    x, y = arrays.get("x"), arrays.get("y")
    if x is None or x.ndim < 2 or x.dtype.kind not in "biuf" or not np.isfinite(x).all():
        raise DataError(
            specification, "it has no finite inputs x [n, ...]", "write it with numpy.savez(path, x=x, y=y)"
        )
    if y is not None and (y.ndim != 1 or len(y) != len(x) or y.dtype.kind not in "biuf"):
        raise DataError(specification, f"labels of shape {y.shape} do not go with {len(x)} inputs", "give y [n]")
    if y is not None and not np.isfinite(y).all():
        raise DataError(specification, "its labels y are not all finite", "give each input a label")
    return x[:limit].astype(np.float64), None if y is None else y[:limit]


def likeness(kernel: Array, labels: NDArray[Any]) -> dict[str, float | None]:
    """The mean cosine of path features over different examples of one class, and over examples of two; None of none."""
    import numpy as np

    length = np.sqrt(kernel.diagonal())
    cosine = kernel / np.where(length > 0, length, 1)[:, None] / np.where(length > 0, length, 1)[None, :]
    same, apart = labels[:, None] == labels[None, :], ~np.eye(len(labels), dtype=bool)
    means = {"within": cosine[same & apart], "between": cosine[~same]}
    return {name: float(values.mean()) if values.size else None for name, values in means.items()}


def _write(path: Path, kernel: Array) -> None:
    import io

    import numpy as np

    from qcmap._atomic import write_whole

    content = io.BytesIO()
    np.save(content, kernel)
    write_whole(path, content.getvalue())
