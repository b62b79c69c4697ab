"""Pictures (matplotlib, extra ``plot``)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qcmap._atomic import write_whole
from qcmap.errors import MissingExtra

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from qcmap.gated import Solution
    from qcmap.nn import History


def new_figure(columns: int, width: float = 5.0, height: float = 3.8) -> tuple[Figure, list[Axes]]:
    """A figure with axes side by side, made without pyplot's global state; raises `MissingExtra` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("qcmap.plot", "it needs matplotlib", "pip install 'qcmap[plot]'") from error
    figure = Figure(figsize=(columns * width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(1, columns, k + 1) for k in range(columns)]


def accuracy(axes: Axes, histories: Mapping[str, History]) -> None:
    """Training accuracy by epoch, one line a network; shaped ones are solid."""
    for name, history in histories.items():
        epochs = range(1, len(history.train_accuracy) + 1)
        solid = name.startswith("shaped")
        axes.plot(epochs, history.train_accuracy, label=name, linestyle="-" if solid else "--", marker=".")
    axes.set(xlabel="epoch", ylabel="training accuracy", ylim=(0, 1.02), title="50 layers, no skips, no normalizers")
    axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(0.02, 0.92))


def by_layer(
    axes: Axes,
    predicted: Sequence[float],
    mean: Sequence[float],
    error: Sequence[float],
    *,
    label: str,
    quantity: str,
    linestyle: str = "-",
) -> None:
    """A measured quantity by layer with its standard error, beside the prediction."""
    layers = range(1, len(mean) + 1)
    points = axes.errorbar(layers, mean, yerr=error, fmt=".", markersize=4, elinewidth=0.8, label=f"{label}, measured")
    axes.plot(layers, predicted, color=points[0].get_color(), linestyle=linestyle, label=f"{label}, predicted")
    axes.set(xlabel="layer", ylabel=quantity)
    axes.legend(fontsize="small")


def save(figure: Figure, path: Path) -> Path:
    """Write the figure whole or not at all, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = io.BytesIO()
    figure.savefig(image, dpi=150, format=path.suffix.lstrip("."))
    write_whole(path, image.getvalue())
    return path


def variables(axes: Axes, solution: Solution) -> None:
    """The variables of a reduced gated network over time, one line a mode, one colour a variable."""
    for k, symbol in enumerate(solution.reduced.symbols):
        edges = solution.reduced.classes[symbol]
        label = f"{symbol}: {edges[0]}" + (f" and {len(edges) - 1} more" if len(edges) > 1 else "")
        lines = axes.plot(solution.times, solution.values[:, k], color=f"C{k}")
        lines[0].set_label(label)
    axes.set(xlabel="time / tau", ylabel="singular value")
    axes.legend(fontsize="small")


def path_kernel(axes: Sequence[Axes], kernel: NDArray[np.float64], labels: NDArray[Any] | None = None) -> None:
    """The cosines of path features, examples in the order of their labels, and the spectrum of the kernel."""
    import numpy as np

    order = np.arange(len(kernel)) if labels is None else np.argsort(labels, kind="stable")
    length = np.sqrt(np.maximum(kernel.diagonal(), 0))
    length[length == 0] = 1
    image = axes[0].imshow((kernel / length[:, None] / length)[np.ix_(order, order)], vmin=-1, vmax=1, cmap="RdBu_r")
    axes[0].figure.colorbar(image, ax=axes[0], shrink=0.8)
    axes[0].set(title="cosine of path features", xlabel="example" + (", by label" if labels is not None else ""))
    values = np.linalg.eigvalsh(kernel)
    axes[1].plot(np.cumsum(values) / values.sum())
    axes[1].set(title="spectrum", xlabel="eigenvalue", ylabel="cumulative sum / trace", ylim=(0, 1.02))
