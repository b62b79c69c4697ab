"""Pictures as SVG, and the folding of equal blocks."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qcmap.architecture import Architecture, Builder, Node, zoo
from qcmap.architecture._repeats import folded
from qcmap.architecture._svg import ADVANCE, COLOURS, UNIT, dark_style, drawing, notebook, style
from tests.graphs import architectures
from tests.reporting.networks import HOSTILE, broken

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def repeated(arch, times):
    """The graph with its only output read by a copy of itself, and so on."""
    nodes, start, output = [], arch.inputs[0], arch.outputs[0]
    before = start
    for k in range(times):
        names = {node.id: f"{node.id}.{k}" for node in arch.nodes} | {start: before}
        nodes += [
            Node(names[node.id], node.op, tuple(names[name] for name in node.inputs))
            for node in arch.nodes
            if k == 0 or node.id != start
        ]
        before = names[output]
    return Architecture("repeated", tuple(nodes), (before,))


def check_folding(arch):
    """What a node reads, folded, is what the node that stands for it reads."""
    found = folded(arch)
    stands = {}
    for node in found.nodes:
        block = found.block(node)
        for k in block.repetitions(node) if block else [node]:
            assert k not in stands
            stands[k] = node
    assert sorted(stands) == list(range(len(arch.nodes)))
    for k, node in stands.items():
        assert arch.nodes[k].op == arch.nodes[node].op
        block = found.block(k)
        if k == node:
            reads = tuple(found.nodes[u] for u in found.predecessors[found.nodes.index(node)])
            assert tuple(stands[u] for u in arch.predecessors[k]) == reads
        else:
            assert block is not None
            # The first repetition reads what is above, the others the one before: at the same place.
            shift = (k - block.first) // block.size * block.size
            assert tuple(u + shift for u in arch.predecessors[k - shift]) == arch.predecessors[k]
    for name in (*arch.inputs, *arch.outputs):
        block = found.block(arch.index[name])
        assert block is None or name == arch.outputs[-1] or arch.index[name] < block.first
    return found


@QUICK
@given(architectures(), st.integers(2, 4))
def test_folding_loses_nothing(arch, times):
    check_folding(arch)
    if len(arch.inputs) == len(arch.outputs) == 1:
        check_folding(repeated(arch, times))


@pytest.mark.parametrize(
    ("arch", "blocks"),
    [
        (zoo.mlp(500), [(2, 499)]),
        (zoo.resnet_v2(50, residual_weight=0.2), [(7, 2), (7, 3), (7, 5), (7, 2)]),
        (zoo.wide_resnet(250), [(5, 40)] * 3),
        (zoo.densenet(), [(5, 6), (5, 12), (5, 24), (5, 16)]),
        (zoo.unet(), []),
    ],
    ids=lambda value: value.name if isinstance(value, Architecture) else "",
)
def test_blocks_of_the_zoo(arch, blocks):
    found = check_folding(arch)
    assert [(block.size, block.count) for block in found.blocks] == blocks
    assert len(found.nodes) == len(arch.nodes) - sum((count - 1) * size for size, count in blocks)


def parsed(arch, **options):
    return ElementTree.fromstring(drawing(arch, **options).svg('class="qcmap-graph"'))


SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("fold", [False, True])
def test_every_node_is_one_box_with_words_that_fit(fold):
    arch = zoo.resnet_v2(50, residual_weight=0.2)
    root = parsed(arch, fold=fold, values={"head": 1.25})
    boxes = [group for group in root.iter(f"{SVG}g") if group.get("class", "").startswith("node")]
    shown = folded(arch).nodes if fold else range(len(arch.nodes))
    assert [int(box.get("data-n")) for box in boxes] == list(shown)
    (shape,) = {path.get("id").rpartition("-")[2] for path in root.iter(f"{SVG}path") if path.get("id")}
    width, height = map(float, shape.split("x"))
    _, _, right, bottom = map(float, root.get("viewBox").split())
    places = []
    for box in boxes:
        assert box.find(f"{SVG}title").text == arch.nodes[int(box.get("data-n"))].id
        x, y = map(float, re.findall(r"[-\d.]+", box.get("transform")))
        assert width / 2 < x < right - width / 2
        assert height / 2 < y < bottom - height / 2
        assert all(abs(x - u) > width or abs(y - v) > height for u, v in places)
        places.append((x, y))
        for text in box.iter(f"{SVG}text"):
            assert len(text.text) * ADVANCE * float(text.get("font-size")) < width
            assert abs(float(text.get("y"))) < height / 2
    times = [text.text for text in root.iter(f"{SVG}text") if "times" in text.text]
    frames = [(2, "group1", 3), (3, "group2", 4), (5, "group3", 6), (2, "group4", 3)] if fold else []
    assert times == [f"{count} times, {group}.block2 to block{last}" for count, group, last in frames]
    assert "1.25" in [text.text for text in boxes[-1].iter(f"{SVG}text")]
    assert "end" in boxes[-1].get("class").split()
    assert UNIT == 96


def test_names_are_text():
    body = drawing(broken()).body
    assert "<script" not in body
    assert HOSTILE in {title.text for title in parsed(broken()).iter(f"{SVG}title")}


def test_notebooks_show_the_graph():
    arch = zoo.mlp(3)
    html = arch._repr_html_()
    assert html.count('class="node ') == len(arch.nodes)
    assert style() in html
    assert zoo.mlp(5000)._repr_html_().count('class="node ') == 5
    b = Builder("no two layers alike")
    h = b.input(channels=1)
    for k in range(2600):
        h = b.affine(h, k + 1)
    assert b.build([h])._repr_html_() is None
    assert notebook(arch) == html


def luminance(colour):
    parts = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_words_stand_out_from_their_boxes():
    """At least 4.5 to 1, as WCAG 2 asks of text, in light and in dark."""
    light = dict(re.findall(r"\.(\w+){fill:var\(--\1,(#\w+)\)", style()))
    ink, faint = (re.search(rf"--{name},(#\w+)", style()).group(1) for name in ("ink", "faint"))
    dark = dict(re.findall(r"--([\w-]+):(#\w+)", dark_style()))
    light = {kind: fill for kind, fill in light.items() if kind in COLOURS}
    assert light == COLOURS
    for kind, fill in light.items():
        assert min(contrast(ink, fill), contrast(faint, fill)) >= 4.5, kind
        assert min(contrast(dark["ink"], dark[kind]), contrast(dark["faint"], dark[kind])) >= 4.5, kind
