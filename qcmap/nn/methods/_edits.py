"""A traced model that is changed: what the constructions share."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from qcmap.architecture import Affine
from qcmap.errors import ArchitectureError
from qcmap.nn._initialize import Layer
from qcmap.nn.tracing import traced


class Editable:
    """A copy of a model as a torch.fx graph that may be changed; the model stays as it is."""

    def __init__(self, model: nn.Module, example_input: Any) -> None:
        found = traced(model, example_input)
        self.architecture, self.module, self.places = found.architecture, found.graph_module, found.places
        self._paths, self._reads, self._training = found.modules, found.reads, model.training

    def layer(self, node: str) -> tuple[str, Layer]:
        """The path and the layer of an affine node.

        Raises `ArchitectureError` for one that is no module's call, or a module that is called several times.
        """
        path = self._paths[node]
        if path is None:
            raise ArchitectureError(node, "it is a call of a function, not of a module", "use nn.Linear or nn.Conv")
        calls = [other for other, found in self._paths.items() if found == path]
        if len(calls) > 1:
            raise ArchitectureError(node, f"its module is called {len(calls)} times", "give each call its own module")
        layer = self.module.get_submodule(path)
        assert isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))
        return path, layer

    def read(self, node: str) -> fx.Node:
        """The value that an activation or affine node reads, as a node of the torch.fx graph."""
        return self._reads[node][0]

    def before(self, node: str, name: str, module: nn.Module) -> None:
        """Put a module between an activation or affine node and what it reads."""
        place, value = self.places[node], self.read(node)
        self.module.add_submodule(name, module)
        with self.module.graph.inserting_before(place):
            place.replace_input_with(value, self.module.graph.call_module(name, (value,)))

    def after(self, node: str, name: str, module: nn.Module) -> None:
        """Put a module between a node and all that read it."""
        place = self.places[node]
        self.module.add_submodule(name, module)
        with self.module.graph.inserting_after(place):
            new = self.module.graph.call_module(name, (place,))
        place.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)

    def affines(self) -> list[str]:
        """The affine nodes, in order."""
        return [node.id for node in self.architecture.nodes if isinstance(node.op, Affine)]

    def finished(self) -> fx.GraphModule:
        """The changed model, in the mode of the model that it was."""
        self.module.graph.lint()
        self.module.recompile()
        return self.module.train(self._training)
