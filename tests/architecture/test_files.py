"""Architecture files: what is saved is loaded, to the bit; what is no architecture is refused with file,
line and key."""

import json
import math
import os
import random
import re
import stat
import string
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import qcmap as qc
from qcmap.activations import CATALOGUE
from qcmap.architecture import (
    OPS,
    Affine,
    Architecture,
    Gate,
    Input,
    Node,
    Nonlinear,
    Op,
    Output,
    Scale,
    Sum,
)
from qcmap.architecture._expressions import ASSUMPTIONS, assumptions_of, write_expression
from qcmap.architecture._files import _text
from qcmap.architecture._formula import FormulaError, read_expression
from qcmap.architecture._schema import fields_of, kind_of
from qcmap.errors import ArchitectureError, QCMapError
from tests.graphs import architectures

DOCS = Path(__file__).parents[2] / "docs" / "files.md"
W, V = sp.Symbol("w", positive=True), sp.Symbol("v")
FORMATS = ("yaml", "json")


def text_of(arch, suffix):
    return _text(arch, None, as_json=suffix == "json")


def loaded(folder, text, suffix="yaml"):
    path = folder / f"net.{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return qc.load(path)


def through(folder, arch, suffix):
    """The architecture after saving and loading; saving it again must give the same bytes."""
    path = folder / f"net.{suffix}"
    qc.save(arch, path)
    first = path.read_bytes()
    back = qc.load(path)
    qc.save(back, path)
    assert path.read_bytes() == first
    return back


def exact(value):
    """A value with the types of all its parts, so that 1, 1.0, True and Integer(1) differ, and 0.0 and -0.0 do."""
    if isinstance(value, sp.Basic):
        # Symbols by name: srepr lists their assumptions as they were given. `==` compares those.
        return re.sub(r"Symbol\('([^']*)'[^)]*\)", r"\1", sp.srepr(value))
    if isinstance(value, tuple):
        return tuple(exact(part) for part in value)
    return type(value), value if isinstance(value, qc.Activation) else repr(value)


def fields(op):
    return {field.name: exact(getattr(op, field.name)) for field in fields_of(type(op))}


def assert_same(back, arch):
    assert back == arch
    assert [(n.id, n.inputs, type(n.op), fields(n.op)) for n in back.nodes] == [
        (n.id, n.inputs, type(n.op), fields(n.op)) for n in arch.nodes
    ]
    assert (back.name, back.outputs, back.activations) == (arch.name, arch.outputs, arch.activations)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


# --- Round trips -----------------------------------------------------------------------------------------------------

SPECIAL = (
    "no", "Yes", "on", "null", "~", "", " ", "1", "1.0", "1e5", ".inf", "NaN", "-", "--- a", "a: b", "a #b", "#a",
    "- a",
    "a\nb", "\t", "\x00", "\x7f", "\x85", "\u2028", "\ufeff", "\uffff", "🎉", "é", "\\ud83d", "a/b", '"', "'", "{a}",
    "[",
    "&a", "*a", "!a", "%a", "@a", "`a", "?", "a,b", "0x1F", "12:30", "2001-01-01", "<<", "=", "|", ">", "true", "\r\n",
    "a b", "trailing ", " leading", "a:", ":a", "y", "N", "0o7", "1_000", "+1", "None", "\u0085x", "\U0010ffff",
)  # fmt: skip
TEXTS = st.sampled_from(SPECIAL) | st.text(max_size=12).filter(lambda t: not re.search("[\ud800-\udfff]", t))
FLOATS = st.floats(1e-300, 1e300) | st.sampled_from((1e-5, 1e22, 5e-324, 0.1 + 0.2, 1.0, 1e-300, 0.6))
SYMBOLS = {"w": W, "v": V, "n": sp.Symbol("n", integer=True, positive=True), "λ_1": sp.Symbol("λ_1", real=True)}


def settled(value):
    """Whether an expression has real parts that sympy keeps when it puts them together anew.

    It does not keep Abs(v)/v**4 as `sympy.together` leaves it, nor 2*(v + 1), which files write. Its floats may lie
    beyond those of Python.
    """
    if value.is_number and not (value.is_real and value.is_finite):
        return False
    if value.is_Float and sp.Float(float(value)) != value:
        return False
    before_sum = value.is_Mul and len(value.args) == 2 and value.args[0].is_Number and value.args[1].is_Add
    anew = value if before_sum or not value.args else value.func(*value.args)
    return sp.srepr(anew) == sp.srepr(value) and all(map(settled, value.args))


@st.composite
def expressions(draw, depth=3):
    """A sympy expression of the grammar with at least one symbol."""
    leaf = st.sampled_from(list(SYMBOLS.values())) | st.sampled_from(
        (sp.Integer(2), sp.Integer(-3), sp.Rational(1, 20), sp.Float(0.1 + 0.2), sp.Float(-1e-7), sp.pi, sp.sqrt(2))
    )

    def grow(depth):
        if depth == 0 or draw(st.booleans()):
            return draw(leaf)
        kind = draw(st.sampled_from(("add", "mul", "pow", "function", "shape")))
        if kind in ("add", "mul"):
            return (sp.Add if kind == "add" else sp.Mul)(*(grow(depth - 1) for _ in range(draw(st.integers(2, 3)))))
        if kind == "pow":
            return grow(depth - 1) ** draw(st.sampled_from((2, -1, sp.Rational(1, 2), sp.Rational(-3, 2))))
        if kind == "function":
            return draw(st.sampled_from((sp.exp, sp.sin, sp.cos, sp.Abs, sp.tanh)))(grow(depth - 1))
        return draw(st.sampled_from((sp.factor, sp.together)))(grow(depth - 1))

    value = grow(depth)
    if not value.free_symbols or value.has(sp.I, sp.zoo, sp.oo, sp.nan, sp.re, sp.im) or not settled(value):
        value = draw(st.sampled_from((W, sp.sqrt(1 - W**2), V / (2 * (V + 1)))))
    return value


def counts():
    return st.integers(1, 10**9) | st.sampled_from((SYMBOLS["n"], 2 * SYMBOLS["n"], sp.Integer(64), None))


def numbers(least=0):
    return FLOATS | st.integers(least, 10**6) | expressions() | st.sampled_from((sp.sqrt(sp.Rational(1, 20)), W))


