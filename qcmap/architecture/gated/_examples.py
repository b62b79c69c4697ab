"""Small gated networks: the tasks of appendix A, trees, skips and multi-modal graphs (NRR, section 1 and Fig. 1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from qcmap.architecture import Builder
from qcmap.architecture.gated._checks import check_count, check_flag
from qcmap.architecture.gated._context import Context
from qcmap.architecture.gated._network import GatedNetwork
from qcmap.architecture.gated._routing import _moments
from qcmap.architecture.gated._task import GatedTask

XOR_INPUTS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])


def xor(width: int = 128) -> GatedNetwork:
    """Exclusive or of two bits of +-1, one pathway for each of the four examples (NRR, A.1).

    The target is 1 if the bits differ and -1 if not, as the task is stated; the paper computes with the opposite sign,
    which turns singular vectors round and changes no dynamics.
    """
    check_count("width", width)
    b = Builder("xor")
    x, parts = b.input("x", 2), []
    for k in range(4):
        h = b.gate(b.affine(x, width, name=f"in{k}"), f"g{k}", name=f"h{k}")
        parts.append(b.affine(h, 1, name=f"out{k}"))
    arch = b.build([b.output(b.sum(parts, [1] * 4, name="sum"), name="y")])
    contexts = [
        Context.from_data(f"example{k}", {f"g{k}": 1}, {"x": bits[:, None]}, {"y": [[-bits[0] * bits[1]]]})
        for k, bits in enumerate(XOR_INPUTS)
    ]
    return _made(b, contexts, arch)


def contextual(width: int = 16, *, gated: bool = True) -> GatedNetwork:
    """Report the first or the second input component, as the context says (NRR, A.2).

    Components are uniform on [-1, 1]. With ``gated`` each context has a pathway of its own; without, one pathway is
    always on, a linear network.
    """
    check_count("width", width)
    check_flag("gated", gated)
    b = Builder("contextual" if gated else "contextual:gated=false")
    x = b.input("x", 2)
    names = ("first", "second") if gated else ("always",)
    hidden = [b.gate(b.affine(x, width, name=f"in_{name}"), name, name=f"h_{name}") for name in names]
    parts = [b.affine(h, 1, name=f"out_{name}") for h, name in zip(hidden, names, strict=True)]
    arch = b.build([b.output(b.sum(parts, [1] * len(parts), name="sum"), name="y")])
    contexts = [
        Context(name, {name if gated else "always": 1}, {("x", "x"): np.eye(2) / 3}, {("y", "x"): row[None] / 3}, 1 / 3)
        for name, row in zip(("first", "second"), np.eye(2), strict=True)
    ]
    return _made(b, contexts, arch)


def tree(depth: int = 3, branches: int = 2, *, width: int = 16, data: tuple[Any, Any] | None = None) -> GatedNetwork:
    """A tree from one input to ``branches**depth`` outputs, one context for each leaf, whose way alone is open.

    Edges are ``w`` and the branch numbers on the way. ``data`` as for `qcmap.gated.routing`.
    """
    check_count("depth", depth)
    check_count("branches", branches)
    cross, own, yy, channels = _moments(data)
    b = Builder(f"tree:depth={depth},branches={branches}")
    level, open_at = {"": b.input("x", channels[0])}, {}
    for step in range(1, depth + 1):
        grown = {}
        for way, source in level.items():
            for k in range(branches):
                tag = f"{way}_{k}"
                size = channels[1] if step == depth else width
                grown[tag] = b.gate(b.affine(source, size, name=f"w{tag}"), f"g{tag}", name=f"h{tag}")
                open_at[tag] = {**open_at.get(way, {}), f"g{tag}": 1}
        level = grown
    leaves = {tag: b.output(source, name=f"y{tag}") for tag, source in level.items()}
    contexts = [
        Context(f"leaf{tag}", open_at[tag], {("x", "x"): own}, {(leaf, "x"): cross}, yy) for tag, leaf in leaves.items()
    ]
    return _made(b, contexts, b.build())


def skips(depth: int = 3, *, width: int = 16, data: tuple[Any, Any] | None = None) -> GatedNetwork:
    """A chain of ``depth`` edges where every later layer also has an edge from the input; one context, no gates."""
    check_count("depth", depth)
    cross, own, yy, channels = _moments(data)
    b = Builder(f"skips:depth={depth}")
    x = h = b.input("x", channels[0])
    for k in range(1, depth + 1):
        size = channels[1] if k == depth else width
        here = b.affine(h, size, name=f"w{k}")
        h = here if k == 1 else b.sum([here, b.affine(x, size, name=f"skip{k}")], [1, 1], name=f"h{k}")
    y = b.output(h, name="y")
    return _made(b, [Context("all", {}, {("x", "x"): own}, {(y, "x"): cross}, yy)], b.build())


def multimodal(
    modalities: int = 3, tasks: int = 2, *, width: int = 16, data: tuple[Any, Any] | None = None
) -> GatedNetwork:
    """Modules shared across modalities and tasks (Fig. 1): encoders, a shared trunk, a module for each task, decoders.

    Each context shows one modality and asks for one task; beside the trunk, each task's module reads the encoders'
    sum directly, by an edge of its own.
    """
    check_count("modalities", modalities)
    check_count("tasks", tasks)
    cross, own, yy, channels = _moments(data)
    b = Builder(f"multimodal:modalities={modalities},tasks={tasks}")
    encoders = []
    for i in range(modalities):
        code = b.affine(b.input(f"x{i}", channels[0]), width, name=f"encoder{i}")
        encoders.append(b.gate(code, f"sees{i}", name=f"seen{i}"))
    code = b.sum(encoders, [1] * modalities, name="code")
    trunk = b.affine(code, width, name="trunk")
    for j in range(tasks):
        module = b.sum([b.affine(trunk, width, name=f"module{j}"), b.affine(code, width, name=f"direct{j}")], [1, 1])
        decoder = b.affine(module, channels[1], name=f"decoder{j}")
        b.output(b.gate(decoder, f"does{j}", name=f"done{j}"), name=f"y{j}")
    contexts = [
        Context(f"{i}->{j}", {f"sees{i}": 1, f"does{j}": 1}, {(f"x{i}", f"x{i}"): own}, {(f"y{j}", f"x{i}"): cross}, yy)
        for i in range(modalities)
        for j in range(tasks)
    ]
    return _made(b, contexts, b.build())


def _made(b: Builder, contexts: list[Context], arch: Any) -> GatedNetwork:
    return GatedNetwork(arch, GatedTask.of(contexts, arch.inputs, arch.outputs))
