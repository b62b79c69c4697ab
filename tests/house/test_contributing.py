"""The pages on contributing can be followed: their blocks are applied to a copy of the repository, and it runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "contributing"
COPIED = ("qcmap", "theory_checks", "examples", "tests", "models")
QUICK = {
    "activation": "-m qcmap dks mlp:depth=20,activation=isru --zeta 1.5",
    "op": "try_shuffle.py",
    "statement": "-m theory_checks example-01 --self-test",
    "experiment": "-m examples.neural_race domains --size tiny --output try-domains",
}
"""What shows in a second or two that a page's steps work. The pages name tests to run besides."""


class Block(NamedTuple):
    """A block with a title: a new file (``python``), a change (``diff``) or commands (``sh``)."""

    language: str
    title: str
    text: str


def blocks(page: str) -> list[Block]:
    found = re.findall(
        r'^```(\w+) title="([^"]+)"\n(.*?)^```$', (PAGES / f"{page}.md").read_text(), re.DOTALL | re.MULTILINE
    )
    return [Block(*parts) for parts in found]


def changed(text: str, change: str, where: str) -> str:
    """The text with one change: lines with + are new, lines with - go, the others must be there, once and in a row."""
    lines = [line or " " for line in change.splitlines()]
    assert {line[0] for line in lines} <= set(" +-"), change
    before = "".join(f"{line[1:]}\n" for line in lines if line[0] in " -")
    after = "".join(f"{line[1:]}\n" for line in lines if line[0] in " +")
    assert text.count(f"\n{before}") == 1, f"{where} has these lines {text.count(before)} times:\n{before}"
    return text.replace(f"\n{before}", f"\n{after}")


def follow(page: str, root: Path) -> None:
    """Apply the blocks of a page to the repository at ``root``."""
    for block in blocks(page):
        path = root / block.title
        if block.language == "python":
            assert not path.exists(), f"{block.title} is there already"
            path.write_text(block.text)
        elif block.language == "diff":
            path.write_text(changed(path.read_text(), block.text, block.title))


@pytest.mark.parametrize("page", QUICK)
def test_a_page_can_be_followed(page, tmp_path):
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "files.md", tmp_path / "docs")
    follow(page, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *QUICK[page].split()]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("page", QUICK)
def test_what_a_page_runs_is_what_it_says(page):
    commands = [line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
    assert QUICK[page].removeprefix("-m qcmap").strip() in " ".join(commands)


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_paths_that_pages_name_exist(page):
    made = {block.title for path in PAGES.glob("*.md") for block in blocks(path.stem)}
    named = re.findall(r"`((?:qcmap|tests|examples|theory_checks|docs|models|benchmarks)/[\w./]+)`", page.read_text())
    missing = [name for name in named if name not in made and not (ROOT / name).exists()]
    assert not missing
