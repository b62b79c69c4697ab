"""Appendix M: residual weights, optimisers, and the global slope bound."""

from __future__ import annotations

import math
from dataclasses import replace

from examples.dks_experiments.ordering import Ordering
from examples.dks_experiments.row import Row
from examples.dks_experiments.rows_main import DKS, SKIPS
from examples.dks_experiments.setup import Setup

SHARES = (0.005, 0.2, 0.5)
ZETAS = (1.00001, 1.1, 5, 100, 10000)
TANH, TANH_SKIPS = DKS["DKS tanh"], SKIPS["DKS tanh, skips"]


def _optimizers(setup: Setup, names: tuple[str, ...]) -> dict[str, Setup]:
    words = {"sgd": "SGD", "adam": "Adam", "kfac": "K-FAC", "shampoo": "Shampoo"}
    return {words[name]: replace(setup, optimizer=name) for name in names}


PARAMETERS = (
    Row(
        "M.1", "residual weights, SGD", "M.1", "sqrt 0.05 works best with SGD",
        {
            "sqrt 0.05": TANH_SKIPS,
            **{
                f"sqrt {share:g}": replace(TANH_SKIPS, options={"residual_weight": math.sqrt(share)})
                for share in SHARES
            },
            "1/sqrt(q + 1)": replace(TANH_SKIPS, options={"residual_weight": "q"}),
        },
        tuple(
            Ordering("sqrt 0.05", ">=", other) for other in (*(f"sqrt {share:g}" for share in SHARES), "1/sqrt(q + 1)")
        ),
    ),
    *(
        Row(
            name, f"optimisers, without skips{words}", "M.2", "without skips K-FAC > Shampoo >> Adam > SGD",
            _optimizers(replace(TANH, task=task), ("sgd", "adam", "kfac", "shampoo")),
            (
                Ordering("K-FAC", ">", "SGD"),
                Ordering("Shampoo", ">", "SGD"),
                Ordering("K-FAC", ">=", "Shampoo"),
                Ordering("Shampoo", ">", "Adam"),
                Ordering("Adam", ">=", "SGD"),
                Ordering("K-FAC", ">=", "SGD", "train"),
            ),
        )
        for name, words, task in (("M.2", "", "classes"), ("M.2-parity", ", parity", "parity"))
    ),
    Row(
        "M.2-conv", "optimisers, convolutional, without skips", "M.2", "without skips K-FAC > Shampoo >> Adam > SGD",
        _optimizers(replace(TANH, layers="convolutional"), ("sgd", "adam", "kfac")),
        (Ordering("K-FAC", ">", "SGD"), Ordering("K-FAC", ">", "Adam"), Ordering("Adam", ">=", "SGD")),
    ),
    Row(
        "M.2-skips", "optimisers, with skips", "M.2", "with skips K-FAC and SGD are alike",
        _optimizers(TANH_SKIPS, ("sgd", "kfac")),
        (Ordering("K-FAC", "~", "SGD"),),
    ),
    *(
        Row(
            name, f"zeta, SGD{words}", "M.3, M.4",
            "1.5 fastest, near 1 very slow, 10000 respectable; a zeta of 1.1 generalises a little better",
            {
                "zeta 1.5": replace(TANH, task=task),
                **{f"zeta {zeta:g}": replace(TANH, options={"zeta": zeta}, task=task) for zeta in ZETAS},
            },
            (
                Ordering("zeta 1.5", ">", "zeta 1.00001"),
                *(Ordering("zeta 1.5", ">=", f"zeta {zeta:g}") for zeta in ZETAS if zeta > 1.1),
                Ordering("zeta 1.1", ">=", "zeta 1.5", "test"),
            ),
        )
        for name, words, task in (("M.3", "", "classes"), ("M.3-parity", ", parity", "parity"))
    ),
)  # fmt: skip
"""Classes of digits are nearly linear: logistic regression has 97% of the test examples, of parity 90%. What tells
nonlinear networks and good optimisers from others shows with parity, so these rows are there twice."""