@st.composite
def windows(draw, op):
    kernel = tuple(draw(st.lists(st.integers(1, 9), max_size=3)))
    room = min(((size - 1) // 2 for size in kernel), default=3)
    return op(kernel, draw(st.none() | st.integers(1, 9)), draw(st.integers(0, room)))


@st.composite
def ops(draw, kind, inputs):
    """An op of this kind with every field drawn."""
    match kind:
        case "input":
            extents = st.lists(st.integers(1, 300), max_size=3).map(tuple)
            return Input(draw(counts()), draw(st.none() | extents), draw(numbers(1)))
        case "affine":
            kernel = tuple(draw(st.lists(st.sampled_from((1, 3, 5)), max_size=3)))
            room = min(((size - 1) // 2 for size in kernel), default=3)
            return Affine(
                draw(counts()), kernel, draw(st.integers(1, 9)), draw(st.just("same") | st.integers(0, room)),
                draw(numbers(1)), draw(numbers()), draw(st.sampled_from(("delta", "fan_in"))), draw(st.none() | TEXTS),
            )  # fmt: skip
        case "activation":
            leaky = qc.activation("leaky_relu", negative_slope=0.1 + 0.2)
            known = (leaky, qc.activation("leaky_relu"), qc.activation("elu", alpha=2), qc.activation("silu"))
            return Nonlinear(draw(st.sampled_from(("tanh", "silu", "relu", "leaky_relu", *known))))
        case "sum":
            weights = numbers(1).filter(lambda w: hasattr(w, "free_symbols") or 1e-150 < abs(w) < 1e150)
            return Sum(tuple(draw(weights) for _ in range(inputs)))
        case "scale":
            return Scale(draw(numbers(1)))
        case "max_pool" | "mean_pool":
            return draw(windows(OPS[kind]))
        case "upsample":
            return OPS[kind](tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))))
        case "gate":
            return Gate(draw(st.sampled_from(("g1", "no", "w", "é"))))
        case _:
            return OPS[kind]()


@st.composite
def all_ops(draw):
    """An architecture with ops of every kind and texts of every kind as ids."""
    nodes: list[Node] = []
    kinds = draw(st.permutations([kind for kind in OPS if kind not in ("input", "output")]))
    ids = draw(st.lists(TEXTS, min_size=len(OPS) + 2, max_size=len(OPS) + 2, unique=True))
    nodes.append(Node(ids.pop(), draw(ops("input", 0))))
    for kind in kinds:
        several = OPS[kind].arity is None
        sources = [nodes[-1].id, *draw(st.lists(st.sampled_from([node.id for node in nodes]), max_size=2 * several))]
        nodes.append(Node(ids.pop(), draw(ops(kind, len(sources))), tuple(sources)))
    last = nodes[-1].id
    nodes.append(Node(ids.pop(), Output(), (last,)))
    return Architecture(draw(TEXTS), tuple(nodes), draw(st.sampled_from(((), (last,), (nodes[-1].id, last)))))


class TestRoundTrips:
    @pytest.mark.parametrize("suffix", FORMATS)
    @given(arch=architectures(activations=("tanh", "softplus", qc.activation("leaky_relu", negative_slope=0.3))))
    def test_random_architectures(self, folder, suffix, arch):
        assert_same(through(folder, arch, suffix), arch)

    @pytest.mark.parametrize("suffix", FORMATS)
    @settings(max_examples=60)
    @given(arch=all_ops())
    def test_every_op_with_every_field(self, folder, suffix, arch):
        assert_same(through(folder, arch, suffix), arch)

    @pytest.mark.parametrize("suffix", FORMATS)
    def test_the_zoo(self, folder, suffix):
        for arch in (
            qc.zoo.mlp(5, 64, "silu", in_channels=3, out_channels=10),
            qc.zoo.resnet_v2(50, residual_weight=sp.Symbol("w", positive=True)),
            qc.zoo.wide_resnet(16, residual_weight=0.3, norm="layer"),
            qc.zoo.resnet_v2(50, activation=qc.activation("tanh"), shortcuts=False),
        ):
            assert_same(through(folder, arch, suffix), arch)

    @pytest.mark.parametrize("name", SPECIAL)
    def test_other_readers_see_the_same_texts(self, name):
        """PyYAML, a reader of YAML 1.1, and json."""
        arch = Architecture(
            name, (Node(name, Input()), Node(name + "é", Affine(parameters=name), (name,))), (name + "é",)
        )
        for data in (yaml.safe_load(text_of(arch, "yaml")), json.loads(text_of(arch, "json"))):
            assert data == {
                "qcmap": 1, "name": name, "outputs": [name + "é"],
                "nodes": [
                    {"id": name, "op": "input"},
                    {"id": name + "é", "op": "affine", "inputs": [name], "parameters": name},
                ],
            }  # fmt: skip

    @given(number=FLOATS)
    def test_other_readers_see_the_same_floats(self, number):
        arch = Architecture("a", (Node("x", Input(q=number)),), ("x",))
        for data in (yaml.safe_load(text_of(arch, "yaml")), json.loads(text_of(arch, "json"))):
            assert exact(data["nodes"][0].get("q", 1.0)) == exact(number)

    def test_one_node_a_line(self):
        arch = qc.zoo.wide_resnet(16)
        for suffix in FORMATS:
            lines = text_of(arch, suffix).splitlines()
            assert sum("id: " in line or '"id": ' in line for line in lines) == len(arch.nodes)

    def test_the_form_of_a_file(self):
        b = qc.Builder("two layers")
        h = b.affine(b.input("input", 64), 64, name="fc")
        h = b.activation(h, qc.activation("leaky_relu", negative_slope=0.2), name="act")
        b.output(b.sum([h, h], [0.6, sp.sqrt(1 - W**2)], name="add"), name="no")
        assert text_of(b.build(), "yaml") == (
            "qcmap: 1\n"
            "name: two layers\n"
            "symbols:\n"
            "  w: {positive: true}\n"
            "nodes:\n"
            "  - {id: input, op: input, channels: 64}\n"
            "  - {id: fc, op: affine, inputs: [input], channels: 64}\n"
            "  - {id: act, op: activation, inputs: [fc], function: {name: leaky_relu, negative_slope: 0.2}}\n"
            '  - {id: add, op: sum, inputs: [act, act], weights: [0.6, "sqrt(1 - w**2)"]}\n'
            '  - {id: "no", op: output, inputs: [add]}\n'
            'outputs: ["no"]\n'
        )

    def test_equal_symbols_that_were_declared_in_different_words(self, folder):
        one, other = sp.Symbol("n", integer=True, positive=True), sp.Symbol("n", positive=True, integer=True)
        arch = Architecture("a", (Node("x", Input(one)), Node("y", Affine(other + 1), ("x",))), ("y",))
        assert_same(through(folder, arch, "yaml"), arch)

    def test_a_long_chain(self, folder):
        """Nothing recurses along the graph; lines keep their order although the file lists nodes backwards."""
        nodes = [Node("n0", Input(4)), *(Node(f"n{k}", Affine(4), (f"n{k - 1}",)) for k in range(1, 2000))]
        arch = Architecture("chain", tuple(nodes), ("n1999",))
        assert_same(through(folder, arch, "yaml"), arch)
        lines = text_of(arch, "yaml").splitlines(keepends=True)
        assert_same(loaded(folder, "".join([*lines[:3], *lines[-2:2:-1], lines[-1]])), arch)

    def test_numpy_numbers_become_python_numbers(self, folder):
        x = Node("x", Input(np.int64(4)))
        arch = Architecture("a", (x, Node("y", Scale(np.float64(0.1)), ("x",))), ("y",))
        back = through(folder, arch, "yaml")
        assert back == arch
        assert type(back["x"].op.channels) is int
        assert type(back["y"].op.factor) is float


class TestReading:
    """Files written by hand."""

    HAND = (
        "# A comment.\r\n---\r\nqcmap: 1\r\nname: 'by hand'\r\noutputs:\r\n  - y\r\n"
        "nodes:\r\n- id: y\r\n  op: activation\r\n  function: tanh\r\n  inputs:\r\n    - h\r\n"
        "- {op: affine, inputs: [x], id: h, channels: null, weight_variance: 1e-5}\r\n"
        "- {id: x, op: input, channels: 4, locations: [8, 8], q: .5}\r\n"
    )

    def test_block_style_and_any_order(self, folder):
        arch = loaded(folder, "\ufeff" + self.HAND)
        assert [node.id for node in arch.nodes] == ["x", "h", "y"]
        assert arch["h"].op == Affine(weight_variance=1e-5)
        assert arch["x"].op == Input(4, (8, 8), 0.5)

    def test_json_escapes_and_tabs(self, folder):
        text = r"""{"qcmap":TAB1, "name": "\ud83d\ude00 a\/b A", "outputs": ["\u00e9"],
        TAB"nodes": [{"id": "\u00e9",
        "op": "input"}]}""".replace("TAB", "\t")
        arch = loaded(folder, text, "json")
        assert (arch.name, arch.outputs) == ("😀 a/b A", ("é",))

    def test_a_mark_before_json(self, folder):
        text = text_of(qc.zoo.mlp(1), "json")
        assert loaded(folder, "\ufeff" + text, "json") == qc.zoo.mlp(1)

    def test_numbers_and_words_are_told_apart(self, folder):
        """YAML 1.2: no and 12:30 are texts, 1 is not."""
        arch = loaded(folder, "qcmap: 1\nname: no\nnodes: [{id: 12:30, op: input}]\noutputs: [12:30]\n")
        assert (arch.name, arch.outputs) == ("no", ("12:30",))

    def test_symbols_need_no_assumptions(self, folder):
        text = "qcmap: 1\nname: a\nsymbols: {w: {}}\nnodes: [{id: x, op: input, q: 2*w + 1/2}]\noutputs: [x]\n"
        assert loaded(folder, text)["x"].op.q == 2 * sp.Symbol("w") + sp.Rational(1, 2)

    @pytest.mark.parametrize("name", ["net.YAML", "net.yml", "net.JSON"])
    def test_suffixes(self, folder, name):
        qc.save(qc.zoo.mlp(2), folder / name)
        assert qc.load(str(folder / name)) == qc.zoo.mlp(2)
        assert (folder / name).read_text().startswith("{") == name.endswith("JSON")


# --- Expressions -----------------------------------------------------------------------------------------------------


class TestExpressions:
    @settings(max_examples=200)
    @given(value=expressions(4))
    def test_round_trip(self, value):
        text = write_expression(value, SYMBOLS)
        assert sp.srepr(read_expression(text, SYMBOLS)) == sp.srepr(value)

    @pytest.mark.parametrize(
        "value",
        [
            sp.sqrt(sp.Rational(1, 20)), sp.Integer(64), sp.Float(0.1 + 0.2), sp.factor(2 * V + 2),
            -sp.factor(3 * V + 3),
            V / (2 * (V + 1)), sp.Mul(-1, V + 1, evaluate=False), sp.E, sp.pi / 4, (-2) ** V, sp.Float(-0.3) ** V,
            V ** sp.Rational(1, 3), sp.Piecewise((V, V > 0), (0, True)), sp.Max(V, 0) ** 2, sp.sign(V),
            sp.Piecewise((V, (V > -1) & (V < 1)), (1, V >= 1),
            (-1, True)), 1 / W**2, sp.Add(*([V**k for k in range(300)])),
        ],
        ids=lambda value: str(value)[:30],
    )  # fmt: skip
    def test_particular_ones(self, value):
        text = write_expression(value, SYMBOLS)
        assert sp.srepr(read_expression(text, SYMBOLS)) == sp.srepr(value)

    @pytest.mark.parametrize(
        ("text", "rule"),
        [
            ("9**9**9**9", "too long an integer"), ("(2*w)**(10**9)", "too long an integer"),
            ("2**-99999", "too long an integer"), ("exp(exp(exp(exp(9.0))))", "not a finite real number"),
            ("exp(exp(exp(exp(9))))", "not a finite real number"), ("1e999", "not a finite real number"),
            ("1/0", "not a finite real number"), ("sqrt(-1)", "not a finite real number"),
            ("(w-w)/(w-w)", "not a finite"),
            ("log(0)", "not a finite"), ("(0-1)**0.5", "not a finite"), ("Rational(1, 0)", "not a finite"),
            ("__import__('os').system('true')", "has no meaning"), ("w.is_positive", "'.' has no meaning"),
            ("lambda: 1", "':' has no meaning"), ("[1]", "has no meaning"), ("w^2", "'^' has no meaning"),
            ("w;v", "';' has no meaning"), ("eval(w)", "there is no function 'eval'"),
            ("sqtr(w)", "no function 'sqtr'"),
            ("__class__", "there is no symbol '__class__'"), ("x", "there is no symbol 'x'"), ("oo", "no symbol 'oo'"),
            ("I", "no symbol 'I'"), ("2w", "an operator was expected, not 'w'"), ("w w", "an operator was expected"),
            ("w(2)", "there is no function 'w'"), ("", "a number or a name was expected"),
            ("w+", "expected, not 'the end'"),
            ("(w", "')' was expected"), ("w)", "an operator was expected"), ("sin(w, v)", "sin has 1 argument, not 2"),
            ("w < 1", "a condition stands"), ("1 + (w < 1)", "a condition stands"), ("w & v", "joins conditions"),
            ("True", "a condition stands"), ("Piecewise(w)", "'(' was expected"), ("Rational(w, 2)", "two integers"),
            ("Piecewise((w, v))", "has a condition"), ("(" * 41 + "w" + ")" * 41, "nested more than 40"),
            ("w**" * 41 + "w", "nested more than 40"), ("w" + "+w" * 5000, "at most 10000 characters"),
            ("1" * 301, "at most 300 digits"), ("٣*w", "has no meaning"), ("w\x00", "has no meaning"),
            ("10**400", "not a finite real number"),
        ],
    )  # fmt: skip
    def test_what_is_refused(self, text, rule):
        with pytest.raises(FormulaError) as error:
            read_expression(text, SYMBOLS)
        assert rule in error.value.rule
        assert error.value.remedy

    @given(text=st.text(alphabet="wv0123456789.eE+-*/(), <>&|sqrtexpMaxPiecewiseTrue", max_size=25))
    def test_nothing_else_is_ever_raised(self, text):
        try:
            value = read_expression(text, SYMBOLS)
        except FormulaError:
            return
        assert isinstance(value, sp.Expr)

    def test_assumptions_are_those_of_sympy(self):

        assert set(ASSUMPTIONS) == set(sys.modules["sympy.core.assumptions"]._assume_defined)

    @pytest.mark.parametrize(
        "assumed",
        [
            {}, {"positive": True}, {"positive": False}, {"real": True, "nonzero": True}, {"odd": False},
            {"commutative": False}, {"zero": True}, {"prime": True}, {"extended_real": True, "finite": False},
            {"irrational": True, "negative": True}, {"polar": True}, {"nonnegative": True, "integer": True},
        ],
        ids=str,
    )  # fmt: skip
    def test_assumptions_round_trip(self, assumed):
        symbol = sp.Symbol("w", **assumed)
        assert sp.Symbol("w", **assumptions_of(symbol)) == symbol
        assert len(assumptions_of(symbol)) <= max(1, len(assumed))


# --- Activations -----------------------------------------------------------------------------------------------------


def with_functions(*functions):
    b = qc.Builder("functions")
    h = b.input("x")
    for k, function in enumerate(functions):
        h = b.activation(b.affine(h), function, name=f"act{k}")
    return b.build([h])


class TestActivations:
    @pytest.mark.parametrize("suffix", FORMATS)
    @pytest.mark.parametrize(
        "formula",
        ["u*tanh(u)", "Max(u, 0) + 3*Min(u, 0)/10", "Abs(u)", "u**3", "0.25*u + sin(u)", "u*Heaviside(u)",
         "1/(1 + exp(-u))",
         "Piecewise((u, u > 0), (exp(u) - 1, True))", "Piecewise((-1, u < -1), (u, u < 1), (1, True))"],
    )  # fmt: skip
    def test_formulas(self, folder, suffix, formula):
        mine = qc.Activation.from_sympy(formula, name="mine", length=0.75)
        arch = with_functions(mine, "tanh", mine)
        back = through(folder, arch, suffix)
        assert [node.id for node in back.nodes] == [node.id for node in arch.nodes]
        again, tanh = back.activations
        assert tanh == "tanh"
        assert back["act0"].op.function is back["act2"].op.function
        assert (again.name, again.length, again.expression, again.kinks) == ("mine", 0.75, mine.expression, mine.kinks)
        u = np.linspace(-5, 5, 101) + 0.001
        for order in (1, 2):
            assert np.array_equal(again.derivative(u, order), mine.derivative(u, order))
        assert np.array_equal(again(u), mine(u))

    def test_defaults_are_left_out(self, folder):
        arch = with_functions(qc.Activation.from_sympy("u*tanh(u)"), qc.Activation.from_sympy("u**5", length=math.inf))
        assert 'function: {formula: "u*tanh(u)"}' in text_of(arch, "yaml")
        assert 'function: {formula: "u**5", length: inf}' not in text_of(arch, "yaml")
        assert 'function: {formula: "u**5", length: "inf"}' in text_of(arch, "yaml")
        assert through(folder, arch, "json").activations[1].length == math.inf

    def test_catalogue_objects_in_use_stay_the_same_however_many_there_are(self, folder):
        mine = qc.activation("leaky_relu", negative_slope=0.123)
        for k in range(300):
            qc.activation("leaky_relu", negative_slope=1 + k / 1000)
        assert qc.activation("leaky_relu", negative_slope=0.123) is mine
        assert through(folder, with_functions(mine), "yaml").activations == (mine,)

    def test_formulas_are_not_evaluated(self, folder):
        text = text_of(with_functions(qc.Activation.from_sympy("u*tanh(u)")), "yaml")
        evil = text.replace("u*tanh(u)", "__import__('os').mkdir('evil')")
        with pytest.raises(ArchitectureError, match="has no meaning in a formula"):
            loaded(folder, evil)
        assert not Path("evil").exists()

    @pytest.mark.parametrize(
        ("function", "rule"),
        [
            (qc.Activation.from_callable(np.tanh, name="mine"), "the activation 'mine' has no formula"),
            (qc.Activation.from_sympy(sp.Abs(V - sp.Float(0.1 + 0.2))), "does not say all"),
            (qc.Activation("relu", np.tanh, np.cosh, np.sinh, expression="tanh(u)"), "does not say all"),
            (qc.Activation.from_sympy("besselj(0, u)"), "no function 'besselj'"),
            ("tahn", "no activation has this name"),
            (OPS["gate"]("g"), "is not the name of an activation"),
            (7, "is not the name of an activation"),
        ],
        ids=["callable", "digits", "other", "grammar", "unknown", "named", "number"],
    )  # fmt: skip
    def test_what_no_file_can_hold(self, folder, function, rule):
        path = folder / "none.yaml"
        with pytest.raises(ArchitectureError) as error:
            qc.save(with_functions("tanh", function), path)
        assert error.value.subject == "act1"
        assert rule in error.value.rule
        assert error.value.remedy
        assert not path.exists()


# --- What is refused -------------------------------------------------------------------------------------------------

GOOD = """\
qcmap: 1
name: good
symbols:
  w: {positive: true}
nodes:
  - {id: x, op: input, channels: 8}
  - {id: a, op: affine, inputs: [x], channels: 8, kernel: [3, 3], parameters: p}
  - {id: f, op: activation, inputs: [a], function: tanh}
  - {id: l, op: activation, inputs: [f], function: {name: leaky_relu, negative_slope: 0.2}}
  - {id: m, op: activation, inputs: [l], function: {formula: "u*tanh(u)", name: my, length: 0.5}}
  - {id: b, op: affine, inputs: [m], channels: 8, weight_variance: 2.0}
  - {id: s, op: sum, inputs: [a, b], weights: [0.6, "sqrt(1 - w**2)"]}
  - {id: p, op: max_pool, inputs: [s], kernel: [3, 3], stride: 2}
outputs: [p]
"""

JSON = """\
{
  "qcmap": 1,
  "name": "good",
  "symbols": {"w": {"positive": true}},
  "nodes": [
    {"id": "x", "op": "input", "channels": 8},
    {"id": "a", "op": "affine", "inputs": ["x"], "channels": 8, "kernel": [3, 3], "parameters": "p"},
    {"id": "f", "op": "activation", "inputs": ["a"], "function": "tanh"},
    {"id": "l", "op": "activation", "inputs": ["f"], "function": {"name": "leaky_relu", "negative_slope": 0.2}},
    {"id": "m", "op": "activation", "inputs": ["l"], "function": {"formula": "u*tanh(u)", "name": "my", "length": 0.5}},
    {"id": "b", "op": "affine", "inputs": ["m"], "channels": 8, "weight_variance": 2.0},
    {"id": "s", "op": "sum", "inputs": ["a", "b"], "weights": [0.6, "sqrt(1 - w**2)"]},
    {"id": "p", "op": "max_pool", "inputs": ["s"], "kernel": [3, 3], "stride": 2}
  ],
  "outputs": ["p"]
}
"""

# What to replace in GOOD, by what, and the error: line, node and key, a part of the rule, a part of the remedy.
REFUSED = [
    ("qcmap: 1", "qcmap: 2", 1, "qcmap", "version 1 was expected, not 2", "newer qcmap"),
    ("qcmap: 1", "qcmap: '1'", 1, "qcmap", "version 1 was expected, not '1'", "qcmap: 1"),
    ("qcmap: 1", "qcmap: true", 1, "qcmap", "not true", "qcmap: 1"),
    ("qcmap: 1\n", "", 1, "qcmap", "needs the key 'qcmap'", "add qcmap: 1"),
    ("name: good", "name: 5", 2, "name", "a text was expected, not 5", 'write "5"'),
    ("name: good", "name:", 2, "name", "a text was expected, not null", ""),
    ("name: good", "nmae: good", 2, "nmae", "no key 'nmae'", "did you mean name?"),
    ("name: good\n", "", 1, "name", "needs the key 'name'", "add name"),
    ("name: good", "name: good\nname: better", 3, "name", "the key 'name' is given twice", "once"),
    ("name: good", "name: [good", 3, "", "it is not YAML", "correct"),
    ("name: good", "name: *good", 2, "name", "anchors, aliases and tags", "write it out"),
    ("name: good", "name: &a good", 2, "name", "anchors, aliases and tags", "write it out"),
    ("name: good", "name: !!python/name:os.system good", 2, "name", "anchors, aliases and tags", "write it out"),
    ("name: good", "name: go\x07od", 2, "", "does not allow the character '\\x07'", "escape"),
    ("name: good", "? [a]\n: good", 2, "", "a key must be a text", "word"),
    ("{positive: true}", "{postive: true}", 4, "postive", "no key 'postive'", "did you mean positive?"),
    ("{positive: true}", "{positive: 1}", 4, "symbols.w.positive", "true or false was expected, not 1", ""),
    ("{positive: true}", "true", 4, "symbols.w", "a mapping of assumptions", "{positive: true}"),
    ("{positive: true}", "{positive: true, zero: true}", 4, "symbols.w", "contradict", "leave one out"),
    ("  w: {positive", "  w v: {positive", 4, "symbols.w v", "cannot name a symbol", "letters"),
    ("  w: {positive", "  v: {positive", 12, "node 's', weights[1]", "there is no symbol 'w'", "declare it under"),
    ("symbols:\n  w: {positive: true}", "symbols: [w]", 3, "symbols", "a mapping was expected, not a list", "symbols"),
    ("{id: x, op: input, channels: 8}", "x", 6, "nodes", "a mapping was expected, not 'x'", "{id"),
    ("id: x, ", "", 6, "id", "a node needs the key 'id'", "add id"),
    ("id: x, ", "id: 1, ", 6, "id", "a text was expected, not 1", 'write "1"'),
    ("id: b,", "id: a,", 11, "id", "the id 'a' is taken, by line 7", "own id"),
    ("op: input, ", "", 6, "op", "a node needs the key 'op'", "add op"),
    ("op: affine, inputs: [m]", "op: afine, inputs: [m]", 11, "node 'b', op", "there is no op 'afine'", "affine"),
    ("op: affine, inputs: [m]", "op: [], inputs: [m]", 11, "node 'b', op", "a text was expected, not a list", ""),
    ("inputs: [m]", "inputs: [mm]", 11, "node 'b', inputs", "there is no node 'mm'", "did you mean m"),
    ("inputs: [m]", "inputs: m", 11, "node 'b', inputs", "a list was expected, not 'm'", "inputs: [...]"),
    ("inputs: [m]", "inputs: [m, a]", 11, "node 'b'", "1 input, not 2", "give"),
    ("inputs: [m]", "inputs: [2]", 11, "node 'b', inputs[0]", "a text was expected, not 2", ""),
    ("inputs: [m], ", "", 11, "node 'b'", "1 input, not 0", "give"),
    ("inputs: [m]", "inputs: [s]", 12, "node 's', inputs", "the graph has a cycle", "unroll"),
    ("inputs: [s]", "inputs: [b]", 12, "node 's', inputs", "no output depends on it", "output"),
    ("channels: 8, k", "channels: 8.0, k", 7, "node 'a', channels", "an integer or a formula", "not 8.0"),
    ("channels: 8, k", "channels: 0, k", 7, "node 'a'", "channels must be a positive integer", ""),
    ("channels: 8, k", "chanels: 8, k", 7, "node 'a', chanels", "an affine has no key 'chanels'", "channels?"),
    ("kernel: [3, 3], p", "kernel: 3, p", 7, "node 'a', kernel", "a list, each an integer was expected, not 3", ""),
    ("kernel: [3, 3], p", "kernel: [3, 1.5], p", 7, "node 'a', kernel[1]", "an integer was expected, not 1.5", ""),
    ("kernel: [3, 3], p", "groups: 3, p", 7, "node 'a'", "8 channels do not fall into 3 equal groups", "divisor"),
    ("kernel: [3, 3], p", "padding: valid, p", 7, "node 'a', padding",
     "an integer or 'same' was expected", ""),
    ("kernel: [3, 3], p", "init: he, p", 7, "node 'a', init", "'delta' or 'fan_in' was expected, not 'he'", ""),
    ("parameters: p", "parameters: 7", 7, "node 'a', parameters", "a text or null was expected, not 7", ""),
    ("function: tanh", "function: tahn", 8, "node 'f', function", "no activation has this name", "tanh"),
    (", function: tanh", "", 8, "node 'f', function", "needs the key 'function'", "add function"),
    ("function: tanh", "function: 3", 8, "node 'f', function", "the name of an activation", "not 3"),
    ("function: tanh", "function: {}", 8, "node 'f', function", "needs the key 'name' or 'formula'", "add one"),
    ("negative_slope: 0.2", "slope: 0.2", 9, "node 'l', function", "does not take the parameters slope", "negative"),
    ("negative_slope: 0.2", "negative_slope: x", 9, "node 'l', function.negative_slope", "a number was expected", ""),
    ("u*tanh(u)", "x*tanh(x)", 10, "node 'm', function.formula", "there is no symbol 'x'", "u"),
    ("u*tanh(u)", "tanh(u", 10, "node 'm', function.formula", "')' was expected", ""),
    ("u*tanh(u)", "1 + 1", 10, "node 'm', function.formula", "0 free symbols", ""),
    ("length: 0.5", "length: -1", 10, "node 'm', function.length", "a positive number", "not -1"),
    ("length: 0.5", "width: 0.5", 10, "node 'm', width", "no key 'width'", ""),
    ("weight_variance: 2.0", "weight_variance: 0", 11, "node 'b'", "weight variance must be above 0", ""),
    ("weight_variance: 2.0", "weight_variance: .inf", 11, "weight_variance", "'.inf' is not a finite number", ""),
    ("weight_variance: 2.0", "weight_variance: 1e999", 11, "weight_variance", "is not a finite number", ""),
    ("weight_variance: 2.0", "weight_variance: 9**9**9**9", 11, "weight_variance", "too long an integer", ""),
    ("weight_variance: 2.0", "weight_variance: true", 11, "node 'b', weight_variance", "a number or a formula", "true"),
    ("weight_variance: 2.0", "weight_variance: [1]", 11, "node 'b', weight_variance", "not a list", ""),
    ("[0.6, ", "[0.6, 0.5, ", 12, "node 's'", "got 3 for 2", "2 weights"),
    ("[0.6, ", "[.nan, ", 12, "weights", "'.nan' is not a finite number", ""),
    ("[0.6, ", "[{}, ", 12, "node 's', weights[0]", "a number or a formula was expected, not a mapping", ""),
    ("sqrt(1", "sqtr(1", 12, "node 's', weights[1]", "there is no function 'sqtr'", "sqrt"),
    ("outputs: [p]", "outputs: [q]", 14, "outputs", "there is no node 'q'", ""),
    ("outputs: [p]", "outputs: []", 14, "outputs", "at least one output", "name an output"),
    ("outputs: [p]\n", "", 1, "outputs", "at least one output", "name an output"),
    ("outputs: [p]", "outputs: p", 14, "outputs", "a list was expected, not 'p'", "outputs: [...]"),
    ("outputs: [p]", "output: [p]", 14, "output", "no key 'output'", "outputs?"),
    ("outputs: [p]\n", "outputs: [p]\n---\nqcmap: 1\n", 15, "", "several documents", "one architecture"),
    ("outputs: [p]", "outputs: " + "[" * 30, 14, "outputs", "nested more than 20 deep", "schema"),
]  # fmt: skip


def refused(folder, text, suffix="yaml"):
    with pytest.raises(QCMapError) as error:
        loaded(folder, text, suffix)
    assert type(error.value) is ArchitectureError
    assert "\n" not in str(error.value)
    return error.value


class TestRefusals:
    @pytest.mark.parametrize(("old", "new", "line", "keys", "rule", "remedy"), REFUSED, ids=[row[1] for row in REFUSED])
    def test_yaml(self, folder, old, new, line, keys, rule, remedy):
        assert GOOD.count(old) == 1
        assert isinstance(loaded(folder, GOOD), Architecture)
        error = refused(folder, GOOD.replace(old, new))
        assert re.match(rf"{re.escape(str(folder / 'net.yaml'))}, line {line}(,|$)", error.subject)
        assert error.subject.endswith(f", {keys}" if keys else f"line {line}")
        assert rule in error.rule
        assert remedy in str(error)

    def test_yaml_without_the_c_library(self, folder, monkeypatch):
        """PyYAML's own parser finds the same lines and refuses the same files."""
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
        assert text_of(loaded(folder, GOOD), "json") == JSON
        for old, new, line, *_ in REFUSED:
            assert re.search(rf"line {line}(,|$)", refused(folder, GOOD.replace(old, new)).subject), new
        for escape in ("\\ud800", "\\UFFFFFFFF"):
            assert "line " in refused(folder, GOOD.replace("name: good", f'name: "{escape}"')).subject

    @pytest.mark.parametrize(
        ("old", "new", "line", "keys", "rule"),
        [
            ('"qcmap": 1', '"qcmap": 1.0', 2, "qcmap", "not 1.0"),
            ('"good",', '"good"', 4, "", "it is not JSON: Expecting ',' delimiter"),
            ('"good"', "'good'", 3, "", "it is not JSON"),
            ('"name": "good"', '"name": "good", "name": "b"', 3, "name", "is given twice"),
            ('"good"', '"go\tod"', 3, "", "Invalid control character"),
            ('"good"', r'"\ud800"', 3, "name", "half of a surrogate pair"),
            ('"good"', "NaN", 3, "name", "NaN is not a finite number"),
            ('"length": 0.5', '"length": -Infinity', 10, "length", "-Infinity is not a finite number"),
            ('"length": 0.5', '"length": 1e999', 10, "length", "1e999"),
            ('"length": 0.5', '"length": ' + "1" * 5000, 10, "length", "at most 300 digits"),
            ('"length": 0.5', '"length": null', 10, "node 'm', function.length", "not null"),
            ('"length": 0.5', '"length": ' + "[" * 100_000 + "]" * 100_000, 10, "length", "nested more than 20 deep"),
            ('"length": 0.5', '"length": 05', 10, "", "it is not JSON"),
            ("0.6,", "0.6,,", 12, "", "it is not JSON"),
            ("0.6,", "0.6, // shares\n", 12, "", "it is not JSON"),
            ("0.6,", "true,", 12, "node 's', weights[0]", "a number or a formula was expected, not true"),
            ('["p"]\n}', '["p"]\n}\n{}', 17, "", "Extra data"),
            ('["p"]\n}', '["p"]', 15, "", "it is not JSON"),
            ('["p"]\n}', '["p",]\n}', 15, "", "it is not JSON"),
        ],
        ids=str,
    )
    def test_json(self, folder, old, new, line, keys, rule):
        assert JSON.count(old) == 1
        error = refused(folder, JSON.replace(old, new), "json")
        assert re.match(rf"{re.escape(str(folder / 'net.json'))}, line {line}(,|$)", error.subject)
        assert error.subject.endswith(f", {keys}" if keys else f"line {line}")
        assert rule in error.rule

    @pytest.mark.parametrize(
        ("text", "line", "rule"),
        [
            ("", 1, "the file is empty"), ("# nothing\n", 1, "the file is empty"),
            ("--- ~\n", 1, "a mapping was expected, not null"),
            ("5", 1, "a mapping was expected, not 5"), ("[1, 2]", 1, "a mapping was expected, not a list"),
            ("qcmap: 1\nname: a\nnodes: []\noutputs: []\n", 4, "at least one output"),
            ("qcmap: 1\nname: a\nnodes: {}\n", 3, "a list was expected"),
            ("a: &a [x, x]\nb: &b [*a, *a]\n", 1, "anchors, aliases and tags"),
            ("[" * 100_000, 1, "nested more than 20"),
            ("{a: " * 100_000, 1, "nested more than 20"), ("- " * 100_000, 1, "nested more than 20"),
            (b"qcmap: 1\nname: \xff\n", 2, "not UTF-8"), ("qcmap: 1".encode("utf-16"), 1, "not UTF-8"),
            ("%YAML 3.0\n---\nqcmap: 1\n", 1, "not YAML"), ("\tqcmap: 1\n", 1, "not YAML"), ("\x00", 1, "not allow"),
        ],
        ids=lambda value: repr(value)[:20],
    )  # fmt: skip
    def test_no_architecture_at_all(self, folder, text, line, rule):
        error = refused(folder, text)
        assert re.search(rf"net.yaml, line {line}(,|$)", error.subject)
        assert rule in error.rule

    def test_cycles_and_outputs_that_are_read_have_lines(self, folder):
        head = "qcmap: 1\nname: y\nnodes:\n  - {id: x, op: input}\n"
        cycle = "  - {id: y, op: sum, inputs: [x, z], weights: [1, 1]}\n  - {id: z, op: affine, inputs: [y]}\n"
        error = refused(folder, f"{head}{cycle}outputs: [z]\n")
        assert re.search("the graph has a cycle: (z -> y -> z|y -> z -> y)", error.rule)
        assert re.search(r"line [56], node '[yz]', inputs$", error.subject)
        read = "  - {id: o, op: output, inputs: [x]}\n  - {id: y, op: affine, inputs: [o]}\noutputs: [y]\n"
        assert refused(folder, head + read).subject.endswith("line 6, node 'y', inputs")

    def test_no_sympy_for_numbers_alone(self, tmp_path):
        program = "import sys, qcmap as qc; qc.load(sys.argv[1]); print('sympy' in sys.modules)"
        qc.save(qc.zoo.mlp(3), tmp_path / "net.yaml")
        run = [sys.executable, "-c", program, str(tmp_path / "net.yaml")]
        assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "False\n"


# --- Damaged files ---------------------------------------------------------------------------------------------------


def mutated(text, rng):
    """The text with one or two of the mistakes that people, editors and disks make."""
    for _ in range(rng.choice((1, 1, 2))):
        lines = text.splitlines(keepends=True)
        here, there = rng.randrange(len(lines)), rng.randrange(len(lines))
        at = rng.randrange(len(text))
        kind = rng.randrange(11)
        if kind == 0:
            del lines[here]
        elif kind == 1:
            lines.insert(there, lines[here])
        elif kind == 2:
            lines[here], lines[there] = lines[there], lines[here]
        elif kind == 3:
            lines[here] = rng.choice((" ", "  ", "\t", "")) + lines[here].lstrip()
        text = "".join(lines)
        if kind == 4:
            text = text[:at] + rng.choice(string.printable + "é\x00🎉\u2028") + text[at + 1 :]
        elif kind == 5:
            text = text[:at] + text[at + 1 :]
        elif kind == 6:
            text = text[:at] + rng.choice("{}[],:\"'#&*!|>%@`-?0123456789ew.\n ") + text[at:]
        elif kind == 7:
            text = text[:at]
        elif kind in (8, 9):
            token = rng.choice(list(re.finditer(r"[\w.]+", text)))
            new = rng.choice(("null", "true", "[]", "{}", '"w"', "1", "-1", "0", "2.5", "1e400", "tanh", "x", "[[[]]]"))
            text = text[: token.start()] + new + text[token.end() :]
        elif kind == 10:
            token = rng.choice(list(re.finditer(r"[a-z_]{2,}", text)))
            letters = list(token[0])
            rng.shuffle(letters)
            text = text[: token.start()] + "".join(letters) + text[token.end() :]
        if not text:
            return " "
    return text


def plain(value):
    """A field as a text that does not tell a number from its digits, as BaseLoader reads files."""
    if isinstance(value, (tuple, list)):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, str):
        try:
            return repr(float(value))
        except ValueError:
            return value
    return repr(float(value)) if isinstance(value, (int, float)) else value


