"""Networks whose reports are tested, each report made once."""

from functools import lru_cache

import qcmap as qc
from qcmap.architecture import Builder

HOSTILE = "</script><script>alert(1)</script>"


def residual(blocks=3):
    """A residual network with a block that is repeated."""
    b = Builder("residual")
    h = b.affine(b.input("image", channels=8), 16, name="stem")
    for k in range(blocks):
        r = b.activation(h, "softplus", name=f"block{k}.first")
        r = b.activation(b.affine(r, 16, name=f"block{k}.inner"), "softplus", name=f"block{k}.second")
        h = b.sum([b.affine(r, 16, name=f"block{k}.outer"), h], [0.6, 0.8], name=f"block{k}.sum")
    return b.build([b.affine(b.activation(h, "tanh", name="last"), 4, name="head")])


def broken():
    """Sums that are not normalised, pooling, and names that a page must not take for tags."""
    b = Builder("broken & <b>bold</b>")
    h = b.affine(b.input("x", channels=8, locations=(8, 8)), 8, name=HOSTILE)
    for k in range(3):
        h = b.sum([b.affine(b.activation(h, "tanh"), 8), h], [1.0, 1.0], name=f"sum\"'{k}")
    return b.build([b.activation(b.max_pool(h, kernel=(2, 2), stride=2, name="pool"), "relu", name="end")])


@lru_cache(maxsize=1)
def report_of_residual():
    return qc.report(residual(), zeta=1.4, title="A residual network")


@lru_cache(maxsize=1)
def report_of_broken():
    return qc.report(broken())


def large():
    """1,002 nodes, few of them activations, in blocks that are no two alike."""
    b = Builder("large")
    h = b.affine(b.input(channels=8), 8)
    for k in range(100):
        r = b.activation(h, "relu", name=f"block{k}.activation")
        for j in range(8):
            r = b.affine(r, 8 + k, name=f"block{k}.layer{j}")
        h = b.sum([b.affine(r, 8), h], [0.6, 0.8], name=f"block{k}.sum") if k % 2 else b.affine(r, 8)
    return b.build([h])


@lru_cache(maxsize=1)
def report_of_large():
    return qc.report(large())
