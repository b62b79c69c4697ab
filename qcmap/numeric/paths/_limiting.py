"""The tangent kernel of infinitely wide ReLU networks (NPF, appendix A)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qcmap.errors import DataError
from qcmap.numeric.maps._arguments import integer
from qcmap.numeric.paths._checks import finite
from qcmap.numeric.paths._spectra import symmetric

Array = NDArray[np.float64]


def limiting_kernel(gram: ArrayLike, depth: int) -> Array:
    """K^(d), the limit of the tangent kernel of ReLU networks at random weights, [n, n] (NPF, appendix A (2)).

    With t the angle of a pair under Sigma^(l) and q, q' its diagonal entries, which stay as they are,

        2 E relu relu' = sqrt(q q') (sin t + (pi - t) cos t) / pi,    2 E relu' relu'' = (pi - t) / pi

    for the products of two activations and of their two derivatives. K^(d) = (K-tilde^(d) + Sigma^(d)) / 2 has half of
    the kernels of all layers but the last, whose weights have half the variance.

    Parameters
    ----------
    gram
        Sigma, the inner products of the inputs, [n, n].
    depth
        d, the number of layers of weights.

    Raises
    ------
    DataError
        For a matrix that is no Gram matrix: not symmetric, or with an entry above what its diagonal allows.
    ArgumentError
        For a depth below 1.
    NumericalError
        If floats do not hold the kernel.
    """
    sigma = symmetric("gram", gram)
    depth = integer(depth, least=1, name="depth")
    norms = np.sqrt(np.maximum(sigma.diagonal(), 0))
    product = np.outer(norms, norms)
    if (sigma.diagonal() < 0).any() or (np.abs(sigma) > product * (1 + 1e-9)).any():
        raise DataError("gram", "an entry is larger than its diagonal allows", "give x @ x.T")
    cosine = np.divide(sigma, product, out=np.zeros_like(sigma), where=product > 0)
    np.fill_diagonal(cosine, 1.0)
    tilde = covariance = cosine
    for _ in range(depth - 1):
        angle = np.arccos(np.clip(covariance, -1, 1))
        slope = 1 - angle / np.pi
        covariance = (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi
        tilde = tilde * slope + covariance
    with np.errstate(over="ignore"):  # what leaves is checked
        kernel = product * ((tilde + covariance) / 2)
    finite("limiting_kernel", "divide the inputs by a constant", kernel)
    return kernel