def assert_means_what_it_says(arch, text, suffix):
    """Every entry of the file, as another reader sees it, stands in the architecture, and nothing else does."""
    data = json.loads(text) if suffix == "json" else yaml.load(text, Loader=yaml.BaseLoader)
    assert (arch.name, set(arch.outputs)) == (data["name"], set(data["outputs"]))
    entries = {entry["id"]: entry for entry in data["nodes"]}
    assert {node.id for node in arch.nodes} == set(entries)
    symbols = {
        name: sp.Symbol(name, **{key: str(value).lower() == "true" for key, value in assumed.items()})
        for name, assumed in data.get("symbols", {}).items()
    }
    for node in arch.nodes:
        entry = entries[node.id]
        assert (entry["op"], entry.get("inputs", [])) == (node.op.kind, list(node.inputs))
        assert set(entry) <= {"id", "op", "inputs", *(field.name for field in fields_of(type(node.op)))}
        for field in fields_of(type(node.op)):
            value = getattr(node.op, field.name)
            if field.name not in entry:
                assert repr(value) == repr(type(node.op).__dataclass_fields__[field.name].default)
            elif isinstance(value, qc.Activation):
                told = entry[field.name]
                assert told.get("name", value.name) == value.name
                assert told.get("formula", value.expression) == value.expression or "formula" in told
                assert all(float(told[key]) == value.parameters[key] for key in value.parameters if key in told)
            else:
                parts = value if isinstance(value, tuple) else (value,)
                said = entry[field.name] if isinstance(value, tuple) else [entry[field.name]]
                for part, text_of_part in zip(parts, said, strict=True):
                    if isinstance(part, sp.Basic):
                        assert sp.simplify(sp.sympify(text_of_part, locals=symbols) - part) == 0
                    elif part is None:
                        assert text_of_part in (None, "null", "", "~")
                    else:
                        assert plain(part) == plain(text_of_part)


