"""The copy of a model that runs on tensors without data, and which models have none."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn

from qcmap.errors import TraceError


def refuse_names(model: nn.Module, kind: type[fx.GraphModule]) -> None:
    """Raise `TraceError` for a part of the model that has the name of an attribute of this kind of module."""
    for name in (*model._modules, *model._parameters, *model._buffers):
        if hasattr(kind, name) or name == "meta":
            raise TraceError(name, f"a {kind.__name__} has an attribute of this name", "give the part another name")


def copied(model: nn.Module) -> nn.Module:
    """A copy of the model in eval mode, without hooks.

    Raises
    ------
    TraceError
        For what is no module, or cannot be copied; naming the module that is compiled, recurrent, or has no parameters
        yet, or the tensor with a history.
    """
    if not isinstance(model, nn.Module):
        raise TraceError("model", f"it is no torch module, but {type(model).__name__}", "give an nn.Module")
    refuse_names(model, fx.GraphModule)
    for path, module in model.named_modules():
        name = path or "model"
        if isinstance(module, torch.jit.ScriptModule):
            raise TraceError(name, "it is compiled TorchScript, which has no forward to run", "give the module itself")
        if isinstance(getattr(module, "_orig_mod", None), nn.Module):
            raise TraceError(name, "it is compiled (torch.compile)", "trace or shape the plain model, then compile it")
        if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
            raise TraceError(
                name,
                f"{type(module).__name__} is recurrent: its steps share parameters (DKS, section 4.1)"
                " [independent-parameters]",
                "trace the parts of the model around it",
            )
        if any(map(nn.parameter.is_lazy, module.parameters(recurse=False))):
            raise TraceError(name, "its parameters have no sizes yet", "run the model once on an example first")
        for key, value in vars(module).items():
            if isinstance(value, Tensor) and not value.is_leaf:
                raise TraceError(
                    f"{path}.{key}".lstrip("."), "it is computed from parameters, by a hook (weight norm, pruning) or"
                    " in an earlier call, so it cannot be copied",
                    "take the hook off with torch.nn.utils.remove_weight_norm or prune.remove, or detach the tensor",
                )  # fmt: skip
    try:
        root = copy.deepcopy(model).eval()
    except Exception as error:
        raise TraceError("model", f"it cannot be copied ({error})", "make copy.deepcopy(model) work") from error
    for module in root.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
        # Models of transformers collect hidden states by hooks of their own, which they install where this says no.
        module.__dict__.pop("_output_capturing_hooks_installed", None)
    return root
