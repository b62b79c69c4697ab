"""Random changes of images, as functions of the images and of uniform random numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from qcmap.nn.train._examples import Augmentation


def mirrored(images: Tensor, draws: Tensor) -> Tensor:
    """Images [b, colours, height, width] mirrored left to right where the number [b] is below 1/2."""
    return torch.where((draws < 0.5)[:, None, None, None], images.flip(3), images)


def shifted(images: Tensor, draws: Tensor, reach: int) -> Tensor:
    """Images moved by up to ``reach`` pixels in each direction, zeros outside; ``draws`` is [b, 2]."""
    count, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (reach,) * 4)
    corner = (draws * (2 * reach + 1)).long()
    rows = corner[:, :1] + torch.arange(height, device=images.device)
    columns = corner[:, 1:] + torch.arange(width, device=images.device)
    which = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def crop_and_mirror(reach: int = 4) -> Augmentation:
    """The usual augmentation of CIFAR-10: shifts by up to four pixels, and mirror images."""
    return Augmentation(3, lambda images, draws: mirrored(shifted(images, draws[:, :2], reach), draws[:, 2]))