def assert_is_told(error, path, text):
    """The error has the file, a line of it, a rule and a remedy."""
    found = re.match(re.escape(str(path)) + r", line (\d+)", error.subject)
    assert found, text
    assert 1 <= int(found[1]) <= len(re.split("\r\n|[\n\r\x85\u2028\u2029]", text)), (text, str(error))
    assert error.rule
    assert error.remedy


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("batch", range(4))
def test_damaged_files(folder, suffix, batch):
    """Each of 200 damaged files a format is refused with its line, or read as exactly what it says.

    Accepted means: another reader finds the same names, nodes, inputs and fields in the file, no more and no fewer, and
    what was loaded comes back from a file of its own. Nothing but `ArchitectureError` is ever raised.
    """
    rng = random.Random(f"{suffix}{batch}")
    good = GOOD if suffix == "yaml" else JSON
    original = loaded(folder, good, suffix)
    told = 0
    for _ in range(50):
        text = mutated(good, rng)
        try:
            arch = loaded(folder, text, suffix)
        except ArchitectureError as error:
            told += 1
            assert_is_told(error, folder / f"net.{suffix}", text)
            continue
        assert_means_what_it_says(arch, text, suffix)
        own = [f for f in arch.activations if isinstance(f, qc.Activation) and f.name not in CATALOGUE]
        if not own:
            assert_same(through(folder, arch, suffix), arch)
        else:
            # Activations of formulas are compared as objects, so a loaded one equals only itself.
            assert text_of(arch, "yaml") == text_of(through(folder, arch, suffix), "yaml")
    assert told >= 25
    assert isinstance(original, Architecture)


