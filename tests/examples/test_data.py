"""The three parts of the data that experiments start from."""

import numpy as np
import pytest

from examples.data import SPLITS, check_files, load
from examples.neural_race.data import images
from qcmap.errors import ArgumentError, DataError
from qcmap.nn.train.data import _cifar10, _mnist, read_digits
from tests.image_files import write_cifar10, write_mnist


def test_digits_are_split_by_the_seed():
    one, other = (load("digits", None, 600, 300, seed=seed) for seed in (0, 1))
    assert [len(one[split]) for split in SPLITS] == [600, 300, 897]
    assert not np.array_equal(one["train"].labels, other["train"].labels)
    rows = np.concatenate([one[split].pixels for split in SPLITS]).reshape(1797, -1)
    whole = read_digits().pixels.reshape(1797, -1)
    assert np.array_equal(rows[np.lexsort(rows.T)], whole[np.lexsort(whole.T)])
    for sizes in ((1500, 297), (0, 5), (5, 0)):
        with pytest.raises(DataError, match="smaller sum"):
            load("digits", None, *sizes)


def test_files_give_their_first_and_last_examples(tmp_path):
    mnist, rows = write_mnist(tmp_path / "mnist", (30, 20)), write_cifar10(tmp_path, (8,) * 6)
    found = load("mnist", tmp_path, 20, 5, seed=3, official=False)
    assert found["train"].scaled()[..., 0] == pytest.approx(mnist["train"][0][:20] / 255, abs=1e-7)
    assert found["validation"].labels.tolist() == mnist["train"][1][-5:].tolist()
    assert found["test"].labels.tolist() == mnist["t10k"][1].tolist()
    found = load("cifar", tmp_path, 20, 4, test=6, official=False)
    pixel = rows[0][3, 1 + 1024 + 32 * 5 + 7] / 255  # green at row 5, column 7
    assert found["train"].scaled()[3, 5, 7, 1] == pytest.approx(pixel, abs=1e-7)
    assert found["train"].labels.tolist() == np.concatenate(rows[:3])[:20, 0].tolist()
    assert found["validation"].labels.tolist() == rows[4][-4:, 0].tolist()
    assert found["test"].labels.tolist() == rows[5][:6, 0].tolist()
    race = images("mnist", tmp_path, 15)
    assert [len(race[split]) for split in SPLITS] == [15, 3, 15]
    with pytest.raises(DataError, match="30 training examples are too few for 28"):
        load("mnist", tmp_path, 28, 3, official=False)


def test_official_files_have_their_sizes(tmp_path, monkeypatch):
    write_mnist(tmp_path / "mnist", (5, 5))
    write_cifar10(tmp_path, (5,) * 6)
    for name, official in (("mnist", "47040016"), ("cifar", "30730000")):
        with pytest.raises(DataError, match=f"the official file has {official}"):
            load(name, tmp_path, 3, 2)
    for path in (tmp_path / "mnist").iterdir():
        monkeypatch.setitem(_mnist._UNPACKED, path.name, path.stat().st_size)
    monkeypatch.setattr(_cifar10, "_BATCH", 5 * 3073)
    for name, count in (("mnist", 3), ("cifar", 20)):
        assert [len(part) for part in load(name, tmp_path, count, 2).values()] == [count, 2, 5]


def test_files_that_are_missing_are_named(tmp_path):
    for name in ("mnist", "cifar"):
        for folder in (None, ""):
            with pytest.raises(ArgumentError, match="name it with --data"):
                load(name, folder, 3, 2)
    with pytest.raises(DataError, match=r"put the official train-images-.*, t10k-labels-idx1-ubyte.*into .*mnist"):
        check_files("mnist", tmp_path)
    with pytest.raises(DataError, match=r"unpack the official cifar-10-binary.tar.gz .* data_batch_1.bin, .*test_b"):
        check_files("cifar", tmp_path)
    write_mnist(tmp_path / "mnist", (5, 5))
    assert check_files("mnist", str(tmp_path)) == tmp_path
