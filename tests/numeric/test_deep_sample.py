"""The first 100 of 1,000 shaped layers against random networks of width 4,096.

A random weight matrix meets few vectors X (width, p), so it need not be formed: W X is a uniformly distributed frame
times the root of X^T X for orthogonal W, and a Gaussian matrix times it for Gaussian W. Both are exact in distribution.
"""

import numpy as np
import pytest

import qcmap as qc
from qcmap.numeric import network_maps

WIDTH, LAYERS, NETWORKS = 4096, 100, 40
GRAM = np.array([[1, 0.8, 0, -0.6], [0.8, 1, 0.3, -0.2], [0, 0.3, 1, 0.1], [-0.6, -0.2, 0.1, 1]])
PAIRS = np.triu_indices(4, 1)


def frames(random, gram, *, orthogonal):
    """W X for random W, given X^T X."""
    z = random.standard_normal((WIDTH, len(gram)))
    if orthogonal:
        q, r = np.linalg.qr(z)
        return q * np.sign(np.diag(r)) @ np.linalg.cholesky(gram).T
    return z @ np.linalg.cholesky(gram / WIDTH).T


def sampled(transform, *, orthogonal):
    """q values (networks, 4) and c values (networks, 6) after `LAYERS` layers."""
    random, rows = np.random.default_rng(4096), []
    for _ in range(NETWORKS):
        gram = GRAM * WIDTH
        for _ in range(LAYERS):
            x = transform(frames(random, gram, orthogonal=orthogonal))
            gram = x.T @ x
        q = np.diag(gram) / WIDTH
        rows.append((q, (gram / WIDTH / np.sqrt(np.outer(q, q)))[PAIRS]))
    return (np.array(part) for part in zip(*rows, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("orthogonal", [True, False])
def test_first_hundred_layers(orthogonal):
    """Means over 40 networks within 4.5 standard errors: under normality a false alarm in 15,000 runs, two tests of 10.

    The standard errors are reported by the failure message; for orthogonal weights they are below 9e-4 in c.
    """
    arch = qc.zoo.mlp(1000, activation="tanh")
    shaping = qc.dks(arch, 1.5)
    maps = network_maps(arch, shaping).at("layer100.activation")
    want = maps.c(GRAM[PAIRS])
    q, c = sampled(shaping["tanh"], orthogonal=orthogonal)
    errors = c.std(axis=0, ddof=1) / NETWORKS**0.5
    if orthogonal:
        assert errors.max() < 9e-4
    assert (np.abs(c.mean(axis=0) - want) <= 4.5 * errors).all(), (c.mean(axis=0) - want, errors)
    errors = q.std(axis=0, ddof=1) / NETWORKS**0.5
    assert (np.abs(q.mean(axis=0) - 1) <= 4.5 * errors).all(), (q.mean(axis=0) - 1, errors)
    # What 100 layers do is far outside the errors.
    if orthogonal:
        assert np.abs(want - GRAM[PAIRS]).max() > 5 * errors.max()
