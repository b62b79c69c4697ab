"""The site of the documentation: pages are in the navigation, names in the API, figures on pages."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

import qcmap

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def leaves(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for value in entry.values() if isinstance(entry, dict) else entry:
            yield from leaves(value)


def test_navigation_has_every_page_once():
    """A new page needs a line under ``nav`` in mkdocs.yml."""
    named = list(leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert len(named) == len(set(named))
    assert set(named) == {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}


def test_every_public_name_is_in_the_api():
    page = (DOCS / "api" / "index.md").read_text()
    assert {name for name in qcmap.__all__ if f"`qc.{name}`" not in page} == set()


def test_every_public_module_has_a_page():
    shown = set(
        re.findall(r"^::: ([\w.]+)", "\n".join(p.read_text() for p in (DOCS / "api").glob("*.md")), re.MULTILINE)
    )
    modules = {name for name in qcmap._SUBMODULES if not name.startswith("_")}
    assert {f"qcmap.{name}" for name in modules} <= shown
    assert {"qcmap.architecture.zoo", "qcmap.nn.methods", "qcmap.nn.train", "models"} <= shown


def test_every_figure_is_shown():
    text = "\n".join(path.read_text() for path in [*DOCS.rglob("*.md"), ROOT / "README.md"])
    assert [str(path) for path in (DOCS / "figures").rglob("*.png") if path.name not in text] == []


def test_citation_has_the_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == qcmap.__version__
