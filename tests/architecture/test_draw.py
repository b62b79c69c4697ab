"""Pictures of architectures: what a layout may not do, and whether all labels can be read."""

import sys
from itertools import combinations, pairwise

import numpy as np
import pytest
import sympy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from qcmap.architecture import Builder, zoo
from qcmap.architecture._draw import draw
from qcmap.architecture._draw_labels import label, number, shortened, width
from qcmap.architecture._layout import layered, layers_of
from qcmap.errors import ArchitectureError, ArgumentError, MissingExtra
from tests.graphs import architectures, relabelled

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def unet(levels):
    """Nested skips from the way down to the way up."""
    b = Builder("unet")
    h, skips = b.input("input", channels=3), []
    for k in range(levels):
        h = b.activation(b.affine(h, 8, name=f"down{k}.conv"), "tanh", name=f"down{k}.activation")
        skips.append(h)
        h = b.max_pool(h, name=f"down{k}.pool")
    for k in reversed(range(levels)):
        h = b.concat([b.affine(h, 8, name=f"up{k}.conv"), skips[k]], name=f"up{k}.concat")
        h = b.activation(h, "tanh", name=f"up{k}.activation")
    return b.build(outputs=[h])


def inception(modules):
    """Modules of four branches of different depth."""
    b = Builder("inception")
    h = b.input("input", channels=3)
    for k in range(modules):
        ends = [b.max_pool(h, name=f"m{k}.pool")]
        for depth in range(1, 4):
            x = h
            for j in range(depth):
                x = b.activation(b.affine(x, 8), "tanh", name=f"m{k}.branch{depth}_{j}")
            ends.append(x)
        h = b.concat(ends, name=f"m{k}.concat")
    return b.build(outputs=[h])


@st.composite
def graphs(draw):
    """Predecessors of up to 40 nodes, mostly recent ones."""
    size = draw(st.integers(1, 40))
    found = []
    for v in range(size):
        near = st.integers(max(0, v - 4), v - 1) | st.integers(0, v - 1)
        found.append(tuple(draw(st.lists(near, max_size=3))) if v else ())
    return found


LAID_OUT = [zoo.mlp(30), zoo.resnet_v2(50), zoo.wide_resnet(28), unet(4), inception(3)]


# --- Layout ----------------------------------------------------------------------------------------------------------


def boxes_of(layout, wide, high):
    return [(x - wide / 2, y - high / 2, x + wide / 2, y + high / 2) for x, y in layout.centres]


def meet(a, b):
    """Whether two rectangles overlap by more than rounding."""
    return all(min(a[k + 2], b[k + 2]) - max(a[k], b[k]) > -1e-9 for k in (0, 1)) and any(
        min(a[k + 2], b[k + 2]) - max(a[k], b[k]) > 1e-9 for k in (0, 1)
    )


def inside(a, b):
    """Whether a rectangle, perhaps a line, reaches into the interior of b."""
    return all(min(a[k + 2], b[k + 2]) - max(a[k], b[k]) > -1e-9 for k in (0, 1)) and all(
        a[k] < b[k + 2] - 1e-6 and a[k + 2] > b[k] + 1e-6 for k in (0, 1)
    )


def hull(piece):
    (x, y), (u, v) = piece
    return min(x, u), min(y, v), max(x, u), max(y, v)


def check_layout(predecessors, wide, high, left=0.0, groups=None):
    layout = layered(predecessors, width=wide, height=high, left=left, groups=groups)
    boxes = boxes_of(layout, wide, high)
    edges = {(u, v) for v, sources in enumerate(predecessors) for u in sources}
    for u, v in edges:
        assert layout.layers[u] < layout.layers[v]
        assert (layout.columns[u], layout.centres[u][1]) < (layout.columns[v], layout.centres[v][1])
    for box in boxes:
        assert box[0] > 0
        assert box[1] > -1e-9
        assert box[2] < layout.width
        assert box[3] < layout.height + 1e-9
    for a, b in combinations(boxes, 2):
        assert not meet(a, b)
    pieces = {u: set() for u in range(len(predecessors))}
    for u, v in edges:
        route = layout.route(u, v)
        assert route[0] == pytest.approx((layout.centres[u][0], boxes[u][3]))
        assert route[-1][1] == pytest.approx(boxes[v][1])
        assert boxes[v][0] < route[-1][0] < boxes[v][2]
        pieces[u].update(pairwise(route))
    everything = set().union(*pieces.values())
    assert {piece for stroke in layout.strokes for piece in pairwise(stroke)} == everything
    # A slanted piece is drawn as a curve within its rectangle, so the rectangle keeps clear of all boxes.
    for piece in everything:
        for box in boxes:
            assert not inside(hull(piece), box)
    return layout, pieces


