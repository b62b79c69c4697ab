"""Small torch models in the styles of users, shared by the tests of shaping."""

import torch
from torch import nn
from torch.nn import functional


class PreActivation(nn.Module):
    """A residual block with batch norms before its activations; reads the stream twice."""

    def __init__(self, channels, out, stride=1):
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(out)
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False) if stride > 1 or channels != out else None

    def forward(self, x):
        h = functional.silu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(h)
        h = self.conv1(h)
        return shortcut + self.conv2(functional.silu(self.norm2(h)))


class ResNet(nn.Module):
    """Three blocks, strides, max pooling in front and mean pooling at the end."""

    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.blocks = nn.Sequential(
            PreActivation(width, 2 * width, 2),
            PreActivation(2 * width, 2 * width),
            PreActivation(2 * width, 3 * width, 2),
        )
        self.norm = nn.BatchNorm2d(3 * width)
        self.head = nn.Linear(3 * width, 10)

    def forward(self, x):
        x = self.blocks(self.pool(self.stem(x)))
        return self.head(functional.silu(self.norm(x)).mean((2, 3)))


class Branches(nn.Module):
    """Sums in all spellings: nested, with multiplications, in place, a concatenation, dropout."""

    def __init__(self, width=12):
        super().__init__()
        self.inward = nn.Linear(width, width)
        self.a, self.b, self.c, self.d = (nn.Linear(width, width) for _ in range(4))
        self.act, self.dropout = nn.Tanh(), nn.Dropout(0.5)
        self.join, self.out = nn.Linear(2 * width, width), nn.Linear(width, 5)

    def forward(self, x):
        x = self.inward(x)
        h = self.act(x)
        total = (self.a(h) + 2.0 * self.b(h)) - torch.mul(self.c(h), 0.5)
        total = self.dropout(total) / 3
        u = self.act(total)
        return self.out(self.act(self.join(torch.cat([u, torch.tanh(self.d(u))], dim=-1))))


class Added(nn.Module):
    """Parameters added by hand: to the input of activations, between sums, after a reshape, one in two places."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.c, self.d, self.out = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 3)
        self.shift, self.inner = (nn.Parameter(torch.randn(8, 1, 1)) for _ in range(2))
        self.position, self.end = nn.Parameter(torch.randn(1, 36, 8)), nn.Parameter(torch.randn(8))

    def forward(self, x):
        h = self.b(functional.silu(self.a(x) + self.shift))
        g = self.c(functional.silu(h) + self.inner)
        h = (h + g + self.shift.view(1, 8, 1, 1)) * 0.5 + self.d(functional.silu(g))
        h = h.flatten(2).transpose(1, 2) + self.position
        return self.out(functional.silu(h).mean(1) - self.end)


def mlp(depth=10, width=16, act=nn.Softplus):
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), act())]
    return nn.Sequential(*layers, nn.Linear(width, 4))


def image(n=2, size=32):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))
