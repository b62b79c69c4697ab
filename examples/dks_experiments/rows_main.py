"""Sections 28.2 to 28.4: networks without shortcuts and norms against ResNets, with shortcuts, other activations."""

from __future__ import annotations

from dataclasses import replace

from examples.dks_experiments.ordering import Ordering
from examples.dks_experiments.row import Row
from examples.dks_experiments.setup import Setup

RESNET = Setup("fan_in", "relu", skips=True, norm=True)
ABLATED = {
    "ResNet": RESNET,
    "ResNet less norms": replace(RESNET, norm=False),
    "ResNet less skips": replace(RESNET, skips=False),
    "ResNet less both": replace(RESNET, norm=False, skips=False),
}
DKS = {f"DKS {name}": Setup("dks", name) for name in ("tanh", "softplus", "relu")}
SKIPS = {f"{label}, skips": replace(setup, skips=True) for label, setup in DKS.items()}
MAIN_REPORT = (
    "with SGD, DKS without skips and norms is slower than a ResNet and faster than one without skips, norms or both; "
    "test accuracy below that of the ResNet, above that of ablated ones"
)


def _against_ablated(label: str) -> tuple[Ordering, ...]:
    return (
        Ordering("ResNet", ">=", label),
        Ordering(label, ">", "ResNet less skips"),
        Ordering(label, ">>", "ResNet less both"),
        Ordering(label, ">", "ResNet less both", "test"),
    )


def _with(optimizer: str, setups: dict[str, Setup]) -> dict[str, Setup]:
    return {label: replace(setup, optimizer=optimizer) for label, setup in setups.items()}


ACTIVATIONS = (
    "tanh", "softplus", "relu", "selu", "softsign", "swish", "elu", "bentid", "sigmoid", "atan", "asinh", "erf",
)  # fmt: skip
"""Six are named in the paper; the others are smooth functions of the catalogue."""

MAIN = (
    Row(
        "28.2", "DKS and ResNets, dense, SGD", "28.2", MAIN_REPORT, {**ABLATED, **DKS},
        (
            *_against_ablated("DKS tanh"),
            *_against_ablated("DKS softplus"),
            *_against_ablated("DKS relu"),
        ),
    ),
    Row(
        "28.2-conv", "DKS and ResNets, convolutional, SGD", "28.2", MAIN_REPORT,
        {
            label: replace(setup, layers="convolutional")
            for label, setup in {**ABLATED, "DKS tanh": DKS["DKS tanh"], "DKS softplus": DKS["DKS softplus"]}.items()
        },
        (*_against_ablated("DKS tanh"), *_against_ablated("DKS softplus")),
    ),
    Row(
        "28.2-kfac", "DKS and ResNets, dense, K-FAC", "28.2",
        "with K-FAC, DKS without skips and norms trains as fast as a ResNet (relu slower), ablated ones far slower",
        _with("kfac", {**{k: v for k, v in ABLATED.items() if k in ("ResNet", "ResNet less both")}, **DKS}),
        (
            Ordering("DKS tanh", ">=", "ResNet"),
            Ordering("DKS softplus", ">=", "ResNet"),
            Ordering("DKS tanh", ">>", "ResNet less both"),
            Ordering("DKS softplus", ">>", "ResNet less both"),
            Ordering("DKS softplus", ">", "DKS relu"),
        ),
    ),
    Row(
        "28.3", "with and without skips, SGD", "28.3",
        "with SGD, skips (residual weight sqrt 0.05) speed DKS up, to that of a ResNet for softplus and relu",
        {"ResNet": RESNET, **DKS, **SKIPS},
        (
            *(Ordering(f"{label}, skips", ">=", label) for label in DKS),
            Ordering("DKS softplus, skips", ">=", "ResNet"),
            Ordering("DKS relu, skips", ">=", "ResNet"),
        ),
    ),
    Row(
        "28.3-kfac", "with and without skips, K-FAC", "28.3",
        "with K-FAC, skips make no difference to DKS, but relu gains",
        _with("kfac", {k: v for k, v in {**DKS, **SKIPS}.items() if "softplus" not in k}),
        (Ordering("DKS tanh, skips", "~", "DKS tanh"), Ordering("DKS relu, skips", ">", "DKS relu")),
    ),
    Row(
        "28.4", "twelve activations, SGD", "28.4",
        "all much alike (with K-FAC but relu); with SGD a larger spread, in which relu is no outlier",
        {f"DKS {name}": Setup("dks", name) for name in ACTIVATIONS},
        tuple(Ordering(f"DKS {name}", "~", "DKS tanh") for name in ACTIVATIONS if name != "tanh"),
    ),
)  # fmt: skip
