"""The speed table of the design: what each row measures, beside which peer, and the page that shows it.

    python -m benchmarks.speed              # run, write results/speed-DATE.json and docs/benchmarks.md, print the table
    python -m benchmarks.speed --page FILE  # write the page from a result that is there

Peers run in the same process as what they are compared with. Times are medians of wall-clock time unless a row says
otherwise.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "benchmarks.md"
PACKAGES = ("qcmap", "numpy", "scipy", "sympy", "torch", "dks")


@dataclass(frozen=True)
class Row:
    """One row: the tests that give our time and the peer's, and what is to be reached.

    Attributes
    ----------
    job, peer
        In words; the peer is empty if there is none.
    ours, theirs
        Test ids within benchmarks/; medians of their times.
    seconds, times
        What is to be reached: at most this time, at least (for ``extra`` at most) this ratio.
    extra
        The name of a ratio that the test measured itself, in pairs of runs, in place of ``theirs``.
    note
        Why a target is missed, with what was measured to find out; shown beside a row that misses.
    """

    job: str
    ours: str
    seconds: float | None = None
    peer: str = ""
    theirs: str = ""
    times: float | None = None
    extra: str = ""
    note: str = ""


MODE = "compiled"
_STEPS = "CPU seconds in pairs of runs vary by some percent on shared cores"
_PEER = "public `dks` 0.1.2"
_SOLVER = (
    "in a DKS call for tanh, by the least of 150 runs of each part (2026-11-29), 1.7 ms in all: the network of 100 "
    "layers 0.33, its rules 0.29, maximal slope and inverse 0.14, the solver 0.9, of which five evaluations of some "
    "45 small numpy calls take 0.4, starts and steps 0.2, the check by a finer rule 0.15. Swish has five starts where "
    "tanh has one. TAT of swish starts Newton's method at 26 points for its 6 solutions, and merging starts might lose "
    "one; its peer needs little time itself, and looks for one solution"
)
TABLE = (
    *(
        Row(f"{method} constants, {name}, warm", f"test_peer.py::test_ours[{name}-{method}]", limit, _PEER,
            f"test_peer.py::test_theirs[{name}-{method}]", times, note=_SOLVER)
        for method, limit, times in (("DKS", 2e-3, 100), ("TAT", 5e-3, 300))
        for name in ("softplus", "tanh", "swish")
    ),
    Row("`qcmap dks resnet_v2:depth=50 ...`, cold process", "test_shaping.py::test_cold_process", 0.6),
    Row("maximal slope and inverse, ResNet-152", "test_graph.py::test_maximal_slope_and_inverse_resnet_152", 3e-3),
    Row("one value of the maximal slope, ResNet-152", "test_graph.py::test_maximal_slope_resnet_152", None,
        "all subnetworks enumerated", "test_graph.py::test_enumerated_slope_resnet_152"),
    Row("residual graph of 100,000 nodes, from building to inverse", "test_graph.py::test_large_residual_graph[100000]",
        3.0, "the same with 10,000 nodes (a tenth would be linear)", "test_graph.py::test_large_residual_graph[10000]"),
    Row("set-up of one local C map, tanh", "test_maps.py::test_local_map_setup[tanh]", 0.1),
    Row("C map of a 1,000-layer chain at 1,000 c values", "test_maps.py::test_chain[1000]", 0.02),
    Row("NTK Gram matrix, 1,000 inputs, 50 layers", "test_tangent.py::test_ntk_gram_50_layers[1000]", 1.0),
    Row("NTK Gram matrix, 100 inputs, 50 layers", "test_tangent.py::test_ntk_100_inputs_50_layers", None,
        "two-dimensional quadrature, layer by layer", "test_tangent.py::test_iterated_quadrature_100_inputs_50_layers"),
    Row("routing network M=100, K=40, derive, reduce, integrate", "test_gated.py::test_derive_reduce_integrate_100_40",
        1.0),
    Row("2,000 steps of its descent", "test_gated.py::test_simulation_takes_a_thousand_times_as_long", None,
        "the full simulation", times=1000, extra="ratio"),
    Row("path kernel, 1,797 inputs, 5 hidden layers of 128", "test_paths.py::test_path_kernel_of_the_digits", 0.3),
    *(
        Row(f"training step of an MLP, {name}, compiled", f"test_torch.py::test_training_step_of_an_mlp[{name}-{MODE}]",
            None, "the unshaped network", times=1.05, extra="shaped / plain", note=_STEPS)
        for name in ("softplus", "tanh", "gelu", "relu")
    ),
    *(
        Row(f"training step of a ResNet-18, {name}, {MODE}", f"test_torch.py::test_training_step_of_a_resnet18[{name}]",
            None, "the unshaped network", times=1.05, extra="shaped / plain", note=_STEPS)
        for name in ("softplus", "relu")
    ),
)  # fmt: skip
GROWTH = {
    "C map of a chain by depth": {n: f"test_maps.py::test_chain[{n}]" for n in (10, 100, 1000, 10_000)},
    "NTK of 100 inputs by depth, tanh": {
        n: f"test_tangent.py::test_ntk_gram_by_depth[tanh-{n}]" for n in (10, 100, 1000)
    },
    "NTK of 50 layers by inputs": {
        n: f"test_tangent.py::test_ntk_gram_50_layers[{n}]" for n in (250, 500, 1000, 2000, 4000)
    },
    "reduction of a routing network by domains": {
        n: f"test_gated.py::test_reduce_by_size[{n}]" for n in (50, 100, 200, 400)
    },
    "residual graph by nodes": {n: f"test_graph.py::test_large_residual_graph[{n}]" for n in (10_000, 100_000)},
}
"""Sizes to tests."""


def tests() -> list[str]:
    """All test ids that the page needs, each once."""
    named = [name for row in TABLE for name in (row.ours, row.theirs) if name]
    return list(dict.fromkeys([*named, *(name for sizes in GROWTH.values() for name in sizes.values())]))


def measure() -> dict[str, Any]:
    """Run the benchmarks in one process of pytest and keep the medians, with the machine and the versions."""
    before, result = os.getloadavg()[0], {}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "benchmarks.json"
        command = [sys.executable, "-m", "pytest", *(f"benchmarks/{name}" for name in tests())]
        command += ["--benchmark-only", "--benchmark-max-time=0.5", "--benchmark-disable-gc", "-p", "no:cacheprovider"]
        subprocess.run([*command, f"--benchmark-json={output}"], cwd=ROOT, check=False)
        for found in json.loads(output.read_text())["benchmarks"]:
            name = found["fullname"].removeprefix("benchmarks/")
            result[name] = {"median": found["stats"]["median"], **found["extra_info"]}
    return {
        "date": f"{datetime.now(tz=UTC):%Y-%m-%d}",
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.platform(terse=True)},
        "load": [round(before, 2), round(os.getloadavg()[0], 2)],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "tests": result,
    }


def _processor() -> str:
    """Its name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def duration(seconds: float) -> str:
    """To two digits or so, with a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def table(data: dict[str, Any]) -> str:
    """The rows in Markdown: what is to be reached, what was seen, the peer, and whether it was reached."""
    lines = ["| job | reach | seen | peer | ratio | |", "|---|---|---|---|---|---|"]
    notes: dict[str, list[str]] = {}
    for row in TABLE:
        found = data["tests"].get(row.ours)
        if found is None:
            lines.append(f"| {row.job} | | not run | {row.peer} | | |")
            continue
        goals, reached, seen, ratio, peer = [], [], duration(found["median"]), "", row.peer
        if row.seconds is not None:
            goals.append(duration(row.seconds))
            reached.append(found["median"] <= row.seconds)
        if row.extra:
            ratio = f"{found[row.extra]:.4g}"
            slower = row.extra == "ratio"
            goals.append(f"{row.times:,g} times")
            reached.append(found[row.extra] >= row.times if slower else found[row.extra] <= row.times)
            seen = seen if not slower else "measured in pairs"
        elif row.theirs:
            theirs = data["tests"].get(row.theirs)
            if theirs is not None:
                peer = f"{row.peer}: {duration(theirs['median'])}"
                ratio = f"{theirs['median'] / found['median']:.3g}"
                if row.times:
                    goals.append(f"{row.times:,g} times")
                    reached.append(theirs["median"] >= row.times * found["median"])
        verdict = "" if not goals else "reached" if all(reached) else "missed"
        if verdict == "missed" and row.note:
            notes.setdefault(row.note, []).append(row.job)
        lines.append(f"| {row.job} | {', '.join(goals)} | {seen} | {peer} | {ratio} | {verdict} |")
    missed = "".join(f"\n- {'; '.join(jobs)}: {note}." for note, jobs in notes.items())
    return "\n".join(lines) + (f"\n\nMissed:\n{missed}" if notes else "")


def growth(data: dict[str, Any]) -> str:
    """Times by size, and the power of the size between the last two."""
    lines = ["| job | times by size | power at the end |", "|---|---|---|"]
    for job, sizes in GROWTH.items():
        known = {n: data["tests"][name]["median"] for n, name in sizes.items() if name in data["tests"]}
        if len(known) > 1:
            (n, first), (m, last) = list(known.items())[-2:]
            shown = "; ".join(f"{size:,}: {duration(seconds)}" for size, seconds in known.items())
            lines.append(f"| {job} | {shown} | {math.log(last / first) / math.log(m / n):.2f} |")
    return "\n".join(lines)


def page(data: dict[str, Any], source: str) -> str:
    """The documentation page."""
    versions = ", ".join(f"{name} {number}" for name, number in data["versions"].items())
    machine = data["machine"]
    load = " and ".join(map(str, data["load"]))
    return f"""# Benchmarks

