"""Running a model once and handing over the feature map of each of its graph's nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from qcmap.architecture import Affine, Architecture
from qcmap.errors import ArgumentError, DataError
from qcmap.nn._modes import device_of, modes_restored
from qcmap.nn._network import GraphNetwork
from qcmap.nn.tracing import Traced

Take = Callable[[str, Tensor], None]
"""Called with a node's id and its feature map, [samples, channels, *locations]."""


def inputs_of(arch: Architecture, x: object) -> dict[str, Tensor]:
    """The samples of each input node: floating tensors [samples, channels, *locations] with equally many samples.

    ``x`` is a tensor if there is one input, else one tensor an input node in their order, or by node id.

    Raises
    ------
    DataError
        For anything else.
    """
    names = arch.inputs
    if isinstance(x, Mapping):
        if set(x) != set(names):
            raise DataError("x", f"it has samples for {sorted(x)}, the inputs are {list(names)}", "give one for each")
        found: dict[str, Any] = {name: x[name] for name in names}
    else:
        parts = tuple(x) if isinstance(x, (tuple, list)) else (x,)
        if len(parts) != len(names):
            raise DataError("x", f"there are {len(parts)} tensors for the inputs {list(names)}", "give one for each")
        found = dict(zip(names, parts, strict=True))
    for name, z in found.items():
        subject = "x" if len(found) == 1 else name
        if not isinstance(z, Tensor):
            raise DataError(subject, f"samples are a tensor, not {type(z).__name__}", "convert with torch.as_tensor")
        if z.is_meta:
            raise DataError(subject, "it has no data (device 'meta')", "give samples with numbers")
        if z.ndim < 2 or not z.is_floating_point() or 0 in z.shape:
            raise DataError(
                subject,
                f"samples are a floating tensor [N, C, *locations], not {z.dtype} of shape {list(z.shape)}",
                "give a batch of feature maps",
            )
    counts = {z.shape[0] for z in found.values()}
    if len(counts) > 1:
        raise DataError("x", f"its inputs have {sorted(counts)} samples", "give equally many")
    if counts == {1}:
        raise DataError("x", "c values need two samples or more, but it has one", "give a larger batch")
    return found


class Recorder:
    """A model and its graph: which nodes can be looked at, and a run that looks at them.

    A `GraphNetwork` shows every node, a traced model those whose feature maps have an axis for the channels. Of another
    model those are seen whose ids are module paths.
    """

    def __init__(self, model: nn.Module, arch: Architecture, traced: Traced | None = None) -> None:
        self.model, self.arch, self.traced = model, arch, traced
        modules = dict(model.named_modules())
        self.modules = {
            node.id: modules[node.id] for node in arch.nodes if node.id in modules and node.id not in arch.inputs
        }
        if traced is not None:
            self.nodes = set(traced.channel_axes)
            if not self.nodes.issuperset(arch.inputs):
                raise ArgumentError(arch.name, "its inputs have no axis for channels", "give inputs [N, C, *locations]")
        elif isinstance(model, GraphNetwork):
            self.nodes = {node.id for node in arch.nodes}
        else:
            self.nodes = {*arch.inputs, *self.modules}
        if not self.nodes - set(arch.inputs):
            raise ArgumentError(
                arch.name, "no node id is a module path of the model", "name its nodes after the modules"
            )
        self._last: dict[str, bool] = {}

    def channels_last(self, node: str, shape: tuple[int, ...]) -> bool:
        """Whether a feature map of this shape has its channels last: those around Linear layers have."""
        if node not in self._last:
            module, before = self.modules.get(node), self.arch[node].inputs
            if isinstance(self.arch[node].op, Affine) and module is not None:
                last = isinstance(module, nn.Linear)
            elif before:
                last = self.channels_last(before[0], shape)
            else:
                readers = (self.modules.get(reader.id) for reader in self.arch.nodes if node in reader.inputs)
                last = any(isinstance(reader, nn.Linear) and reader.in_features == shape[-1] for reader in readers)
            self._last[node] = last
        return self._last[node] and len(shape) > 2

    def channels_first(self, node: str, z: object, samples: int) -> Tensor:
        """The feature map with its channels second; raises `DataError` if it is not one of so many samples."""
        if not isinstance(z, Tensor) or z.ndim < 2 or z.shape[0] != samples:
            what = f"shape {list(z.shape)}" if isinstance(z, Tensor) else type(z).__name__
            raise DataError(
                node, f"it gives {what} where [{samples}, C, *locations] is due", "measure another architecture"
            )
        if self.traced is not None:
            return z.movedim(self.traced.channel_axes[node], 1)
        return z.movedim(-1, 1) if self.channels_last(node, tuple(z.shape)) else z

    def run(self, inputs: Mapping[str, Tensor], take: Take) -> None:
        """Run the model once, in evaluation mode, without gradients; all is as before at the end.

        Raises
        ------
        DataError
            Naming the node: for a module that runs twice or never, and for what is no feature map.
        """
        samples = next(iter(inputs.values())).shape[0]
        given = [z.to(device_of(self.model)) for z in inputs.values()]
        for node, z in inputs.items():
            take(node, self.channels_first(node, z, samples))
        if isinstance(self.model, GraphNetwork):
            with modes_restored(self.model), torch.no_grad():
                self.model.eval()
                for node, z in self.model.feature_maps(*given).items():
                    if node not in inputs:
                        take(node, z)
            return
        if self.traced is not None:
            with modes_restored(self.traced.graph_module):
                self.traced.graph_module.eval()
                _Look(self.traced, lambda node, z: take(node, self.channels_first(node, z, samples)), inputs).run(
                    *given
                )
            return
        seen: set[str] = set()

        def hook_for(node: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(module: nn.Module, arguments: Any, z: Any) -> None:
                if node in seen:
                    raise DataError(node, "its module runs twice in one pass", "use a module of its own at each place")
                seen.add(node)
                take(node, self.channels_first(node, z, samples))

            return hook

        handles = []
        with modes_restored(self.model):
            try:
                handles += [module.register_forward_hook(hook_for(node)) for node, module in self.modules.items()]
                self.model.eval()
                with torch.no_grad():
                    self.model(*given)
            finally:
                for handle in handles:
                    handle.remove()
        for node in self.modules:
            if node not in seen:
                raise DataError(node, "its module did not run", "leave the node out, or run it in forward")


class _Look(fx.Interpreter):
    """Runs a traced model and shows what is computed at the places of its nodes."""

    def __init__(self, traced: Traced, show: Callable[[str, Any], None], inputs: Mapping[str, Tensor]) -> None:
        super().__init__(traced.graph_module)
        self.show = show
        self.at: dict[fx.Node, list[str]] = {}
        for node, place in traced.places.items():
            if node not in inputs and node in traced.channel_axes:
                self.at.setdefault(place, []).append(node)

    @torch.no_grad()
    def run_node(self, n: fx.Node) -> Any:
        """The result of one call, shown before a later one may change it in place."""
        result = super().run_node(n)
        for node in self.at.get(n, ()):
            self.show(node, result)
        return result
