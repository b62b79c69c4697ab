"""ImageNet folders: one folder of image files for each class, read and cropped as they are needed."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qcmap.errors import DataError, MissingExtra
from qcmap.nn.train._examples import Examples
from qcmap.nn.train.data._images import Normalization

MEAN, DEVIATION = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
"""Of the colours of ImageNet's training images."""
COUNTS = {"train": 1281167, "val": 50000}
_ENDINGS = (".jpeg", ".jpg", ".png")
_AREA, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


@dataclass(frozen=True, eq=False)
class FolderExamples:
    """Image files [n] with labels; a batch is cropped to size x size bytes.

    To train on (``random``), a crop has between 8% and 100% of the area and sides in a ratio between 3/4 and 4/3, and
    is mirrored half of the time (Szegedy et al., 2015, as in DKS, 27.1); a crop that would stick out is cut to the
    image. To evaluate, the middle is taken, with 7/8 of the shorter side.
    """

    paths: tuple[Path, ...]
    targets: Tensor
    size: int
    random: bool
    preparation: Normalization
    threads: int = 2
    _readers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(min(16, os.cpu_count() or 1)))

    @property
    def draws(self) -> int:
        """Area, ratio, two places, mirror image."""
        return 5 if self.random else 0

    def __len__(self) -> int:
        return len(self.paths)

    def batch(self, indices: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Images [b, 3, size, size], bytes, and labels; raises `DataError`, naming the file, for a damaged one."""
        images = list(self._readers.map(self._read, indices.tolist(), uniforms.tolist()))
        return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy()), self.targets[indices]

    def prepared(self, inputs: Tensor) -> Tensor:
        """Normalised, with PLN if that is asked for."""
        return self.preparation(inputs)

    def placed(self, device: torch.device) -> FolderExamples:
        """The same: the files stay where they are."""
        return self

    def cast(self, dtype: torch.dtype) -> Examples:
        """The same, if the type is that of the normalised images."""
        if dtype != torch.float32:
            raise DataError("data", f"image files are read as float32, not {dtype}", "use a float32 model")
        return self

    def _read(self, index: int, draws: list[float]) -> np.ndarray:
        from PIL import Image

        path = self.paths[index]
        try:
            with Image.open(path) as image:
                whole = image.convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(str(path), f"it is no whole image ({error})", "fetch it anew") from error
        box = _random_box(*whole.size, draws) if self.random else _middle_box(*whole.size)
        crop = whole.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box)
        pixels = np.asarray(crop)
        return pixels[:, ::-1] if self.random and draws[4] < 0.5 else pixels


def _random_box(width: int, height: int, draws: list[float]) -> tuple[float, float, float, float]:
    area = width * height * (_AREA[0] + (_AREA[1] - _AREA[0]) * draws[0])
    low, high = map(math.log, _RATIO)
    ratio = math.exp(low + (high - low) * draws[1])
    wide, tall = min(width, math.sqrt(area * ratio)), min(height, math.sqrt(area / ratio))
    left, top = (width - wide) * draws[2], (height - tall) * draws[3]
    return left, top, left + wide, top + tall


def _middle_box(width: int, height: int) -> tuple[float, float, float, float]:
    side = min(width, height) * 7 / 8
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def image_files(folder: Path, part: str, *, official: bool) -> tuple[list[Path], list[int]]:
    """The image files in ``folder/part/CLASS/`` in alphabetical order, and their classes' numbers.

    Raises
    ------
    DataError
        If there is no such folder (the message says what to put where), or not the official number of classes or files.
    MissingExtra
        Without Pillow.
    """
    if find_spec("PIL") is None:
        raise MissingExtra("imagenet", "image files need Pillow", "pip install pillow")
    root = folder / part
    put = f"unpack ImageNet's images into {root}/CLASS/*.JPEG, a folder for each class such as n01440764"
    if not root.is_dir():
        raise DataError(str(root), "it is not there", put)
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    found = [
        (root / name / entry.name, number)
        for number, name in enumerate(classes)
        for entry in sorted(os.scandir(root / name), key=lambda entry: entry.name)
        if entry.name.lower().endswith(_ENDINGS)
    ]
    if not found:
        raise DataError(str(root), "it has no folders of images", put)
    if official and (len(classes) != 1000 or len(found) != COUNTS[part]):
        rule = f"it has {len(found)} images in {len(classes)} classes, but ImageNet has {COUNTS[part]} in 1000"
        raise DataError(str(root), rule, "complete it, or say official=False for other image folders")
    return [path for path, _ in found], [number for _, number in found]