`make bench` runs these, each beside its peer in one process, writes the figures to `benchmarks/results/` and makes
this page from them (`benchmarks/speed.py`). `make bench-all` runs all benchmarks; what is known about the others is in
`benchmarks/README.md`.

{data["date"]}: {machine["processor"]}, {machine["cores"]} cores, {machine["system"]}; load {load} before and after; one
thread. {versions}.

Figures: `benchmarks/results/{source}`. Times are medians of wall-clock time; training steps are ratios of CPU time in
pairs of runs. A ratio is the peer's time divided by ours, for training steps the shaped network's by the plain one's.

{table(data)}

## Growth

The power is that of the size in the time, between the last two sizes: 1 is linear. That what should be linear is so is
also tested without a clock, by counting lines of Python (`tests/house/test_linear_time.py`).

{growth(data)}
"""


def main() -> None:
    """Run and write, or write from a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="make the page from this result, and measure nothing")
    source: Path | None = parser.parse_args().page
    if source is None:
        data = measure()
        source = RESULTS / f"speed-{data['date']}.json"
        source.write_text(json.dumps(data, indent=1) + "\n")
    data = json.loads(source.read_text())
    PAGE.write_text(page(data, source.name))
    print(table(data), growth(data), sep="\n\n")


if __name__ == "__main__":
    main()
