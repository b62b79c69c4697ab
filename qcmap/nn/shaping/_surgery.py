"""Carrying a draft out on the traced copy of a model: nodes taken out, modules put in, weights drawn."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal

import torch
from torch import fx, nn

from qcmap.architecture import Affine, Architecture, LayerNorm, Nonlinear, Sum, WeightedMeanPool
from qcmap.errors import ArchitectureError
from qcmap.nn._layers import NormalizedSum
from qcmap.nn._layers import WeightedMeanPool as WeightedMeanPoolModule
from qcmap.nn._shaped import ShapedActivation
from qcmap.nn._weights import gaussian_weight, orthogonal_weight
from qcmap.nn.shaping._changes import Change
from qcmap.nn.shaping._draft import Draft
from qcmap.nn.shaping._norm import ChannelNorm
from qcmap.nn.shaping._sites import Site, check_storage, is_parameter, site_of
from qcmap.nn.tracing import Traced, Whereabouts
from qcmap.numeric import Shaping

_DRAWN = {"orthogonal": orthogonal_weight, "gaussian": gaussian_weight}


def carried_out(
    found: Traced,
    draft: Draft,
    shaping: Shaping,
    weights: Literal["orthogonal", "gaussian"],
    *,
    delta: bool,
    generator: torch.Generator,
) -> tuple[Whereabouts, list[Change]]:
    """Change the traced copy into the shaped model, in place.

    Returns
    -------
    The shaped architecture with the way back to the copy, and what was changed besides the draft's changes.

    Raises
    ------
    ArchitectureError
        Naming a node whose parameters cannot be drawn, a map whose axes weighted pooling or a channel norm cannot
        handle, or a parameter that belongs to no node.
    """
    work = _Surgery(found)
    for name in draft.dropped:
        work.drop(name)
    changes: list[Change] = []
    for node in draft.architecture.nodes:
        if isinstance(node.op, Nonlinear):
            transform = shaping.at(node.id)
            work.put(node.id, ShapedActivation(transform))
            rows = {**transform.activation.parameters, **transform.constants}
            constants = ", ".join(f"{key} {value:.6g}" for key, value in rows.items())
            changes.append(
                Change(
                    node.id,
                    "activation",
                    node.op.name,
                    f"{transform.activation.name}: {constants}",
                    _WHY[shaping.method],
                )
            )
        elif isinstance(node.op, Sum):
            work.sum(node.id, draft)
        elif isinstance(draft.replaced.get(node.id), WeightedMeanPool):
            work.weighted_pool(node.id, generator)
        elif isinstance(draft.replaced.get(node.id), LayerNorm):
            work.channel_norm(node.id)
    work.tidy()
    changes += work.biases(draft.biased)
    changes += work.draw(draft.architecture, weights, delta=delta, generator=generator)
    work.model.graph.lint()
    work.model.recompile()
    return work.whereabouts(draft), changes


_WHY = {
    "dks": "Q(1) = Q'(1) = 1, C(0) = 0, C'(1) = psi (DKS, sections 17.3 and 18.4)",
    "tat": "Q(1) = Q'(1) = C'(1) = 1, and a bound for subnetworks (tailored activation transformations)",
    "unit_q": "Q(1) = 1 (DKS, appendix N.2)",
}


class _Surgery:
    """Edits of one graph; ``places`` follows them."""

    def __init__(self, found: Traced) -> None:
        self.found, self.model = found, found.graph_module
        self.places: dict[str, fx.Node] = dict(found.places)
        self._reading = dict(found.reads)
        self._instead: dict[fx.Node, fx.Node] = {}
        activations = (node.id for node in found.architecture.nodes if isinstance(node.op, Nonlinear))
        self._leaving = {found.places[name] for name in activations}

    def _live(self, node: fx.Node) -> fx.Node:
        while node in self._instead:
            node = self._instead[node]
        return node

    def _reads(self, name: str) -> list[fx.Node]:
        """What a node reads now."""
        return [self._live(node) for node in self._reading[name]]

    def drop(self, name: str) -> None:
        """Take a node of one input out: its readers read its input."""
        self._stand_in(self.places.pop(name), self._reads(name)[0])

    def put(self, name: str, module: nn.Module) -> fx.Node:
        """A module in the place of a node."""
        return self._put(name, module, self._reads(name))

    def sum(self, name: str, draft: Draft) -> None:
        """A normalized sum, of all branches of the sums that are merged with it."""
        op = draft.architecture[name].op
        assert isinstance(op, Sum)
        self._put(name, NormalizedSum([float(weight) for weight in op.weights]), list(self._branches(name, draft)))

    def _branches(self, name: str, draft: Draft) -> list[fx.Node]:
        found: list[fx.Node] = []
        for source, read in zip(self.found.architecture[name].inputs, self._reads(name), strict=True):
            source = draft.stands_for(source)
            found += self._branches(source, draft) if source in draft.merged else [read]
        return found

    def weighted_pool(self, name: str, generator: torch.Generator) -> None:
        """Weighted mean pooling over the whole map, for mean pooling of [N, C, *locations]."""
        (read,) = self._reads(name)
        before, after = read.meta["shape"], self.places[name].meta["shape"]
        self._channels_first(name, read)
        module = WeightedMeanPoolModule(tuple(before[2:]), keepdim=len(after) == len(before), generator=generator)
        self.put(name, module.to(**self._home()))

    def channel_norm(self, name: str) -> None:
        """A layer norm over the channels, for a batch norm of [N, C, *locations]."""
        (read,) = self._reads(name)
        channels = self._channels_first(name, read)
        self.put(name, ChannelNorm(channels).to(**self._home()))

    def _channels_first(self, name: str, read: fx.Node) -> int:
        channels = self.found.architecture.channels[name]
        if not isinstance(channels, int) or read.meta["shape"][1] != channels:
            raise ArchitectureError(
                name, f"its map of shape {list(read.meta['shape'])} does not have its channels on axis 1",
                "permute it to [N, C, locations...] first",
            )  # fmt: skip
        return channels

    def _home(self) -> dict[str, Any]:
        """Where the model's parameters are, and their type."""
        first = next(self.model.parameters())
        return {"device": first.device, "dtype": first.dtype}

    def _put(self, name: str, module: nn.Module, reads: list[fx.Node]) -> fx.Node:
        place = self.places[name]
        graph = self.model.graph
        path = self._free_path(name, place)
        self.model.add_submodule(path, module)
        with graph.inserting_before(place):
            new = graph.call_module(path, tuple(reads))
        new.meta["shape"] = place.meta["shape"]
        self._stand_in(place, new)
        self.places[name], self._reading[name] = new, tuple(reads)
        return new

    def whereabouts(self, draft: Draft) -> Whereabouts:
        """The shaped architecture and the way back to the changed graph."""
        found = self.found
        names = [node.id for node in draft.architecture.nodes]
        biases = {path: tuple(dict.fromkeys(map(draft.stands_for, maps))) for path, maps in found.biases.items()}
        return Whereabouts(
            draft.architecture,
            {name: self.places[name].name for name in names},
            {name: tuple(read.name for read in self._reads(name)) for name in names},
            found.weights,
            {name: axis for name, axis in found.channel_axes.items() if name in draft.architecture.index},
            biases,
        )

    def _stand_in(self, old: fx.Node, new: fx.Node) -> None:
        old.replace_all_uses_with(new)
        self._instead[old] = new
        self.places = {name: new if place is old else place for name, place in self.places.items()}
        self.model.graph.erase_node(old)

    def _free_path(self, name: str, place: fx.Node) -> str:
        """The node's id, if no other module that the graph calls is there, or below or above it."""
        calls = [node for node in self.model.graph.nodes if node.op == "call_module" and node not in self._leaving]
        used = {str(node.target) for node in calls if node is not place}
        candidates = (name, *(f"{name}_{word}" for word in ("shaped", "shaped_2")), name.replace(".", "_") + "_shaped")
        for path in candidates:
            clash = any(other == path or other.startswith(f"{path}.") or path.startswith(f"{other}.") for other in used)
            if not clash and self._reachable(path):
                return path
        raise ArchitectureError(name, "no module can be put at its path", "rename the modules around it")

    def _reachable(self, path: str) -> bool:
        """Whether a module can stand at a path: what is above it are modules, and there is no tensor in its place."""
        owner: object = self.model
        *above, last = path.split(".")
        for part in above:
            owner = getattr(owner, part, None)
            if owner is None:
                return True
            if not isinstance(owner, nn.Module):
                return False
        return isinstance(getattr(owner, last, None), (nn.Module, type(None)))

    def tidy(self) -> None:
        """Take out what nothing reads any more: parts of activations that were written out, unused modules."""
        graph = self.model.graph
        for node in reversed(graph.nodes):
            if not node.users and node.op not in ("output", "placeholder"):
                graph.erase_node(node)
        self.model.delete_all_unused_submodules()

    # --- parameters ---

    def _sites(self, arch: Architecture) -> list[tuple[str, Site]]:
        affines = [node.id for node in arch.nodes if isinstance(node.op, Affine)]
        return [(name, site_of(self.model, self.places[name], name)) for name in affines]

    def biases(self, wanted: tuple[str, ...]) -> list[Change]:
        """Biases, zero at first, for layers whose batch norm is gone."""
        changes = []
        for name in wanted:
            site = site_of(self.model, self.places[name], name)
            if site.bias_path is None:
                site.with_bias()
                why = "its batch norm, which had them, is gone (DKS, section 23.2)"
                changes.append(Change(name, "bias", "no biases", "biases, zero", why))
        return changes

    @torch.no_grad()
    def draw(
        self, arch: Architecture, weights: Literal["orthogonal", "gaussian"], *, delta: bool, generator: torch.Generator
    ) -> list[Change]:
        """Weights of affine layers, gains 1 and biases 0; raises `ArchitectureError` for any other parameter."""
        sites = self._sites(arch)
        known: dict[str, None] = {}
        for name, site in sites:
            if weights == "gaussian" and site.depthwise:
                raise ArchitectureError(
                    name, "Gaussian weights of one channel each change its q values, and what it gives is not Gaussian"
                    " (docs/norms.md)", "use weights='orthogonal', which gives a depthwise layer weights of +-1",
                )  # fmt: skip
            for tensor in (site.weight, *([] if site.bias is None else [site.bias])):
                check_storage(name, tensor)
        for _, site in sites:
            if site.weight_path not in known:
                known[site.weight_path] = None
                draw = partial(_DRAWN[weights], delta=delta, generator=generator, dtype=torch.float64)
                if site.looked_up:
                    # One row a token: a one-hot input of q value 1 has the entry sqrt(tokens).
                    tokens, channels = site.weight.shape
                    site.weight.copy_(math.sqrt(tokens) * draw((channels, tokens)).T)
                else:
                    site.weight.copy_(draw(tuple(site.weight.shape), groups=site.groups))
            if site.bias_path is not None and site.bias is not None:
                known[site.bias_path] = None
                site.bias.zero_()
        for path, maps in self.found.biases.items():
            if path in known:
                raise ArchitectureError(
                    path, f"it is a parameter of a layer, and is added to the feature map of {maps[0]!r} as well",
                    "give the two parameters of their own",
                )  # fmt: skip
            known[path] = None
            self.model.get_parameter(path).zero_()
        self._neutral(arch, known)
        for path in self._read():
            if path not in known:
                raise ArchitectureError(
                    path, "this parameter is part of no layer whose distribution is known",
                    "take it out, or make it a constant of the model",
                )  # fmt: skip
        what = f"{weights} weights{', Delta filters' if delta else ''}, zero biases"
        why = "step 1 of DKS, section 21.2; section 4"
        return [Change(name, "weights", "the model's own weights", what, why) for name, _ in sites]

    def _read(self) -> list[str]:
        """The paths of the parameters that the graph still reads."""
        calls = {str(node.target) for node in self.model.graph.nodes if node.op in ("call_module", "get_attr")}
        paths = (path for path, _ in self.model.named_parameters())
        return [path for path in paths if path in calls or any(path.startswith(f"{call}.") for call in calls)]

    def _neutral(self, arch: Architecture, known: dict[str, None]) -> None:
        """Gains 1 and biases 0 in layer norms; weighted pooling has drawn its own weights."""
        for node in arch.nodes:
            place = self.places[node.id]
            if isinstance(node.op, LayerNorm):
                tensors = _gain_and_bias(self.model, place)
                for path, value in zip(tensors, (1.0, 0.0), strict=False):
                    if path is not None:
                        known[path] = None
                        self.model.get_parameter(path).fill_(value)
            elif isinstance(node.op, WeightedMeanPool) and place.op == "call_module":
                own = self.model.get_submodule(str(place.target)).named_parameters()
                known.update({f"{place.target}.{name}": None for name, _ in own})


def _gain_and_bias(model: fx.GraphModule, place: fx.Node) -> tuple[str | None, str | None]:
    """The paths of a normalization's gain and bias, of a module or a function's arguments."""
    if place.op == "call_module":
        own = dict(model.get_submodule(str(place.target)).named_parameters(recurse=False))
        paths = [f"{place.target}.{name}" if name in own else None for name in ("weight", "bias")]
    else:
        given = [value for value in place.args[1:] if isinstance(value, fx.Node) and is_parameter(model, value)]
        named = [place.kwargs.get(name) for name in ("weight", "bias")]
        chosen = [value if isinstance(value, fx.Node) else None for value in (*given, *named[len(given) :], None, None)]
        paths = [None if value is None else str(value.target) for value in chosen]
    return paths[0], paths[1]