def check_no_shared_lines(pieces):
    """Lanes of different sources never lie on each other."""
    straight = [(u, hull(p)) for u, ps in pieces.items() for p in ps if p[0][0] == p[1][0] or p[0][1] == p[1][1]]
    for (u, a), (v, b) in combinations(straight, 2):
        for k in (0, 1):
            if u != v and abs(a[k] - a[k + 2]) < 1e-9 and abs(b[k] - b[k + 2]) < 1e-9 and abs(a[k] - b[k]) < 1e-6:
                assert min(a[3 - k], b[3 - k]) - max(a[1 - k], b[1 - k]) < 1e-6


@QUICK
@given(graphs(), st.sampled_from([0.3, 2.0]), st.sampled_from([0.0, 0.2]))
def test_edges_go_down_and_around_boxes(predecessors, high, left):
    """High boxes force columns."""
    _, pieces = check_layout(predecessors, 0.8, high, left)
    check_no_shared_lines(pieces)


@QUICK
@given(architectures())
def test_architectures_are_laid_out(arch):
    _, pieces = check_layout(arch.predecessors, 0.8, 0.9)
    check_no_shared_lines(pieces)


@QUICK
@given(st.data(), architectures())
def test_layers_do_not_depend_on_labels(data, arch):
    other, names = data.draw(relabelled(arch))
    here, there = layers_of(arch.predecessors), layers_of(other.predecessors)
    assert {names[node.id]: here[k] for k, node in enumerate(arch.nodes)} == dict(
        zip((node.id for node in other.nodes), there, strict=True)
    )


@pytest.mark.parametrize("arch", LAID_OUT, ids=lambda arch: arch.name)
def test_layouts_of_networks(arch):
    groups = [node.id.rpartition(".")[0] or None for node in arch.nodes]
    layout, _ = check_layout(arch.predecessors, 0.8, 0.3, 0.12, groups)
    again = layered(arch.predecessors, width=0.8, height=0.3, left=0.12, groups=groups)
    assert again.centres == layout.centres
    assert again.strokes == layout.strokes
    assert max(layout.columns) > 0
    assert 0.5 < layout.height / layout.width < 2.5


@pytest.mark.parametrize("arch", [zoo.mlp(100), zoo.resnet_v2(50)], ids=lambda arch: arch.name)
def test_chains_are_straight_and_blocks_stay_whole(arch):
    groups = [node.id.rpartition(".")[0] or None for node in arch.nodes]
    layout = layered(arch.predecessors, width=0.8, height=0.3, groups=groups)
    chain = [v for v, node in enumerate(arch.nodes) if not node.id.endswith("shortcut")]
    for column in set(layout.columns):
        assert len({round(layout.centres[v][0], 9) for v in chain if layout.columns[v] == column}) == 1
    for group in set(groups) - {None}:
        assert len({layout.columns[v] for v, other in enumerate(groups) if other == group}) == 1


def test_an_input_stands_above_its_first_reader():
    assert layers_of([(), (0,), (1,), (), (2, 3), ()]) == [0, 1, 2, 2, 3, 0]


def test_ten_thousand_nodes():
    layout = layered(zoo.mlp(5000).predecessors, width=0.8, height=0.3)
    assert len(layout.centres) == 10_001


