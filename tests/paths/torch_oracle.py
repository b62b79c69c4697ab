"""The gated network in plain torch, by its own convolutions and poolings, with autograd."""

import numpy as np
import torch
from torch.nn import functional

import qcmap.architecture as q

PADDING = {"circular": "wrap", "reflect": "reflect", "replicate": "edge"}
"""Borders as numpy calls them."""


def convolve(op, weight, z):
    """[n, channels, *extent] through an affine op, padded by hand."""
    if not op.kernel:
        return torch.einsum("oi,ni...->no...", weight, z)
    reach = [op.dilation * (k - 1) for k in op.kernel]
    before = [op.dilation * ((k - 1) // 2) for k in op.kernel]
    if isinstance(op.padding, str):
        pads = [p for b, r in zip(reversed(before), reversed(reach), strict=True) for p in (b, r - b)]
    else:
        pads = [op.padding] * (2 * len(op.kernel))
    mode = PADDING.get(op.border)
    if mode:
        for axis, around in enumerate(reversed(list(zip(pads[::2], pads[1::2], strict=True))), start=2):
            read = np.pad(np.arange(z.shape[axis]), around, mode)
            z = z.index_select(axis, torch.tensor(read))
    else:
        z = functional.pad(z, pads)
    function = {1: functional.conv1d, 2: functional.conv2d}[len(op.kernel)]
    return function(z, weight, stride=op.stride, dilation=op.dilation, groups=op.groups)


def max_by_choice(op, chosen, z):
    """Take the chosen position of each window."""
    if not op.kernel:
        return z.flatten(2).gather(2, chosen.flatten(2))
    for axis, size in enumerate(op.kernel, start=2):
        z = z.unfold(axis, size, op.stride or size)
    windows = z.flatten(2 + len(op.kernel))
    return windows.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)


def forward(arch, weights, gates, x):
    """Outputs [n, units]."""
    values = {}
    for node in arch.nodes:
        op, z = node.op, [values[name] for name in node.inputs]
        match op:
            case q.Input():
                value = x
            case q.Affine():
                value = convolve(op, weights[op.parameters or node.id], z[0])
            case q.Nonlinear():
                value = z[0] * gates[node.id]
            case q.Gate():
                value = z[0] * gates[op.name].reshape(-1, *[1] * (z[0].ndim - 1))
            case q.Sum():
                value = sum(w * part for w, part in zip(op.weights, z, strict=True))
            case q.Scale():
                value = op.factor * z[0]
            case q.Concat():
                value = torch.cat(z, dim=1)
            case q.MeanPool() if not op.kernel:
                value = z[0].flatten(2).mean(dim=2)
            case q.MeanPool():
                function = {1: functional.avg_pool1d, 2: functional.avg_pool2d}[len(op.kernel)]
                value = function(z[0], op.kernel, op.stride, op.padding)
            case q.MaxPool():
                value = max_by_choice(op, gates[node.id], z[0])
            case q.Output():
                value = z[0]
        values[node.id] = value
    return torch.cat([values[name].flatten(1) for name in arch.outputs], dim=1)


def autograd(arch, weights, gates, x):
    """Outputs [n, units] and the tangent kernel [n, n], summed over output units."""
    leaves = {name: torch.tensor(w, dtype=torch.float64, requires_grad=True) for name, w in weights.items()}
    choices = {node.id for node in arch.nodes if isinstance(node.op, q.MaxPool)}
    given = {name: torch.tensor(np.asarray(a)) for name, a in gates.items()}
    given = {name: a.long() if name in choices else a.double() for name, a in given.items()}
    outputs = forward(arch, leaves, given, torch.tensor(x, dtype=torch.float64))
    kernel = torch.zeros(len(x), len(x), dtype=torch.float64)
    for column in outputs.T:
        rows = []
        for entry in column:
            found = torch.autograd.grad(entry, list(leaves.values()), retain_graph=True, allow_unused=True)
            rows.append(torch.cat([torch.zeros_like(leaf).flatten() if g is None else g.flatten()
                                   for g, leaf in zip(found, leaves.values(), strict=True)]))  # fmt: skip
        gradient = torch.stack(rows)
        kernel += gradient @ gradient.T
    return outputs.detach().numpy(), kernel.numpy()
