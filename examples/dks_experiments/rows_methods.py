"""Section 28.5: DKS against earlier ways to construct and initialise networks."""

from __future__ import annotations

from dataclasses import replace

from examples.dks_experiments.ordering import Ordering
from examples.dks_experiments.row import Row
from examples.dks_experiments.rows_main import DKS, SKIPS
from examples.dks_experiments.setup import Setup

NAMES = ("tanh", "softplus", "relu")


def _each(words: str, method: str, names: tuple[str, ...] = NAMES) -> dict[str, Setup]:
    return {f"{words} {name}": Setup(method, name) for name in names}


FAN_IN = _each("fan-in", "fan_in")

OTHERS = (
    Row(
        "28.5.1", "Gaussian fan-in", "28.5.1", "DKS significantly outperforms fan-in initialization (relu: He's)",
        {**DKS, **FAN_IN},
        tuple(Ordering(f"DKS {name}", ">>", f"fan-in {name}") for name in NAMES),
    ),
    Row(
        "28.5.2", "Glorot uniform", "28.5.2",
        "DKS significantly outperforms Glorot, which fails completely for relu and softplus",
        {**DKS, **_each("Glorot", "glorot")},
        tuple(Ordering(f"DKS {name}", ">>", f"Glorot {name}") for name in NAMES),
    ),
    Row(
        "28.5.3", "LSUV and WLI", "28.5.3", "both outperform fan-in and Glorot, and are outperformed by DKS",
        {**DKS, **_each("LSUV", "lsuv"), **_each("WLI", "wli"), **FAN_IN},
        (
            *(Ordering(f"DKS {name}", ">=", f"LSUV {name}") for name in NAMES),
            *(Ordering(f"DKS {name}", ">=", f"WLI {name}") for name in NAMES),
            *(Ordering(f"LSUV {name}", ">=", f"fan-in {name}") for name in NAMES),
            *(Ordering(f"WLI {name}", ">=", f"fan-in {name}") for name in NAMES),
        ),
    ),
    Row(
        "28.5.4", "self-normalizing networks", "28.5.4",
        "DKS softplus matches or exceeds a self-normalizing network; DKS on selu slightly degrades it for SGD",
        {"DKS softplus": DKS["DKS softplus"], "DKS selu": Setup("dks", "selu"), "fan-in selu": Setup("fan_in", "selu")},
        (Ordering("DKS softplus", ">=", "fan-in selu"), Ordering("DKS selu", "~", "fan-in selu")),
    ),
    Row(
        "28.5.5", "Looks Linear", "28.5.5", "for SGD similar to DKS, and better than fan-in",
        {**DKS, "Looks Linear relu": Setup("looks_linear", "relu", clip=1.0), "fan-in relu": FAN_IN["fan-in relu"]},
        (
            Ordering("DKS relu", ">=", "Looks Linear relu"),
            Ordering("DKS tanh", ">=", "Looks Linear relu"),
            Ordering("Looks Linear relu", ">", "fan-in relu"),
        ),
    ),
    Row(
        "28.5.6", "edge of chaos", "28.5.6",
        "DKS significantly outperforms the edge of chaos, which outperforms fan-in",
        {
            **{label: DKS[label] for label in ("DKS tanh", "DKS relu")},
            **_each("edge of chaos", "edge_of_chaos", ("tanh", "relu")),
            **{label: FAN_IN[label] for label in ("fan-in tanh", "fan-in relu")},
        },
        (
            *(Ordering(f"DKS {name}", ">=", f"edge of chaos {name}") for name in ("tanh", "relu")),
            *(Ordering(f"edge of chaos {name}", ">=", f"fan-in {name}") for name in ("tanh", "relu")),
        ),
    ),
    Row(
        "28.5.7", "Fixup", "28.5.7",
        "Fixup performs like DKS with skips for relu, and falls behind for tanh and softplus",
        {**SKIPS, **{label: replace(s, skips=True) for label, s in _each("Fixup", "fixup").items()}},
        tuple(Ordering(f"DKS {name}, skips", ">=", f"Fixup {name}") for name in NAMES),
    ),
)  # fmt: skip
