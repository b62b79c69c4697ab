"""A bar on standard error that shows how far a run is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Bar:
    """A rich bar over epochs, with the figures of the last one."""

    def __init__(self, epochs: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
        self.progress = Progress(*columns, console=Console(stderr=True))
        self.task = self.progress.add_task("training", total=epochs, completed=done)

    def step(self, epochs: float) -> None:
        """Move on by a part of an epoch."""
        self.progress.update(self.task, advance=epochs)

    def epoch(self, number: int, row: Mapping[str, Any]) -> None:
        """Show the figures of an epoch, counted from 1."""
        parts = [f"loss {row['loss']:.3f}"]
        for name in ("train", "validation", "test"):
            figures = row.get(name, {})
            if figures:
                parts.append(
                    f"{name} {figures['accuracy']:.1%}" if "accuracy" in figures else f"{name} {figures['loss']:.3g}"
                )
        if "train" not in row and "accuracy" in row:
            parts.insert(1, f"train {row['accuracy']:.1%}")
        self.progress.update(self.task, completed=number, description="  ".join(parts))


class Silent:
    """Shows nothing."""

    def step(self, epochs: float) -> None:
        """Nothing."""

    def epoch(self, number: int, row: Mapping[str, Any]) -> None:
        """Nothing."""


@contextmanager
def progress_bar(epochs: int, done: int, *, shown: bool) -> Iterator[Bar | Silent]:
    """What to report steps and epochs to, drawn if wanted."""
    if not shown:
        yield Silent()
        return
    bar = Bar(epochs, done)
    with bar.progress:
        yield bar
