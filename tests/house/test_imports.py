"""The house: imports point down only, and `import qcmap` is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import qcmap

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "qcmap"

ALLOWED = {
    "errors": set(),
    "_atomic": {"errors"},
    "_html": set(),
    "_lazy": set(),
    "_named": {"errors"},
    "_tables": {"_html"},
    "activations": {"errors"},
    "architecture": {"errors", "activations", "_atomic", "_html"},
    "symbolic": {"_lazy", "errors", "activations", "architecture"},
    "numeric": {"_lazy", "_html", "errors", "activations", "architecture", "symbolic"},
    "gated": {"_lazy", "errors", "architecture", "symbolic", "numeric"},
    "paths": {"_lazy", "architecture", "numeric"},
    "nn": {"errors", "_atomic", "_tables", "_named", "activations", "architecture", "symbolic", "numeric"},
    "plot": {"errors", "_atomic", "gated", "activations", "architecture", "symbolic", "numeric", "nn"},
    "reporting": {"_atomic", "_html", "errors", "architecture", "symbolic", "numeric", "nn"},
    "demo": {"errors", "activations", "architecture", "symbolic", "numeric", "nn", "plot"},
    "cli": {
        "errors",
        "_atomic",
        "_named",
        "gated",
        "paths",
        "activations",
        "architecture",
        "symbolic",
        "numeric",
        "nn",
        "plot",
        "demo",
        "reporting",
    },
    "__main__": {"cli"},
}


def part_of(module: str) -> str:
    return module.split(".")[1]


def imported(path: Path) -> set[str]:
    """The parts of qcmap that a file imports anywhere in it, its own left out."""
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name == "qcmap":
                found.update(
                    alias.name for alias in node.names if (PACKAGE / alias.name).exists() or alias.name == "plot"
                )
            elif name.startswith("qcmap."):
                found.add(part_of(name))
    return found - {own}


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_only(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert imported(path) <= ALLOWED[own]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_is_imported_in_nn_and_above_only(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    modules = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name) or ""
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    uses_torch = any(name.split(".")[0] == "torch" for name in modules)
    assert not uses_torch or own in {"nn", "demo", "cli", "plot", "reporting"}


NUMERIC = ("maps", "shaping", "asymptotics", "kernels", "methods")
"""The parts of the numeric layer; each may import those before it. Proofs come last: others load them when asked."""


@pytest.mark.parametrize("own", NUMERIC)
def test_parts_of_the_numeric_layer_import_down_only(own):
    higher = {*NUMERIC[NUMERIC.index(own) + 1 :], "proofs"}
    for path in (PACKAGE / "numeric" / own).glob("*.py"):
        top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
        parts = {(node.module or "").split(".")[2] for node in top if (node.module or "").startswith("qcmap.numeric.")}
        assert not parts & higher, path


def loaded_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(result.stdout.split("\n")[-2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import qcmap",
        "import qcmap as qc; qc.dks, qc.maximal_slope, qc.zoo, qc.network_maps",
        "import qcmap as qc; qc.dks(qc.zoo.resnet_v2(50, residual_weight=0.2236, activation='softplus'))",
        "from qcmap.cli import main\n"
        "main(['dks', 'resnet_v2:depth=50,residual_weight=0.2236', '--activation', 'softplus'], standalone_mode=False)",
    ],
)
def test_light_imports(code):
    assert not loaded_after(code) & {"torch", "sympy", "matplotlib", "scipy.optimize", "rich"}


def test_every_public_name_is_there():
    for name in qcmap.__all__:
        assert getattr(qcmap, name) is not None
    assert set(qcmap.__all__) <= set(dir(qcmap))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = qcmap.nonsense


@pytest.mark.parametrize("module", [qcmap, qcmap.numeric, qcmap.gated, qcmap.paths], ids=lambda module: module.__name__)
def test_lazy_names_stand_alike_in_imports_table_and_list(module):
    """What checkers read (imports under TYPE_CHECKING), what loads (the table) and what is public (__all__) agree."""
    tree = ast.parse(Path(module.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom) and node.module != "qcmap"]
    names = sorted(alias.name for node in imports for alias in node.names)
    assert names == sorted(name for found in module._HOMES.values() for name in found) == sorted(module.__all__)
    assert set(names) <= set(dir(module))
    assert all(getattr(module, name) is not None for name in module.__all__)


def test_no_file_outgrows_its_idea():
    """A guard for the house rule that a file is one idea and rarely over 300 lines."""
    long = {str(path): n for path in FILES if (n := len(path.read_text().splitlines())) > 350}
    assert not long