# --- The file system -------------------------------------------------------------------------------------------------


class TestFileSystem:
    ARCH = qc.zoo.mlp(2)

    @pytest.mark.parametrize(
        ("name", "rule"),
        [
            ("net.txt", "no format for the suffix '.txt'"), ("net", "no format for the suffix ''"),
            ("none.yaml", "No such file"), ("none/net.yaml", "No such file"), ("folder.yaml", "directory"),
            ("a\x00b.yaml", "null byte"), ("a" * 300 + ".yaml", "too long"), ("file.yaml/net.yaml", "Not a directory"),
        ],
        ids=lambda value: repr(value)[:20],
    )  # fmt: skip
    def test_paths_that_are_refused(self, tmp_path, name, rule):
        (tmp_path / "folder.yaml").mkdir()
        (tmp_path / "file.yaml").touch()
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ArchitectureError, match=rule) as error:
            qc.load(tmp_path / name)
        assert error.value.subject == str(tmp_path / name)
        if name != "none.yaml":
            with pytest.raises(ArchitectureError, match=rule) as error:
                qc.save(self.ARCH, tmp_path / name)
            assert error.value.subject == str(tmp_path / name)
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything is permitted here")
    def test_permissions(self, tmp_path):
        path = tmp_path / "net.yaml"
        qc.save(self.ARCH, path)
        path.chmod(0)
        with pytest.raises(ArchitectureError, match="Permission denied"):
            qc.load(path)

    @pytest.mark.parametrize("failing", ["replace", "fsync"])
    def test_whole_or_not_at_all(self, tmp_path, monkeypatch, failing):
        def fails(*_):
            raise OSError(28, "No space left on device")

        path = tmp_path / "net.yaml"
        path.write_text("before")
        monkeypatch.setattr(os, failing, fails)
        with pytest.raises(ArchitectureError, match="No space left"):
            qc.save(self.ARCH, path)
        monkeypatch.undo()
        assert os.listdir(tmp_path) == ["net.yaml"]
        assert path.read_text() == "before"

    def test_a_refused_architecture_leaves_the_file(self, tmp_path):
        path = tmp_path / "net.yaml"
        path.write_text("before")
        with pytest.raises(ArchitectureError):
            qc.save(with_functions("tahn"), path)
        assert os.listdir(tmp_path) == ["net.yaml"]
        assert path.read_text() == "before"

    @pytest.mark.skipif(os.name != "posix", reason="needs links and modes")
    def test_replacing_keeps_links_and_modes(self, tmp_path):
        path, link = tmp_path / "net.yaml", tmp_path / "link.yaml"
        qc.save(self.ARCH, path)
        umask = os.umask(0)
        os.umask(umask)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
        path.chmod(0o640)
        link.symlink_to(path)
        qc.save(qc.zoo.mlp(3), link)
        assert link.is_symlink()
        assert qc.load(path) == qc.zoo.mlp(3)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


