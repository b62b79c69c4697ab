"""The exact Fisher matrix of a small model, from Jacobians; and models where K-FAC's blocks are equal to it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def seeded(*layers: nn.Module) -> nn.Sequential:
    """Layers in float64 with normal parameters."""
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=seed + 100) / 2)
    return model


def fisher_block(model: nn.Module, names: tuple[str, ...], inputs: Tensor, loss: str) -> Tensor:
    """1/n sum_n J_n^T H_n J_n for the matrix [out, in (+1)] of a layer's weights and biases, flattened by rows."""
    parameters = dict(model.named_parameters())
    own = {name: parameters[name] for name in names}
    jacobians = jacrev(lambda given: functional_call(model, {**parameters, **given}, (inputs,)))(own)
    outputs = model(inputs).detach()
    if loss == "cross_entropy":
        p = outputs.softmax(1).movedim(1, -1).flatten(0, -2)
        hessians = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        rows = {name: jacobian.movedim(1, outputs.ndim - 1) for name, jacobian in jacobians.items()}
        rows = {name: jacobian.flatten(0, outputs.ndim - 2) for name, jacobian in rows.items()}
    else:
        hessians = torch.eye(outputs[0].numel(), dtype=torch.float64).expand(len(outputs), -1, -1)
        rows = {name: jacobian.flatten(1, outputs.ndim - 1) for name, jacobian in jacobians.items()}
    weight, *biases = (rows[name] for name in names)
    joined = torch.cat([weight.flatten(3), *(bias[..., None] for bias in biases)], dim=-1).flatten(2)
    return torch.einsum("nki,nkl,nlj->ij", joined, hessians, joined) / len(joined)


@dataclass(frozen=True)
class Case:
    """A model, a batch and a loss for which K-FAC is exact, and why."""

    model: nn.Module
    inputs: Tensor
    loss: str
    why: str


def cases() -> dict[str, Case]:
    tanh = seeded(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 3))
    convolutions = seeded(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4, 2))
    chain = (nn.Linear(4, 5, bias=False), nn.Linear(5, 3), nn.Linear(3, 2))
    one_place = "one example has one input and one Jacobian, and the layers see one location"
    return {
        "dense squared": Case(seeded(nn.Linear(4, 3)), normal(7, 4), "squared_error", "the Hessian is I"),
        "dense cross-entropy": Case(seeded(nn.Linear(4, 3)), normal(1, 4), "cross_entropy", one_place),
        "linear chain": Case(seeded(*chain), normal(6, 4), "squared_error", "the Jacobians of layers are constants"),
        "tanh, one example": Case(tanh, normal(1, 4), "cross_entropy", one_place),
        "convolution, one place": Case(convolutions, normal(1, 2, 3, 3), "cross_entropy", one_place),
        "convolution squared": Case(
            seeded(nn.Conv2d(2, 3, (2, 3), bias=False)), normal(5, 2, 2, 3), "squared_error", "one location"
        ),
        "places with own labels": Case(
            seeded(nn.Conv2d(2, 3, 2, stride=2, padding=1, dilation=2)), normal(4, 2, 5, 5), "squared_error",
            "the output at each location depends on one patch, and the Hessian is I",
        ),
        "reflected borders": Case(
            seeded(nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")), normal(3, 2, 4, 4), "squared_error",
            "the same, with patches beyond the border",
        ),
        "tokens": Case(seeded(nn.Linear(3, 2)), normal(4, 5, 3), "squared_error", "one token, one output"),
        "tokens joined": Case(
            seeded(nn.Flatten(0, 1), nn.Linear(3, 2), nn.Unflatten(0, (4, 5))), normal(4, 5, 3), "squared_error",
            "the same, with tokens and examples on one axis",
        ),
    }  # fmt: skip


def blocks(optimizer: torch.optim.Optimizer) -> dict[str, dict]:
    """The state of K-FAC by the path of a block's first parameter: kind, names, averages and damping."""
    found = {}
    for group in optimizer.state_dict()["kfac"]["groups"]:
        keys = ("inputs", "outputs") if group["kind"] == "Kronecker" else ("diagonal",)
        for k, names in enumerate(group["members"]):
            row = {key: average[k] for key, average in zip(keys, group["averages"], strict=True)}
            damping = group["damping"]
            row["damping"] = tuple(float(d[k]) for d in damping) if isinstance(damping, tuple) else damping
            found[names[0]] = {"kind": group["kind"], "names": names, "weight": group["weight"], **row}
    return found
