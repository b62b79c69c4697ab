"""Residual networks: those of DKS, section 23, and of its appendix J."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from qcmap.architecture._architecture import Architecture
from qcmap.architecture._builder import Builder
from qcmap.architecture.zoo._chains import positive
from qcmap.errors import ArchitectureError

if TYPE_CHECKING:
    from qcmap.architecture._ops import Named, Weight

Norm = Literal["layer", "batch"]
Stem = Literal["imagenet", "cifar"]
Pooling = Literal["mean", "weighted"]
Weights: TypeAlias = "Weight | Sequence[Weight] | Literal['growing', 'plain']"
"""The residual weights: one number or expression for all blocks, one for each block, or a rule by name.

``"growing"`` is 1/sqrt(q + 1) for the q value that a plain sum would have (DKS, appendix J): 1/sqrt(2) in a transition
block, where the count begins anew, then 1/sqrt(3), 1/sqrt(4), ... It gives normalized sums the C map of a plain
residual network with layer norms. ``"plain"`` adds without weights, as standard residual networks do; q values grow.
"""

RESNET_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
"""Residual blocks in each of the four groups, by the depth parameter D.

From D = 50 on blocks are bottlenecks of three convolutions, (D - 2) / 3 of them in all; below, of two.
"""
BOTTLENECKS = 50
"""The least depth whose blocks are bottlenecks."""


RESIDUAL_WEIGHT = math.sqrt(0.05)
"""The residual weight that the paper's experiments settled on (DKS, section 28.3 and appendix M.1)."""


def _shortcut_weight(weight: Weight, model: str) -> Weight:
    """sqrt(1 - w^2), as a number or an expression."""
    if getattr(weight, "free_symbols", None):
        import sympy

        return sympy.sqrt(1 - sympy.sympify(weight) ** 2)
    try:
        number = float(weight)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < 1:
        raise ArchitectureError(
            model, f"residual_weight must lie strictly between 0 and 1, not {weight!r}",
            "use 1/sqrt(2) for equal weights, 'growing' or 'plain'; shortcuts=False takes the shortcuts out",
        )  # fmt: skip
    return math.sqrt((1 - number) * (1 + number))


