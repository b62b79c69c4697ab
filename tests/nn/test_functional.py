"""Torch counterparts against the catalogue's float64 functions."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from qcmap.activations import CATALOGUE, TorchFunction, activation
from qcmap.errors import ActivationError
from qcmap.nn import bentid, torch_function

PARAMETERS = [(name, {}) for name in CATALOGUE] + [
    ("leaky_relu", {"negative_slope": 0.3}),
    ("elu", {"alpha": 0.7}),
    ("celu", {"alpha": 1.6}),
]


def _points(kinks: tuple[float, ...]) -> np.ndarray:
    """Points in [-60, 60], dense near zero and none within 1e-3 of a kink."""
    u = np.concatenate([np.linspace(-6, 6, 1203), np.linspace(-60, 60, 401), np.geomspace(1e-3, 1e-1, 20)])
    return u[(np.abs(u[:, None] - np.array([*kinks, np.inf])) > 1e-3).all(1)]


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS, ids=lambda v: v if isinstance(v, str) else str(v))
def test_torch_counterpart_has_the_catalogues_value_and_derivative(name: str, parameters: dict[str, Any]) -> None:
    row = activation(name, **parameters)
    points = _points(tuple(kink.at for kink in row.kinks))
    u = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    value = torch_function(row)(u)
    (slope,) = torch.autograd.grad(value.sum(), u)
    assert value.dtype == torch.float64
    assert value.shape == u.shape
    # Rounding of a well-conditioned formula; the absolute part covers tails such as gelu's, where 1 + erf cancels.
    np.testing.assert_allclose(value.detach().numpy(), row.value(points), rtol=1e-13, atol=1e-14)
    # torch's celu rounds alpha to float32 in its backward pass.
    relative = 3e-7 if name == "celu" and parameters else 1e-12
    np.testing.assert_allclose(slope.numpy(), row.first(points), rtol=relative, atol=1e-13)


def test_bentid_does_not_cancel_at_small_arguments() -> None:
    u = torch.tensor([1e-9, -1e-9], dtype=torch.float64)
    torch.testing.assert_close(bentid(u) - u, torch.full_like(u, 0.25e-18), rtol=1e-5, atol=0)


def test_an_activation_without_counterpart_is_refused() -> None:
    with pytest.raises(ActivationError, match=r"no torch counterpart.*TorchFunction"):
        torch_function(activation(lambda u: np.tanh(u)))


@pytest.mark.parametrize("path", ["torch.nn.functional.no_such", "no_such_package.f", "bare"])
def test_a_counterpart_that_cannot_be_imported_is_refused(path: str) -> None:
    broken = dataclasses.replace(activation("tanh"), torch=TorchFunction(path))
    with pytest.raises(ActivationError, match=f"tanh: .*{path}.* cannot be imported"):
        torch_function(broken)


def test_importing_without_torch_names_the_extra() -> None:
    program = "import sys; sys.modules['torch'] = None\nimport qcmap.nn"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "MissingExtra" in done.stderr
    assert "pip install 'qcmap[torch]'" in done.stderr
