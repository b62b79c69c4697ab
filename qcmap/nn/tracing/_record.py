"""A model's forward as a torch.fx graph: run once on tensors without data, every torch call written down.

The model runs as Python does, on fake tensors that have shapes but no data, so whatever its forward asks of shapes,
types or modules is answered. A mode of torch hands over each call of the torch API (function, method or operator), and
wrapped forwards tell which module makes it; modules of torch.nn are written down as one call. The batch size is a
symbol: what is computed from it stays in the graph, and a forward that needs its value is refused.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._dispatch.python import enable_python_dispatcher
from torch.overrides import TorchFunctionMode

from qcmap.errors import TraceError
from qcmap.nn.tracing._copy import copied
from qcmap.nn.tracing._example import Example, symbolic
from qcmap.nn.tracing._quiet import quietly
from qcmap.nn.tracing._returned import returned
from qcmap.nn.tracing._written import DROPOUTS, as_written, has_tensor, is_leaf, plain_name, storage


@dataclass
class Recording:
    """What a run wrote down.

    ``graph_module`` computes what the model's forward does in eval mode, from the arguments of the example; ``owners``
    gives for each node the path of the module whose forward made it, and the path of each call of a module that it was
    made in, in ``calls``, with a number that tells calls apart. ``fixed``: whether it holds for one batch size only.
    """

    graph_module: fx.GraphModule
    owners: dict[fx.Node, str]
    calls: dict[fx.Node, tuple[tuple[str, int], ...]]
    inputs: dict[fx.Node, str]
    outputs: list[tuple[str | None, fx.Node]]
    fixed: bool

    def refuse_fixed(self) -> None:
        """Raise `TraceError` if the forward used the value of the batch size."""
        if self.fixed:
            raise TraceError(
                type(self.graph_module).__name__, "its forward needs the batch size as a number, so its graph would "
                "hold for one size", "take sizes from x.shape, use -1 in view, loop over no examples",
            )  # fmt: skip


def record(model: nn.Module, example_input: Any, leaves: tuple[type[nn.Module], ...]) -> Recording:
    """Run a copy of the model and write it down; ``leaves`` are one call each, as modules of torch.nn are.

    Raises
    ------
    TraceError
        For a single layer, a model that cannot be copied or run without data, branches on values, or hidden calls.
    """
    root = copied(model)
    if is_leaf(root, leaves):
        raise TraceError("model", "it is a single layer, which has no path", "give nn.Sequential(model)")
    example = Example.of(root, example_input)
    recorder = _Recorder(root, leaves, model)
    mode, arguments, batch = symbolic(example)
    for name, value in arguments.items():
        recorder.placeholder(name, value)
    recorder.batch = batch
    # The python dispatcher: torch's own shape rules in C++, as those of resizing, make a symbol a number.
    with recorder.listening(), torch.no_grad(), mode, enable_python_dispatcher(), recorder, quietly():
        output = recorder.run(example, arguments)
    symbol = batch.node.expr
    fixed = not symbol.is_Symbol or batch.node.shape_env.replacements.get(symbol) is not None
    return recorder.finished(output, type(model).__name__, fixed=fixed)


@dataclass
class _Recorder(TorchFunctionMode):
    root: nn.Module
    leaves: tuple[type[nn.Module], ...]
    model: nn.Module
    graph: fx.Graph = field(default_factory=fx.Graph)
    quiet: int = 0
    scope: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.nodes: dict[int, fx.Node] = {}
        """The node of each tensor, by the tensor's id."""
        self.alive: list[object] = []
        """Tensors are kept, so that no id is given twice."""
        self.stale: dict[int, str] = {}
        self.sharing: dict[int, list[Tensor]] = {}
        # A forward may hold on to the model that was copied, in a closure: its tensors mean those of the copy.
        held = ((*module.named_parameters(), *module.named_buffers()) for module in (self.model, self.root))
        self.names = {id(tensor): name for tensors in held for name, tensor in tensors}
        self.paths = {id(module): path for path, module in self.root.named_modules()}
        self.owners: dict[fx.Node, str] = {}
        self.calls: dict[fx.Node, tuple[tuple[str, int], ...]] = {}
        self.inputs: dict[fx.Node, str] = {}
        self.sizes: dict[Any, fx.Node] = {}
        self.batch: Any = None
        self.count = 0

    @property
    def path(self) -> str:
        """The module whose forward runs."""
        return self.scope[-1][0] if self.scope else ""

    def error(self, what: str, rule: str, remedy: str) -> TraceError:
        """The error for a call in the module whose forward runs."""
        return TraceError(f"{self.path}.{what}" if self.path else what, rule, remedy)

    def run(self, example: Example, arguments: Mapping[str, Tensor]) -> Any:
        """The output of the root's forward."""
        try:
            return example.call(self.root, arguments)
        except TraceError:
            raise
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise TraceError(
                self.path or type(self.root).__name__,
                f"its forward does not run on tensors without data ({type(error).__name__}: {first})",
                "let its course depend on shapes only, not on values, and check that model(example_input) works",
            ) from error

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Wrap the forwards of the copy, so that calls are told apart by module."""
        wrapped: list[tuple[nn.Module, Any]] = []
        try:
            for module in self.root.modules():
                wrapped.append((module, module.__dict__.get("forward")))
                module.forward = self._heard(module, module.forward)
            yield
        finally:
            for module, own in wrapped:
                if own is None:
                    module.__dict__.pop("forward", None)
                else:
                    module.forward = own

    def _heard(self, module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        path, leaf = self.paths[id(module)], is_leaf(module, self.leaves)

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.quiet:
                return forward(*args, **kwargs)
            self.count += 1
            self.scope.append((path, self.count))
            before = len(self.graph.nodes)
            positional, keywords = (self.lift(args), self.lift(kwargs)) if leaf else ((), {})
            self.quiet += leaf
            try:
                result = forward(*args, **kwargs)
            finally:
                self.quiet -= leaf
            if leaf:
                self.write(("call_module", path, positional, keywords), result, getattr(module, "inplace", False))
            elif isinstance(result, Tensor) and args and result is args[0] and len(self.graph.nodes) == before and path:
                # Nothing to do in eval mode, such as stochastic depth: it stays a module, which training needs.
                self.write(("call_module", path, self.lift(args), self.lift(kwargs)), result, False)
            # Left standing after an exception, so that the error names the module.
            self.scope.pop()
            return result

        return call

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run a call and write it down."""
        kwargs = kwargs or {}
        if self.quiet:
            return func(*args, **kwargs)
        if func in DROPOUTS:
            return self._dropout(func, args, kwargs)
        result = func(*args, **kwargs)
        if not has_tensor(result):
            if getattr(func, "__name__", "") == "__setitem__":
                raise self.error("setitem", "it writes into a tensor", "build the tensor with torch.cat or torch.where")
            return result
        if kwargs.get("out") is not None:
            raise self.error(plain_name(func), "it writes into the tensor of out=", "use its result")
        call, in_place = as_written(func, args, kwargs)
        self.write((call[0], call[1], self.lift(call[2]), self.lift(call[3])), result, in_place)
        return result

    def _dropout(self, func: Any, args: tuple, kwargs: dict) -> Tensor:
        """Write a function of dropout down as a module, which follows the mode as the model's forward made it do."""
        bound = inspect.signature(func).bind(*args, **kwargs)
        bound.apply_defaults()
        x, asked = bound.arguments["input"], bound.arguments["training"]
        if asked:
            raise self.error(plain_name(func), "it is random in eval mode too", "give it training=self.training")
        owner = self.root.get_submodule(self.path)
        name = f"_{func.__name__}{sum(key.startswith('_') for key in owner._modules)}"
        owner.add_module(name, DROPOUTS[func](bound.arguments["p"]).eval())
        self.write(("call_module", f"{self.path}.{name}".lstrip("."), (self.lift(x),), {}), x, in_place=False)
        return x

    def placeholder(self, name: str, value: Tensor) -> None:
        """An argument of the forward."""
        node = self.graph.placeholder(name)
        self.inputs[node] = name
        self._own(node)
        self._known(value, node)

    def write(self, call: tuple[str, Any, Any, Any], result: Any, in_place: bool) -> None:
        """Write down a call; its tensors are now known."""
        if in_place and isinstance(result, Tensor):
            for other in self.sharing.get(storage(result), ()):
                if other is not result:
                    self.stale[id(other)] = self.path
        node = self.graph.create_node(*call)
        self._own(node)
        self._known(result, node)

    def _own(self, node: fx.Node) -> None:
        self.owners[node], self.calls[node] = self.path, tuple(self.scope)

    def _known(self, value: Any, node: fx.Node) -> None:
        if isinstance(value, Tensor):
            node.meta["val"] = value
            self.nodes[id(value)] = node
            self.stale.pop(id(value), None)
            self.alive.append(value)
            self.sharing.setdefault(storage(value), []).append(value)
        elif isinstance(value, Mapping):
            raise self.error("output", "a call of torch gives a dictionary", "call a function that gives tensors")
        else:
            node.meta["val"] = value
            for k, part in enumerate(value):
                if has_tensor(part):
                    item = self.graph.call_function(operator.getitem, (node, k))
                    self._own(item)
                    self._known(part, item)

    def lift(self, value: Any) -> Any:
        """A value as an argument in the graph."""
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, torch.SymInt):
            return self._size(value)
        if isinstance(value, (torch.SymFloat, torch.SymBool)):
            raise self.error("batch", "it computes a fraction or a condition of the batch size", "use integers only")
        if isinstance(value, (tuple, list)):
            items = [self.lift(item) for item in value]
            return tuple(items) if isinstance(value, tuple) else items
        if isinstance(value, slice):
            return slice(self.lift(value.start), self.lift(value.stop), self.lift(value.step))
        if isinstance(value, dict):
            return {key: self.lift(item) for key, item in value.items()}
        return value

    def _tensor(self, value: Tensor) -> fx.Node:
        from torch._subclasses.fake_tensor import FakeTensor

        key = id(value)
        if key in self.stale:
            raise self.error(
                "input", f"it reads a tensor of which a view was changed in place, in {self.stale[key] or 'forward'}",
                "do not work in place on views",
            )  # fmt: skip
        if key not in self.nodes:
            if key not in self.names:
                if isinstance(value, FakeTensor):
                    raise self.error(
                        "input", "it reads a tensor that no visible call of torch made (TorchScript, C++ or numpy?)",
                        "write that part with torch functions",
                    )  # fmt: skip
                self.names[key] = self._constant(value)
            node = self.graph.get_attr(self.names[key])
            self.owners[node], self.calls[node] = "", ()
            self._known(value, node)
            owner, _, name = self.names[key].rpartition(".")
            node.meta["val"] = getattr(self.root.get_submodule(owner), name)
        return self.nodes[key]

    def _constant(self, value: Tensor) -> str:
        """The name of a copy of a tensor that the model holds, but not as a parameter or buffer of its own."""
        number = sum(name.startswith("_constant") for name in (*self.root._buffers, *self.root._parameters))
        if isinstance(value, nn.Parameter):
            copied = nn.Parameter(value.detach().clone(), requires_grad=value.requires_grad)
            self.root.register_parameter(f"_constant{number}", copied)
        else:
            self.root.register_buffer(f"_constant{number}", value.detach().clone(), persistent=False)
        return f"_constant{number}"

    def _size(self, value: torch.SymInt) -> Any:
        """A number that is computed from the batch size."""
        return self._expression(value.node.expr)

    def _expression(self, expr: Any) -> Any:
        if expr.is_Integer:
            return int(expr)
        if expr not in self.sizes:
            operators = {"Add": operator.add, "Mul": operator.mul, "FloorDiv": operator.floordiv, "Mod": operator.mod}
            kind = type(expr).__name__
            if expr == self.batch.node.expr:
                source, *_ = self.inputs
                with self.graph.inserting_after(list(self.inputs)[-1]):
                    node = self.graph.call_method("size", (source, 0))
                self._own(node)
            elif kind in operators:
                node = self._expression(expr.args[0])
                for part in expr.args[1:]:
                    node = self.graph.call_function(operators[kind], (node, self._expression(part)))
                    self._own(node)
            else:
                raise self.error("batch", f"it computes {expr} of the batch size", "use + * // % only")
            self.sizes[expr] = node
        return self.sizes[expr]

    def finished(self, output: Any, name: str, *, fixed: bool) -> Recording:
        """The recording, with what no output depends on taken out."""
        found: list[tuple[str | None, fx.Node]] = []
        self.graph.output(returned(output, found, self))
        if not found:
            raise TraceError(name, "its forward gives no tensor", "return a tensor, or a tuple or dict of tensors")
        module = fx.GraphModule(self.root, self.graph, class_name=name)
        self.graph.eliminate_dead_code()
        module.delete_all_unused_submodules()
        module.recompile()
        kept = set(self.graph.nodes)
        return Recording(
            module,
            {node: path for node, path in self.owners.items() if node in kept},
            {node: call for node, call in self.calls.items() if node in kept},
            self.inputs,
            found,
            fixed,
        )