class _Residual:
    """The mechanism that both residual families share: pre-activated blocks with normalized sums."""

    def __init__(
        self,
        name: str,
        channels: int,
        blocks: int,
        activation: str | Named,
        residual_weight: Weights,
        norm: Norm | None,
        weight_variance: Weight,
        *,
        shortcuts: bool,
    ) -> None:
        if norm not in (None, "layer", "batch"):
            raise ArchitectureError(name, f"norm must be None, 'layer' or 'batch', not {norm!r}", "use one of these")
        if not isinstance(shortcuts, bool):
            raise ArchitectureError(name, f"shortcuts must be True or False, not {shortcuts!r}", "give a truth value")
        self.b, self.activation, self.norm, self.shortcuts = Builder(name), activation, norm, shortcuts
        self.current, self.q, self.done = channels, 1, 0
        self.rule, self.name, self.weight_variance = residual_weight, name, weight_variance
        if isinstance(residual_weight, (list, tuple)) and len(residual_weight) != blocks:
            raise ArchitectureError(
                name, f"it has {blocks} blocks, but got {len(residual_weight)} residual weights", "give one a block"
            )

    def affine(self, x: str, channels: int, size: int, stride: int, name: str) -> str:
        """A convolution."""
        kernel = (size, size)
        return self.b.affine(x, channels, kernel=kernel, stride=stride, weight_variance=self.weight_variance, name=name)

    def weights(self, *, transition: bool) -> tuple[Weight, Weight]:
        """The weights of the residual branch and the shortcut in the next block."""
        self.q = 1 if transition else self.q
        rule, k = self.rule, self.done
        # A transition block's shortcut has the q value 1 of an activation after a layer norm, others that of the sums.
        self.q, self.done = self.q + 1, self.done + 1
        if rule == "plain":
            return 1.0, 1.0
        if rule == "growing":
            return 1 / math.sqrt(self.q), math.sqrt((self.q - 1) / self.q)
        weight = cast("Weight", rule[k] if isinstance(rule, (list, tuple)) else rule)
        return weight, _shortcut_weight(weight, self.name)

    def activate(self, x: str, name: str, suffix: str = "") -> str:
        """An optional norm, then the activation."""
        if self.norm is not None:
            normalize = self.b.layer_norm if self.norm == "layer" else self.b.batch_norm
            x = normalize(x, name=f"{name}.norm{suffix}")
        return self.b.activation(x, self.activation, name=f"{name}.activation{suffix}")

    def block(self, x: str, name: str, channels: int, convolutions: list[tuple[int, int, int]]) -> str:
        """One block; each convolution is (channels, kernel size, stride).

        A block that changes the number of channels (a transition block) has a convolution in its shortcut, which reads
        the first activation of the residual branch (DKS, footnote 11).
        """
        b, transition = self.b, None
        h = x
        for k, (out, size, stride) in enumerate(convolutions, start=1):
            h = self.activate(h, name, str(k))
            if k == 1 and self.current != channels:
                transition = h
            h = self.affine(h, out, size, stride, f"{name}.conv{k}")
        if self.shortcuts:
            shortcut = x
            if transition is not None:
                stride = max(stride for *_, stride in convolutions)
                shortcut = self.affine(transition, channels, 1, stride, f"{name}.shortcut")
            h = b.sum([h, shortcut], self.weights(transition=transition is not None), name=f"{name}.sum")
        self.current = channels
        return h

    def stem(self, stem: Stem, channels: int) -> str:
        """The input and the first convolution: 7x7 of stride 2 and max pooling, or 3x3."""
        if stem not in ("imagenet", "cifar"):
            raise ArchitectureError(self.name, f"stem must be 'imagenet' or 'cifar', not {stem!r}", "use one of these")
        if stem == "cifar":
            x = self.b.input("input", channels=3, locations=(32, 32))
            return self.affine(x, channels, 3, 1, "stem.conv")
        h = self.affine(self.b.input("input", channels=3, locations=(224, 224)), channels, 7, 2, "stem.conv")
        return self.b.max_pool(h, (3, 3), stride=2, padding=1, name="stem.pool")

    def head(self, x: str, classes: int, pooling: Pooling) -> Architecture:
        """The last activation, global pooling and the final affine layer."""
        if pooling not in ("mean", "weighted"):
            raise ArchitectureError(
                self.name, f"pooling must be 'mean' or 'weighted', not {pooling!r}", "use one of these"
            )
        h = self.activate(x, "final")
        pool = self.b.mean_pool if pooling == "mean" else self.b.weighted_mean_pool
        h = pool(h, name="final.pool")
        return self.b.build(outputs=[self.b.affine(h, classes, weight_variance=self.weight_variance, name="head")])


