"""The wheel, built from the source distribution, holds `qcmap` alone, and works without the extras."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--outdir", str(target), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(target.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_qcmap_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"qcmap", "qcmap-0.1.0.dist-info"}
    assert "qcmap/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "qcmap").rglob("*.py")}
    assert sources <= set(names)


@pytest.mark.slow
def test_the_source_distribution_can_test_itself(wheel):
    (archive,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    for name in ("pyproject.toml", "constraints.txt", "qcmap/cli/__init__.py", "tests/test_cli.py", "docs/errata.md"):
        assert name in names
    assert not any(name.startswith((".venv", "results", "demo-output")) for name in names)


@pytest.mark.slow
def test_the_wheel_works_without_extras(wheel, tmp_path):
    """Run from the wheel with torch, matplotlib and scikit-learn hidden: slopes work, the rest names its extra."""
    blocked = (
        "import sys; sys.path.insert(0, {wheel!r})\n"
        "from importlib.abc import MetaPathFinder\n"
        "class Hidden(MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'matplotlib', 'sklearn'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "import importlib.util; real = importlib.util.find_spec\n"
        "hidden = ('torch', 'matplotlib', 'sklearn')\n"
        "importlib.util.find_spec = lambda name, *a: None if name in hidden else real(name, *a)\n"
        "import qcmap; assert '.whl' in qcmap.__file__, qcmap.__file__\n"
        "from qcmap.cli import main; main({arguments!r})\n"
    )

    def run(*arguments):
        program = blocked.format(wheel=str(wheel), arguments=list(arguments))
        return subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, cwd=tmp_path)

    slope = run("slope", "resnet_v2:depth=50")
    assert slope.returncode == 0, slope.stderr
    assert "psi^5" in slope.stdout
    version = run("--version")
    assert version.stdout == "qcmap, version 0.1.0\n"
    shape = run("shape", "package.module:model", "--input", "8")
    assert shape.returncode == 1
    assert shape.stderr == "Error: qcmap.nn: it needs torch, which is not installed; pip install 'qcmap[torch]'\n"
    demo = run("demo")
    assert demo.returncode == 1
    assert "pip install 'qcmap[" in demo.stderr
    assert "Traceback" not in demo.stderr
