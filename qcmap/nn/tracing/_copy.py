"""The copy of a model that runs on tensors without data, and which models have none."""

from __future__ import annotations

import copy

import torch
from torch import nn

from qcmap.errors import TraceError


def copied(model: nn.Module) -> nn.Module:
    """A copy of the model in eval mode, without hooks.

    Raises
    ------
    TraceError
        For what is no module, or cannot be copied; naming the module that is compiled, recurrent, or has no parameters
        yet.
    """
    if not isinstance(model, nn.Module):
        raise TraceError("model", f"it is no torch module, but {type(model).__name__}", "give an nn.Module")
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
    try:
        root = copy.deepcopy(model).eval()
    except Exception as error:
        raise TraceError("model", f"it cannot be copied ({error})", "make copy.deepcopy(model) work") from error
    for module in root.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
        # Models of transformers collect hidden states by hooks of their own, which they install where this says no.
        module.__dict__.pop("_output_capturing_hooks_installed", None)
    return root