def test_too_many_long_edges():
    size = 1200
    nested = [(), *((v - 1, size - v) if v > size // 2 + 1 else (v - 1,) for v in range(1, size))]
    with pytest.raises(ArgumentError, match=r"draw a subnetwork"):
        layered(nested, width=0.8, height=0.3)


# --- Drawing ---------------------------------------------------------------------------------------------------------


def labels_of(figure):
    """For each node the texts in its box, each checked to be within the outline; all texts are of legible size."""
    axes = figure.axes[0]
    renderer = FigureCanvasAgg(figure).get_renderer()
    to_data = axes.transData.inverted()
    outlines = {patch.get_gid(): patch.get_path() for patch in axes.patches if patch.get_gid() is not None}
    extents = {name: path.get_extents() for name, path in outlines.items()}
    found = {name: [] for name in outlines}
    for text in axes.texts:
        assert text.get_fontsize() >= 5
        corners = to_data.transform(text.get_window_extent(renderer).corners())
        centre = corners.mean(axis=0)
        for name, extent in extents.items():
            if extent.contains(*centre):
                assert outlines[name].contains_points(corners).all(), (name, text.get_text())
                found[name].append(text.get_text())
    for inset in [*figure.axes[1:], *axes.child_axes]:
        assert all(tick.get_fontsize() >= 5 for tick in inset.get_xticklabels())
    low, high = axes.viewLim.min, axes.viewLim.max
    for text in axes.texts:
        corners = to_data.transform(text.get_window_extent(renderer).corners())
        assert (corners >= low).all()
        assert (corners <= high).all()
    return found


@pytest.mark.parametrize(
    "arch",
    [zoo.mlp(100, width=64), zoo.resnet_v2(50), zoo.wide_resnet(16, norm="layer"), unet(3), inception(2)],
    ids=lambda arch: arch.name,
)
def test_every_label_is_in_its_box(arch):
    figure = draw(arch)
    found = labels_of(figure)
    assert found.keys() == arch.index.keys()
    for node in arch.nodes:
        name, *rest = found[node.id]
        assert node.id.endswith(name)
        assert node.op.kind != "activation" or rest == ["tanh"]
    wide, high = figure.get_size_inches()
    assert 0.5 < high / wide < 3
    assert figure.axes[0].texts[0].get_text() == arch.name


def test_values_are_shown():
    arch = zoo.wide_resnet(10)
    psi = sympy.Symbol("psi")
    values = {
        "input": 1,
        "stem.conv": 0.123456789,
        "head": np.array([2.5]),
        "final.pool": psi**2,
        "group1.block1.sum": 0.5,
    }
    found = labels_of(draw(arch, values=values, title="slopes"))
    assert found["input"][-1] == "1"
    assert found["stem.conv"][-1] == "0.1235"
    assert found["head"][-1] == "2.5"
    assert found["final.pool"][-1] == "psi**2"
    assert found["group1.block1.sum"] == ["sum", "0.224, 0.975", "0.5"]
    figure = draw(arch, values=values)
    fills = {p.get_gid(): p.get_facecolor() for p in figure.axes[0].patches if p.get_gid()}
    assert len({fills[name] for name in ("input", "stem.conv", "head", "group1.block1.sum")}) == 4
    assert fills["final.pool"] == (1, 1, 1, 1)


def test_long_labels_are_shortened():
    b = Builder("$x$")
    h = b.input("a_very_long_name_of_an_input_that_would_make_a_wide_box")
    figure = draw(b.build(outputs=[b.activation(h, "tanh", name="$y_{1}$")]), values={h: "psi^2 + " * 100})
    found = labels_of(figure)
    first, value = found[h]
    assert first.startswith("…")
    assert first.endswith("a_wide_box")
    assert value.startswith("psi^2")
    assert value.endswith("…")
    assert found["$y_{1}$"] == ["$y_{1}$", "tanh"]


def test_numbers_and_other_labels():
    assert [label(x) for x in (1, 1e-7, 1234.56, np.float32(0.1), np.array(3.0), True)] == [
        "1", "1e-07", "1235", "0.1", "3", "True",
    ]  # fmt: skip
    assert label(sympy.Rational(1, 3)) == "0.3333"
    assert label(1 + 2j) == "1+2j"
    assert label("a\n b") == "a b"
    assert [number(x) for x in (True, "1", np.nan, 10**400, np.array([2]))] == [None, None, None, None, 2.0]
    assert width(shortened("x" * 1000, 6, 1.0), 6) <= 1.0


def test_axes_of_the_user():
    figure = Figure(figsize=(10, 8))
    left, right = figure.subplots(1, 2)
    assert draw(zoo.mlp(3), ax=left, title="", values={"input": 1.0, "layer1.affine": 2.0}) is figure
    assert labels_of(figure)["layer3.activation"] == ["activation", "tanh"]
    assert not right.texts
    with pytest.raises(ArgumentError, match=r"too small for legible labels; give axes of"):
        draw(zoo.resnet_v2(50), ax=right)


def test_a_figure_shows_itself_in_a_notebook():
    figure = draw(zoo.mlp(1))
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_refusals(monkeypatch):
    with pytest.raises(ArchitectureError, match=r"no node 'layer1.afine'; did you mean .*layer1.affine"):
        draw(zoo.mlp(2), values={"layer1.afine": 1})
    with pytest.raises(ArgumentError, match=r"has 2001 nodes, and max_nodes is 2000; draw a subnetwork"):
        draw(zoo.mlp(1000))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"pip install 'qcmap\[plot\]'"):
        draw(zoo.mlp(1))