# --- What no file can hold, and the schema ---------------------------------------------------------------------------


class Mine(Op):
    kind = "mine"
    arity = 0


@pytest.mark.parametrize(
    ("arch", "subject", "rule"),
    [
        (Architecture("a", (Node("x", Mine()),), ("x",)), "x", "cannot hold the op Mine"),
        (Architecture("a\ud800", (Node("x", Input()),), ("x",)), "a\ud800", "no Unicode text"),
        (Architecture(5, (Node("x", Input()),), ("x",)), "5", "5 is no Unicode text"),
        (Architecture("a", (Node("\ud800", Input()),), ("\ud800",)), "\ud800", "no Unicode text"),
        (Architecture("a", (Node("x", Input()), Node("y", Affine(parameters=5), ("x",))), ("y",)), "y", "5 is not"),
        (Architecture("a", (Node("x", Input()), Node("y", Affine(), ["x"])), ("y",)), "y", "is not a tuple"),
        (Architecture("a", (Node("x", Input(q=Fraction(1, 3))),), ("x",)), "x", "Fraction(1, 3) is not a number"),
        (Architecture("a", (Node("x", Input(q=sp.Float("0.1", 30))),), ("x",)), "x", "sympy Float of 103 bits"),
        (Architecture("a", (Node("x", Input(q=sp.Dummy("w"))),), ("x",)), "x", "cannot hold the symbol '_w'"),
        (Architecture("a", (Node("x", Input(q=sp.Symbol("a b"))),), ("x",)), "x", "cannot hold the symbol 'a b'"),
        (Architecture("a", (Node("x", Input(q=sp.gamma(V))),), ("x",)), "x", "no function 'gamma'"),
        (Architecture("a", (Node("x", Input(q=V + sp.I)),), ("x",)), "x", "no symbol 'I'"),
        (Architecture("a", (Node("x", Input(10**301)),), ("x",)), "x", "at most 300 digits"),
        (Architecture("a", (Node("x", Input(sp.Symbol("w"), None, W)),), ("x",)), "x", "two different symbols"),
    ],
)
@pytest.mark.parametrize("suffix", FORMATS)
def test_what_cannot_be_saved(tmp_path, arch, subject, rule, suffix):
    with pytest.raises(ArchitectureError) as error:
        qc.save(arch, tmp_path / f"net.{suffix}")
    assert error.value.subject == subject
    assert rule in error.value.rule
    assert error.value.remedy
    assert not os.listdir(tmp_path)


def test_fields_that_may_be_symbolic_are_those_of_the_ops():
    for op in OPS.values():
        symbolic = [field.name for field in fields_of(op) if "formula" in field.kind.expected]
        assert tuple(symbolic) == op.constants
    with pytest.raises(KeyError, match="no row for the type complex"):
        kind_of("int | complex")


def test_the_page_lists_every_op_and_field():
    page = DOCS.read_text()
    for kind, op in OPS.items():
        row = re.search(rf"^\| `{kind}` \|.*$", page, flags=re.MULTILINE)
        assert row, kind
        assert re.findall(r"`(\w+)`", row[0].split("|")[2]) == [field.name for field in fields_of(op)], kind


def test_the_page_shows_a_file_that_is_saved_like_that(folder):
    blocks = re.findall(r"```(yaml|json)\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    assert {suffix for suffix, _ in blocks} == set(FORMATS)
    for suffix, block in blocks:
        assert text_of(loaded(folder, block, suffix), suffix) == block
