"""Blocks of the approximate curvature, held together for all layers of one shape: Kronecker-factored, or diagonal.

What is measured is averaged with weights decay^age that sum to 1, the first measurement counting like any other. A
group multiplies gradients by its damped inverse, and velocities by itself for the norm of an update. Its tensors have
the members as their first axis, so that a deep network takes a few large products and not many small ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qcmap.errors import NumericalError

Names = tuple[str, ...]
"""The paths of the parameters of one member of a group: of a layer's weights and biases, or of one parameter."""


class Group(ABC):
    """Blocks of the curvature for parameters of equal shapes.

    Parameters
    ----------
    members
        For each member the paths of its parameters.
    parameters
        Those parameters.
    decay
        Of the averages.

    Attributes
    ----------
    averages
        sum_k decay^(n-k) x_k / sum_k decay^(n-k) over the measurements, for each kind of tensor that is measured.
    weight
        sum_k decay^(n-k).
    velocity
        What the parameters moved along in the last step, before the learning rate; None before the first.
    """

    kind: str

    def __init__(self, members: Sequence[Names], parameters: Sequence[Sequence[nn.Parameter]], decay: float) -> None:
        self.members, self.parameters = tuple(members), tuple(map(tuple, parameters))
        self.decay, self.weight = decay, 0.0
        self.averages: tuple[Tensor, ...] = ()
        self.velocity: Tensor | None = None

    def add(self, measured: Sequence[Tensor]) -> None:
        """Count one more measurement, tensors [members, ...]."""
        self.weight = self.decay * self.weight + 1
        before = self.averages or measured
        self.averages = tuple(torch.lerp(old, new, 1 / self.weight) for old, new in zip(before, measured, strict=True))

    @abstractmethod
    def refresh(self, damping: float) -> None:
        """Compute the inverse with this damping; raises `NumericalError`."""

    @abstractmethod
    def joined(self, tensors: Sequence[Sequence[Tensor]]) -> Tensor:
        """Tensors of the shapes of the parameters as one [members, ...], in the precision of the averages."""

    @abstractmethod
    def split(self, joined: Tensor) -> list[tuple[Tensor, ...]]:
        """The way back from `joined`."""

    @abstractmethod
    def solved(self, gradient: Tensor) -> Tensor:
        """The damped inverse, as of the last `refresh`, times a joined gradient."""

    @abstractmethod
    def squared_norm(self, joined: Tensor) -> Tensor:
        """v^T F v with the averages and the damping of the last `refresh`, summed over the members."""

    @abstractmethod
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those that the averages have, or will have."""

    @abstractmethod
    def derived(self) -> dict[str, Any]:
        """What the last `refresh` computed."""

    @abstractmethod
    def restore(self, derived: Mapping[str, Any]) -> None:
        """Take over what `derived` gave."""

    def advanced(self, momentum: float) -> Tensor:
        """The velocity of the coming step: momentum v + F^-1 gradient."""
        gradients = [[torch.zeros_like(p) if p.grad is None else p.grad for p in own] for own in self.parameters]
        solved = self.solved(self.joined(gradients))
        return solved if self.velocity is None else torch.add(solved, self.velocity, alpha=momentum)

    def move(self, velocity: Tensor, length: float) -> None:
        """Subtract ``length`` times the velocity from the parameters."""
        self.velocity = velocity
        for own, parts in zip(self.parameters, self.split(velocity), strict=True):
            for parameter, part in zip(own, parts, strict=True):
                parameter.sub_(part, alpha=length)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the parameters."""
        return {
            "kind": self.kind, "members": self.members, "averages": self.averages, "weight": self.weight,
            "velocity": self.velocity, **self.derived(),
        }  # fmt: skip

    def fits(self, state: Mapping[str, Any]) -> bool:
        """Whether the averages of a state have the shapes that the parameters ask for."""
        return tuple(tuple(average.shape) for average in state["averages"]) == self.shapes()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` of an equal group gave."""
        place = self.parameters[0][0].device
        copied = {name: _copied(value, place) for name, value in state.items()}
        self.averages, self.weight, self.velocity = (copied[name] for name in ("averages", "weight", "velocity"))
        self.restore(copied)


class KroneckerGroup(Group):
    """The blocks A (x) G of layers, whose weights and biases are held together as matrices [out, in (+1 for biases)].

    A [in, in] is the second moment of a layer's inputs, with a 1 appended for biases, and G [out, out] that of the
    derivatives with respect to its outputs. With damping lambda, A becomes A + pi sqrt(lambda) I and G becomes
    G + sqrt(lambda)/pi I with pi^2 = (tr A/in) / (tr G/out) (Martens and Grosse, 2015, section 6.3).
    """

    kind = "Kronecker"
    damping: tuple[Tensor, ...] = ()
    inverses: tuple[Tensor, ...] = ()

    def refresh(self, damping: float) -> None:
        """Invert the damped factors.

        Raises
        ------
        NumericalError
            If one of them is singular to working precision, which takes a very small damping.
        """
        inner, outer = (factors.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] for factors in self.averages)
        pi = torch.where((inner > 0) & (outer > 0), (inner / outer).sqrt(), 1)
        self.damping = damping**0.5 * pi, damping**0.5 / pi
        self.inverses = tuple(_inverse(self.members, *pair) for pair in zip(self.averages, self.damping, strict=True))

    def joined(self, tensors: Sequence[Sequence[Tensor]]) -> Tensor:
        """Matrices [members, out, in (+1)]."""
        weights, *biases = (torch.stack(row) for row in zip(*tensors, strict=True))
        return torch.cat([weights.flatten(2), *(column[..., None] for column in biases)], 2).to(self.averages[0].dtype)

    def split(self, joined: Tensor) -> list[tuple[Tensor, ...]]:
        """Weights and biases of each member."""
        shapes = [parameter.shape for parameter in self.parameters[0]]
        columns = joined.split([joined.shape[2] - len(shapes) + 1, *(1 for _ in shapes[1:])], dim=2)
        parts = (part.reshape(-1, *shape).unbind() for part, shape in zip(columns, shapes, strict=True))
        return list(zip(*parts, strict=True))

    def solved(self, gradient: Tensor) -> Tensor:
        """(G + ..)^-1 M (A + ..)^-1."""
        return self.inverses[1] @ gradient @ self.inverses[0]

    def squared_norm(self, joined: Tensor) -> Tensor:
        """<M, (G + ..) M (A + ..)>."""
        inner, outer = self.averages
        left = torch.addcmul(outer @ joined, self.damping[1], joined)
        return (torch.addcmul(left @ inner, self.damping[0], left) * joined).sum()

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those of A and G."""
        weight, *biases = self.parameters[0]
        count, inner, outer = len(self.members), weight[0].numel() + len(biases), len(weight)
        return (count, inner, inner), (count, outer, outer)

    def derived(self) -> dict[str, Any]:
        """Damping of both factors, and the inverses."""
        return {"damping": self.damping, "inverses": self.inverses}

    def restore(self, derived: Mapping[str, Any]) -> None:
        """Take over damping and inverses."""
        self.damping, self.inverses = derived["damping"], derived["inverses"]


class DiagonalGroup(Group):
    """The diagonal of the Fisher matrix for parameters without Kronecker factors; damping is added to it."""

    kind = "diagonal"
    damping = 0.0

    def refresh(self, damping: float) -> None:
        """Take over the damping."""
        self.damping = damping

    def joined(self, tensors: Sequence[Sequence[Tensor]]) -> Tensor:
        """The parameters one after another."""
        return torch.stack([tensor for (tensor,) in tensors]).to(self.averages[0].dtype)

    def split(self, joined: Tensor) -> list[tuple[Tensor, ...]]:
        """One tensor for each member."""
        return [(part,) for part in joined.unbind()]

    def solved(self, gradient: Tensor) -> Tensor:
        """The quotient; 0 where the gradient is, as for entries that the function does not depend on."""
        return torch.where(gradient == 0, 0, gradient / (self.averages[0] + self.damping))

    def squared_norm(self, joined: Tensor) -> Tensor:
        """sum (d + lambda) v^2."""
        return ((self.averages[0] + self.damping) * joined.square()).sum()

    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """That of all parameters together."""
        return ((len(self.members), *self.parameters[0][0].shape),)

    def derived(self) -> dict[str, Any]:
        """The damping."""
        return {"damping": self.damping}

    def restore(self, derived: Mapping[str, Any]) -> None:
        """Take over the damping."""
        self.damping = derived["damping"]


GROUPS: Mapping[str, type[Group]] = {group.kind: group for group in (KroneckerGroup, DiagonalGroup)}
"""The classes of groups, by kind."""


def _copied(value: Any, place: torch.device) -> Any:
    """Tensors, alone or in tuples, copied to a device; everything else as it is."""
    if isinstance(value, Tensor):
        return value.to(place, copy=True)
    return tuple(_copied(item, place) for item in value) if isinstance(value, (tuple, list)) else value


def _inverse(members: Sequence[Names], factors: Tensor, damping: Tensor) -> Tensor:
    """The inverses of factors plus damping * I by Cholesky, in float64 if float32 does not do."""
    eye = torch.eye(factors.shape[-1], dtype=factors.dtype, device=factors.device)
    damped = torch.addcmul(factors, damping, eye)
    triangles, failed = torch.linalg.cholesky_ex(damped)
    if bool(failed.any()):
        triangles, failed = torch.linalg.cholesky_ex(damped.double())
    if bool(failed.any()):
        first = int(failed.nonzero()[0])
        raise NumericalError(
            members[first][0],
            f"its Kronecker factor with damping {float(damping[first]):.3g} is singular to working precision",
            "use a larger damping (or `least_damping`), or a larger batch",
        )
    return torch.cholesky_inverse(triangles).to(factors.dtype)
