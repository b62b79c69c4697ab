"""Appendix N: what becomes of DKS if a part is left out or changed."""

from __future__ import annotations

from dataclasses import replace

from examples.dks_experiments.ordering import Ordering
from examples.dks_experiments.row import Row
from examples.dks_experiments.rows_main import DKS
from examples.dks_experiments.setup import Setup

SMOOTH = {label: DKS[label] for label in ("DKS tanh", "DKS softplus")}
TANH = replace(DKS["DKS tanh"], layers="convolutional")
DRAWS = {
    "orthogonal Delta": {},
    "Gaussian Delta": {"weights": "gaussian"},
    "orthogonal": {"delta": False},
    "Gaussian": {"weights": "gaussian", "delta": False},
}


def _ablated(words: str, **changes: object) -> dict[str, Setup]:
    return {f"{name}, {words}": Setup("dks", name, options=changes) for name in ("tanh", "softplus")}


def _worse(words: str) -> tuple[Ordering, ...]:
    return tuple(Ordering(f"DKS {name}", ">", f"{name}, {words}") for name in ("tanh", "softplus"))


def _method(words: str, method: str, optimizer: str = "sgd") -> dict[str, Setup]:
    return {f"{name}, {words}": Setup(method, name, optimizer) for name in ("tanh", "softplus")}


NONE = _method("no transform", "drawn")
ONLY_Q = _method("Q = 1 alone", "unit_q")

ABLATIONS = (
    Row(
        "N.1", "initial weights, convolutional", "N.1",
        "orthogonal Delta best with DKS, orthogonal and Gaussian Delta very close; far apart without transforms",
        {
            **{f"DKS, {words}": replace(TANH, options=options) for words, options in DRAWS.items()},
            **{f"plain, {words}": replace(TANH, method="drawn", options=options) for words, options in DRAWS.items()},
        },
        (
            Ordering("DKS, orthogonal Delta", "~", "DKS, Gaussian Delta"),
            Ordering("DKS, orthogonal Delta", "~", "DKS, orthogonal"),
            Ordering("DKS, orthogonal Delta", ">=", "DKS, Gaussian"),
            Ordering("DKS, Gaussian", ">", "plain, Gaussian"),
            Ordering("plain, orthogonal Delta", ">", "plain, Gaussian"),
        ),
    ),
    Row(
        "N.2", "only Q(1) = 1", "N.2", "clearly not enough; for tanh worse than no transform (N.5)",
        {**SMOOTH, **ONLY_Q, **NONE},
        (*_worse("Q = 1 alone"), Ordering("tanh, no transform", ">", "tanh, Q = 1 alone")),
    ),
    Row(
        "N.3", "without Q'(1) = 1", "N.3", "important in most cases, not in all",
        {**SMOOTH, **_ablated("Q' free", q_slope=None)},
        _worse("Q' free"),
    ),
    Row(
        "N.4", "least Q'(1)", "N.4", "overall worse than Q'(1) = 1",
        {**SMOOTH, **_ablated("least Q'", q_slope="minimise")},
        _worse("least Q'"),
    ),
    Row("N.5", "no transform", "N.5", "much worse with SGD", {**SMOOTH, **NONE}, _worse("no transform")),
    Row(
        "N.6", "without PLN", "N.6", "slightly better without PLN; worse without it if inputs are 100 times as large",
        {
            "PLN": DKS["DKS tanh"],
            "no PLN": replace(DKS["DKS tanh"], pln=False),
            "PLN, inputs x 100": replace(DKS["DKS tanh"], scale=100.0),
            "no PLN, inputs x 100": replace(DKS["DKS tanh"], pln=False, scale=100.0),
        },
        (Ordering("no PLN", ">=", "PLN"), Ordering("PLN, inputs x 100", ">", "no PLN, inputs x 100")),
    ),
    Row(
        "N.7", "equivalent parameters", "N.7", "the same with K-FAC, much worse with SGD",
        {
            **SMOOTH,
            **_method("equivalent", "equivalent"),
            **{f"{label}, K-FAC": replace(setup, optimizer="kfac") for label, setup in SMOOTH.items()},
            **_method("equivalent, K-FAC", "equivalent", "kfac"),
        },
        (
            *(Ordering(f"DKS {name}", ">>", f"{name}, equivalent") for name in ("tanh", "softplus")),
            *(Ordering(f"{name}, equivalent, K-FAC", "~", f"DKS {name}, K-FAC") for name in ("tanh", "softplus")),
        ),
    ),
    Row(
        "N.8", "a convolution for max pooling", "N.8", "roughly alike, SGD slightly faster",
        {"max pooling": replace(TANH, stem="max"), "convolution": replace(TANH, stem="convolution")},
        (Ordering("convolution", "~", "max pooling"),),
    ),
    Row(
        "N.9", "weighted mean pooling", "N.9", "slightly faster with SGD, and slightly better generalisation",
        {"mean pooling": TANH, "weighted": replace(TANH, pooling="weighted")},
        (Ordering("weighted", ">=", "mean pooling"), Ordering("weighted", ">=", "mean pooling", "test")),
    ),
)  # fmt: skip
