"""Data sets: official formats, splits, augmentations, and files that are missing, truncated or others."""

from __future__ import annotations

import gzip
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from qcmap.errors import ArgumentError, DataError
from qcmap.nn import pln
from qcmap.nn.train import Choice, Settings, Trainer, data
from tests.image_files import write_cifar10, write_mnist


@pytest.fixture
def mnist(tmp_path):
    """Thirty images to train and to test, some files packed."""
    write_mnist(tmp_path, (30, 30))
    labels = tmp_path / "train-labels-idx1-ubyte"
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels.read_bytes()))
    labels.unlink()
    return tmp_path


@pytest.fixture
def cifar(tmp_path):
    """Eight images in each batch, and the rows they are made of."""
    return tmp_path, np.stack(write_cifar10(tmp_path, (8,) * 6))


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    splits = data.digits(seed=4)
    sizes = [len(part) for _, part in splits.parts()]
    assert sizes == [1078, 360, 359]
    seen = torch.cat([part.prepared(part.inputs)[:, :64] for _, part in splits.parts()])
    expected = pln(torch.tensor(load_digits().data, dtype=torch.float32))[:, :64]
    order = [tensor.sum(1).argsort() for tensor in (seen, expected)]
    assert torch.allclose(seen[order[0]].sum(0), expected[order[1]].sum(0), rtol=1e-4)
    assert data.digits(pln=False, flat=False).example().shape == (1, 1, 8, 8)
    q_values = splits.example().square().mean(1)
    assert torch.allclose(q_values, torch.ones(1), atol=1e-5)


def test_mnist_in_its_format(mnist):
    train, test = data.read_mnist(mnist, official=False)
    raw = np.frombuffer((mnist / "train-images-idx3-ubyte").read_bytes()[16:], dtype=np.uint8)
    assert (train.pixels.ravel() == raw).all()
    assert (train.labels == np.arange(30) % 10).all()
    assert (test.labels == train.labels).all()
    splits = data.mnist(folder=str(mnist), official=False, validation=10, train=15)
    assert [len(part) for _, part in splits.parts()] == [15, 10, 30]
    assert splits.example().shape == (1, 785)
    whole = data.mnist(folder=str(mnist), official=False, validation=10, pln=False).train
    inputs = whole.prepared(whole.inputs)
    assert abs(float(inputs.mean())) < 1e-5
    assert float(inputs.std()) == pytest.approx(1, abs=1e-3)


def test_files_of_mnist_that_are_missing_truncated_or_not_official(mnist):
    with pytest.raises(
        DataError, match=r"has \d+ bytes, but the official file has 47040016; fetch it anew, or say off"
    ):
        data.read_mnist(mnist)
    packed = mnist / "train-labels-idx1-ubyte.gz"
    whole = packed.read_bytes()
    packed.write_bytes(whole[:-9])
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.gz: it cannot be read, it may be truncated"):
        data.read_mnist(mnist, official=False)
    packed.write_bytes(whole)
    test = mnist / "t10k-labels-idx1-ubyte"
    test.write_bytes(test.read_bytes()[:-1])
    with pytest.raises(DataError, match="it is no MNIST file of bytes, or a truncated one"):
        data.read_mnist(mnist, official=False)
    test.unlink()
    with pytest.raises(DataError, match=r"it is not there; put the official t10k-labels-idx1-ubyte of MNIST .* into"):
        data.read_mnist(mnist, official=False)


def test_a_file_of_the_official_size_with_another_hash(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"\0" * 64)[:40])
    from qcmap.nn.train.data._files import check_official

    path = tmp_path / "some"
    path.write_bytes(b"hello")
    check_official(path, 5, "5d41402abc4b2a76b9719d911017c592")
    with pytest.raises(DataError, match="its MD5 hash is 5d41402abc4b2a76b9719d911017c592, but that of the official"):
        check_official(path, 5, "0" * 32)


def test_labels_of_the_official_data_lie_below_ten():
    """A file may have the official size and another content."""
    found = data.Images(np.zeros((3, 2, 2, 1), np.uint8), np.array([0, 9, 10]))
    found[:2].check("here", 10)
    found.check("here")
    with pytest.raises(DataError, match=r"here: it has a label 10, but classes are 0 \.\. 9"):
        found.check("here", 10)


def test_cifar_in_its_format(cifar):
    folder, rows = cifar
    train, test = data.read_cifar10(folder, official=False)
    assert train.pixels[11, 5, 7, 1] == rows[1, 3, 1 + 1024 + 32 * 5 + 7]  # green at row 5, column 7
    assert (test.labels == rows[5, :, 0]).all()
    splits = data.cifar10(folder=str(folder), official=False, validation=8)
    assert splits.example().shape == (1, 4, 32, 32)
    inputs = splits.train.prepared(splits.train.inputs)
    assert torch.allclose(inputs.square().mean(1), torch.ones(32, 32, 32), atol=1e-4)  # PLN
    with pytest.raises(DataError, match="has 24584 bytes, but the official file has 30730000"):
        data.read_cifar10(folder)
    (folder / "cifar-10-batches-bin" / "data_batch_3.bin").write_bytes(b"x" * 4000)
    with pytest.raises(DataError, match="3073-byte records, or a truncated one"):
        data.read_cifar10(folder, official=False)


