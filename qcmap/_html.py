"""Pieces of HTML: escaped text, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape as _escape


def escape(text: object) -> str:
    """The text of anything, safe between tags and in attributes."""
    return _escape(str(text), quote=True)


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "", marks: Sequence[str] = ()
) -> str:
    """A table whose first column are row headings.

    Parameters
    ----------
    head
        The titles of the columns.
    rows
        The cells: `Markup` as it is, anything else as escaped text, numbers to six digits.
    caption
        What the table says.
    marks
        A class for each column; by default none.
    """
    classes = [f' class="{name}"' if name else "" for name in marks] or [""] * len(head)
    parts = ["<table>", f"<caption>{escape(caption)}</caption>" if caption else "", "<thead><tr>"]
    parts += [f'<th scope="col"{c}>{escape(title)}</th>' for title, c in zip(head, classes, strict=True)]
    parts.append("</tr></thead><tbody>")
    for row in rows:
        parts.append("<tr>")
        for k, (cell, c) in enumerate(zip(row, classes, strict=True)):
            text = cell if isinstance(cell, Markup) else escape(number(cell))
            parts.append(f'<th scope="row"{c}>{text}</th>' if k == 0 else f"<td{c}>{text}</td>")
        parts.append("</tr>")
    parts.append("</tbody></table>")
    return "".join(parts)


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def number(value: object, digits: int = 6) -> str:
    """A float to so many significant digits, with a minus sign; None as a dash; anything else as `str` gives it."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, float):
        return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")
    return str(value)