def resnet_v2(
    depth: int = 50,
    *,
    activation: str | Named = "tanh",
    residual_weight: Weights = RESIDUAL_WEIGHT,
    shortcuts: bool = True,
    norm: Norm | None = None,
    pooling: Pooling = "mean",
    width: int = 64,
    widen: int = 1,
    stem: Stem = "imagenet",
    weight_variance: Weight = 1.0,
    classes: int = 1000,
) -> Architecture:
    """The modified ResNet-V2 for ImageNet (DKS, sections 23.1 to 23.5).

    ``depth`` is D, one more than the number of nonlinear layers: 50, 101, 152 or 200; or 18 or 34, whose blocks have
    two convolutions and no bottleneck. ``width`` is the number of channels after the stem, ``widen`` multiplies the
    inner channels of the bottlenecks; ``stem="cifar"`` has a 3x3 convolution for maps of 32x32. ``residual_weight`` is
    w, a number in (0, 1) or a sympy expression, one for each block, ``"growing"`` or ``"plain"`` (see `Weights`); the
    shortcut has sqrt(1 - w^2). Its default is `RESIDUAL_WEIGHT`. ``shortcuts=False`` takes the shortcut branches out;
    ``norm="layer"`` puts a layer norm before each activation, ``"batch"`` a batch norm, which shaping takes out.
    ``pooling="weighted"`` is that of section 20.1.2. With shortcuts and one w, the slope polynomial is equation (20).
    The network of appendix J has relus, ``norm="layer"``, ``residual_weight="plain"`` and ``weight_variance=2``.
    """
    if positive(depth, "resnet_v2") not in RESNET_BLOCKS:
        known = ", ".join(map(str, RESNET_BLOCKS))
        raise ArchitectureError("resnet_v2", f"no ResNet-V2 has depth {depth}", f"choose one of {known}")
    net = _Residual(
        f"resnet_v2(depth={depth})", width, sum(RESNET_BLOCKS[depth]), activation, residual_weight, norm,
        weight_variance, shortcuts=shortcuts,
    )  # fmt: skip
    h = net.stem(stem, positive(width, "resnet_v2", "width"))
    for group, blocks in enumerate(RESNET_BLOCKS[depth]):
        for block in range(blocks):
            stride = 2 if group > 0 and block == 0 else 1
            convolutions = resnet_block(depth, width * 2**group, stride, positive(widen, "resnet_v2", "widen"))
            h = net.block(h, f"group{group + 1}.block{block + 1}", convolutions[-1][0], convolutions)
    return net.head(h, classes, pooling)


def resnet_block(depth: int, channels: int, stride: int, widen: int = 1) -> list[tuple[int, int, int]]:
    """The convolutions of a block of `resnet_v2`: channels, kernel size and stride of each."""
    if depth < BOTTLENECKS:
        return [(channels, 3, stride), (channels, 3, 1)]
    inner = widen * channels
    return [(inner, 1, 1), (inner, 3, stride), (4 * channels, 1, 1)]


def wide_resnet(
    depth: int = 28,
    *,
    widen: int = 2,
    activation: str | Named = "tanh",
    residual_weight: Weights = RESIDUAL_WEIGHT,
    shortcuts: bool = True,
    norm: Norm | None = None,
    pooling: Pooling = "mean",
    weight_variance: Weight = 1.0,
    classes: int = 10,
) -> Architecture:
    """The modified Wide-ResNet for CIFAR-10 (DKS, section 23.6).

    ``depth`` is D, three more than the number of nonlinear layers, with D - 4 a positive multiple of 6; ``widen``
    multiplies the channels of the blocks and is at least 2, so that each group begins with a transition block. The
    other arguments are those of `resnet_v2`.
    """
    if (positive(depth, "wide_resnet") - 4) % 6 or depth < 10:
        near = max(10, 4 + 6 * round((depth - 4) / 6))
        raise ArchitectureError(
            "wide_resnet", f"depth - 4 must be a positive multiple of 6, but depth is {depth}", f"try depth={near}"
        )
    if isinstance(widen, bool) or not isinstance(widen, int) or widen < 2:
        raise ArchitectureError("wide_resnet", f"widen must be an integer of at least 2, not {widen!r}", "try widen=2")
    net = _Residual(
        f"wide_resnet(depth={depth})", 16, (depth - 4) // 2, activation, residual_weight, norm, weight_variance,
        shortcuts=shortcuts,
    )  # fmt: skip
    h = net.stem("cifar", 16)
    for group in range(3):
        channels = 16 * widen * 2**group
        for block in range((depth - 4) // 6):
            stride = 2 if group > 0 and block == 0 else 1
            h = net.block(h, f"group{group + 1}.block{block + 1}", channels, [(channels, 3, stride), (channels, 3, 1)])
    return net.head(h, classes, pooling)