def test_cifar_from_its_archive(cifar):
    folder, rows = cifar
    archive = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as files:
        files.add(folder / "cifar-10-batches-bin", "cifar-10-batches-bin")
    for path in (folder / "cifar-10-batches-bin").iterdir():
        path.unlink()
    (folder / "cifar-10-batches-bin").rmdir()
    train, _ = data.read_cifar10(folder, official=False)
    assert (train.labels == rows[:5, :, 0].ravel()).all()
    with pytest.raises(DataError, match="the official file has 170052171"):
        data.read_cifar10(folder)
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"cifar-10-binary.tar.gz: it cannot be read, it may be truncated"):
        data.read_cifar10(folder, official=False)
    archive.unlink()
    with pytest.raises(
        DataError,
        match=r"it is not there; unpack the official cifar-10-binary.tar.gz beside it, so that .* has data_batch_1",
    ):
        data.read_cifar10(folder)


def test_shifts_and_mirror_images():
    images = torch.arange(2 * 3 * 5 * 6, dtype=torch.float32).reshape(2, 3, 5, 6)
    still = torch.full((2, 2), 0.5)
    assert torch.equal(data.shifted(images, still, 2), images)
    moved = data.shifted(images, torch.tensor([[0.0, 0.5], [0.5, 0.99]]), 2)
    assert torch.equal(moved[0, :, 2:], images[0, :, :-2])
    assert bool((moved[0, :, :2] == 0).all())
    assert torch.equal(moved[1, :, :, :-2], images[1, :, :, 2:])
    flipped = data.mirrored(images, torch.tensor([0.1, 0.6]))
    assert torch.equal(flipped[0], images[0].flip(2))
    assert torch.equal(flipped[1], images[1])


@pytest.fixture
def folders(tmp_path):
    """Two classes, told apart by colour, in folders like those of ImageNet."""
    random = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4)):
        for number, name in enumerate(("n01", "n02")):
            (tmp_path / part / name).mkdir(parents=True)
            for k in range(count):
                pixels = random.integers(0, 80, (20 + k, 30, 3)).astype(np.uint8)
                pixels[..., number] += 150
                Image.fromarray(pixels).save(tmp_path / part / name / f"image{k:02}.JPEG")
    return tmp_path


def test_image_folders_train_and_name_a_damaged_file(folders):
    splits = data.imagenet(folder=str(folders), official=False, size=16, validation=4)
    assert [len(part) for _, part in splits.parts()] == [20, 4, 8]
    assert splits.example().shape == (1, 4, 16, 16)
    model = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(4, 2))
    chosen = Settings(epochs=3, batch_size=7, optimizer=Choice("adam", learning_rate=0.5))
    result = Trainer(model, splits, chosen).train()
    assert result.curve("test.accuracy")[-1] == 1.0
    same = [splits.train.batch(torch.arange(3), torch.full((3, 5), 0.3))[0] for _ in range(2)]
    assert torch.equal(*same)
    assert not torch.equal(same[0], splits.train.batch(torch.arange(3), torch.full((3, 5), 0.7))[0])
    damaged = splits.test.paths[3]
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"{damaged.name}: it is no whole image"):
        Trainer(model, splits, chosen).train()
    with pytest.raises(ArgumentError, match="seed: a seed is an integer"):
        data.imagenet(folder=str(folders), seed=-1)
    with pytest.raises(ArgumentError, match=r"data.size: it must be positive, not 0"):
        data.imagenet(folder=str(folders), size=0)
    with pytest.raises(DataError, match="24 images in 2 classes, but ImageNet has 1281167 in 1000"):
        data.imagenet(folder=str(folders))
    with pytest.raises(DataError, match=r"it is not there; unpack ImageNet's images into .*train/CLASS"):
        data.imagenet(folder=str(folders / "none"))


def test_a_crop_is_the_middle_or_random():
    from qcmap.nn.train.data._imagenet import _middle_box, _random_box

    assert _middle_box(160, 80) == (45.0, 5.0, 115.0, 75.0)
    random = np.random.default_rng(0)
    for draws in random.uniform(size=(200, 5)).tolist():
        left, top, right, bottom = _random_box(160, 80, draws)
        assert 0 <= left < right <= 160 + 1e-9
        assert 0 <= top < bottom <= 80 + 1e-9
        assert (right - left) * (bottom - top) <= 160 * 80 * (0.08 + 0.92 * draws[0]) + 1e-6


def test_a_teacher_gives_what_it_makes_of_the_inputs():
    numbers, classes = (data.teacher(examples=40, channels=6, outputs=3, classes=c, pln=False) for c in (False, True))
    assert torch.equal(numbers.train.inputs, classes.train.inputs)
    assert torch.equal(numbers.train.targets.argmax(1), classes.train.targets)
    assert not torch.equal(numbers.train.inputs, data.teacher(examples=40, channels=6, seed=1, pln=False).train.inputs)
    assert [len(part) for _, part in numbers.parts()] == [40, 10, 10]


def test_refused_options():
    with pytest.raises(ArgumentError, match=r"data.examples: it must be positive, not 0"):
        data.teacher(examples=0)
    with pytest.raises(DataError, match="digits: there are 1078 training examples, not 2000; ask for fewer"):
        data.digits(train=2000)
    with pytest.raises(ArgumentError, match=r"data.pnl: there is no option 'pnl'; did you mean pln"):
        data.load_data(Choice("digits", pnl=True))
