"""Random torch models assembled from pieces in many spellings, which say themselves what graph they are."""

import copy
import random
from collections import Counter

import torch
from torch import nn

F = nn.functional
ACTIVATIONS = (nn.Tanh(), nn.ReLU(inplace=True), F.silu, torch.tanh, torch.Tensor.sigmoid, torch.relu_,
               lambda h: F.gelu(h, approximate="tanh"), lambda h: h * torch.sigmoid(h))  # fmt: skip
TRANSPARENT = (nn.Dropout(0.2), nn.Identity(), lambda h: F.dropout(h, 0.1, training=False), torch.clone,
               lambda h: h.flatten(2).unflatten(2, h.shape[2:]), lambda h: h.permute(0, 2, 3, 1).permute(0, 3, 1, 2),
               lambda h: h.reshape(h.shape[0], -1, *h.shape[2:]), lambda h: h + 0)  # fmt: skip
UPSAMPLINGS = (nn.Upsample(scale_factor=2), nn.UpsamplingNearest2d((8, 8)),
               lambda h: F.interpolate(h, scale_factor=(2.0, 2.0), mode="nearest-exact"))  # fmt: skip
SUMS = (lambda a, b: a + b, torch.add, lambda a, b: a.add_(b), lambda a, b: sum([a, b]))
REFUSED = (lambda h: h.softmax(1), lambda h: h @ h, lambda h: h.sort(1)[0], lambda h: h[:, :, 1:], torch.fft.fft2,
           lambda h: h if h.sum() > 0 else -h, lambda h: torch.cumsum(h, 1), F.instance_norm)  # fmt: skip


class RandomModel(nn.Module):
    """A model of ``count`` random pieces on maps of ``width`` channels, with one or two inputs [N, 3, 8, 8].

    ``expected`` counts the ops of its graph by kind; ``refused`` says whether a piece has no node. ``example`` is an
    example input.
    """

    def __init__(self, seed, *, count=6, width=8, refusals=0.1):
        super().__init__()
        self.random, self.width = random.Random(seed), width
        self.inputs = self.random.choice((1, 1, 2))
        self.pieces, self.calls = nn.ModuleList(), []
        self.expected, self.refused = Counter(input=self.inputs), False
        self.stems = nn.ModuleList(self._conv(3) for _ in range(self.inputs))
        if self.inputs == 2:
            self.expected["sum"] += 1
        for _ in range(count):
            if self.random.random() < refusals:
                self.calls.append(self.random.choice(REFUSED))
                self.refused = True
            else:
                self.calls.append(self._piece())
        self.last = self._conv(width)
        self.example = tuple(torch.zeros(2, 3, 8, 8) for _ in range(self.inputs))

    def forward(self, x, y=None):
        h = self.stems[0](x)
        h = h if y is None else h + self.stems[1](y)
        for call in self.calls:
            h = call(h)
        return self.last(h)

    def _conv(self, channels, out=None):
        self.expected["affine"] += 1
        size = self.random.choice((1, 3))
        return nn.Conv2d(channels, out or self.width, size, padding=size // 2)

    def _kept(self, module):
        self.pieces.append(module)
        return module

    def _own(self, call):
        """A module becomes a part of the model, so that it follows its mode."""
        return self._kept(copy.deepcopy(call)) if isinstance(call, nn.Module) else call

    def _layer(self):
        conv = self._kept(self._conv(self.width))
        if self.random.random() < 0.5:
            return conv
        return lambda h: F.conv2d(h, conv.weight, conv.bias, padding=conv.padding)

    def _activation(self):
        self.expected["activation"] += 1
        return self._own(self.random.choice(ACTIVATIONS))

    def _residual(self):
        act, layer, add = self._activation(), self._layer(), self.random.choice(SUMS)
        self.expected["sum"] += 1
        return lambda h: add(layer(act(h.clone())), h)

    def _concatenated(self):
        layer, mixed = self._layer(), self._kept(self._conv(2 * self.width))
        self.expected["concat"] += 1
        return lambda h: mixed(torch.cat([layer(h), h], 1))

    def _norm(self):
        kind = self.random.choice(("layer_norm", "batch_norm", "group_norm"))
        self.expected["batch_norm" if kind == "batch_norm" else "layer_norm"] += 1
        if kind == "layer_norm":
            norm = self._kept(nn.LayerNorm(self.width))
            return lambda h: norm(h.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self._kept(nn.BatchNorm2d(self.width) if kind == "batch_norm" else nn.GroupNorm(1, self.width))

    def _pool(self):
        kind = self.random.choice(("max_pool", "mean_pool"))
        self.expected[kind] += 1
        if kind == "max_pool":
            return self.random.choice((nn.MaxPool2d(3, 1, 1), lambda h: F.max_pool2d(h, 3, 1, 1)))
        return self.random.choice((nn.AvgPool2d(3, 1, 1), lambda h: F.avg_pool2d(h, 3, stride=1, padding=1)))

    def _scale(self):
        self.expected["scale"] += 1
        return self.random.choice((lambda h: 2 * h, lambda h: h / 3, torch.neg))

    def _resized(self):
        down, up = self._kept(nn.Conv2d(self.width, self.width, 3, 2, 1)), self._own(self.random.choice(UPSAMPLINGS))
        self.expected.update(affine=1, upsample=1, sum=1)
        return lambda h: up(down(h)) + h

    def _transparent(self):
        return self._own(self.random.choice(TRANSPARENT))

    def _piece(self):
        after = getattr(self, "bent", False)
        kinds = [self._layer, self._residual, self._concatenated, self._norm, self._pool, self._transparent]
        kinds.append(self._resized)
        # Activations in a row, and multiples of written-out ones, may fuse, so they are left out.
        kinds += [] if after else [self._activation, self._scale]
        kind = self.random.choice(kinds)
        self.bent = kind == self._activation or (after and kind == self._transparent)
        return kind()
