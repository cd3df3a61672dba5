"""Data sets from a user's own files, on tiny files in the same formats; what is broken is refused in one sentence."""

import gzip
import os
import pickle
import struct

import numpy as np
import pytest
import torch

from landscapes import MLP
from landscapes.data import DATA, Recipe, files
from landscapes.data.recipe import _few

SHARED = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RAVINE_DATA", str(tmp_path))
    yield
    _few.cache_clear()  # what was read from this folder


def idx(array):
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_mnist(folder, train=12, test=5, opened=open, end=""):
    """Files as the authors publish them; returns the arrays."""
    folder.mkdir(parents=True)
    held = {}
    for part, count in (("train", train), ("t10k", test)):
        images, labels = SHARED.integers(0, 256, (count, 28, 28)), SHARED.integers(0, 10, count)
        for stem, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            with opened(folder / (stem + end), "wb") as file:
                file.write(idx(array))
        held[part] = images, labels
    return held


CIFAR = {**{f"data_batch_{number}": 3 for number in range(1, 6)}, "test_batch": 2}


def cifar_arrays():
    return {
        name: (SHARED.integers(0, 256, (count, 3072)).astype(np.uint8), SHARED.integers(0, 10, count))
        for name, count in CIFAR.items()
    }


def python_pickle(data, labels):
    """As Python 2 wrote the batches: protocol 2, the keys and the array's bytes as byte strings."""
    return pickle.dumps({b"batch_label": b"one", b"labels": labels.tolist(), b"data": data}, protocol=2)


def write_cifar(folder, arrays, how):
    folder.mkdir(parents=True)
    for name, (data, labels) in arrays.items():
        if how == "binary":
            records = np.concatenate([labels[:, None].astype(np.uint8), data], axis=1)
            (folder / f"{name}.bin").write_bytes(records.tobytes())
        else:
            (folder / name).write_bytes(python_pickle(data, labels))


@pytest.mark.parametrize(
    ("name", "place", "opened", "end"),
    [
        ("mnist", "mnist", open, ""),
        ("mnist", "MNIST/raw", gzip.open, ".gz"),
        ("fashion_mnist", "fashion_mnist", gzip.open, ".gz"),
        ("fashion_mnist", "FashionMNIST/raw", open, ""),
    ],
)
def test_the_files_of_mnist_are_read(tmp_path, name, place, opened, end):
    held = write_mnist(tmp_path / place, opened=opened, end=end)
    made = Recipe(name, form="image").make()
    images, labels = held["train"]
    assert DATA[name].count() == 12
    np.testing.assert_allclose(made.inputs[:, 0], images / 255, rtol=1e-15)
    assert made.targets.argmax(-1).tolist() == labels.tolist()
    np.testing.assert_allclose(made.test_inputs[:, 0], held["t10k"][0] / 255, rtol=1e-15)
    assert made.test_targets.argmax(-1).tolist() == held["t10k"][1].tolist()


@pytest.mark.parametrize(("how", "place"), [("binary", "cifar-10-batches-bin"), ("python", "cifar-10-batches-py")])
def test_both_versions_of_cifar_are_read(tmp_path, how, place):
    arrays = cifar_arrays()
    write_cifar(tmp_path / place, arrays, how)
    made = Recipe("cifar10", form="image").make()
    assert DATA["cifar10"].count() == len(made.inputs) == 15
    data, labels = (np.concatenate(parts) for parts in list(zip(*arrays.values(), strict=True)))
    np.testing.assert_allclose(made.inputs, data[:15].reshape(-1, 3, 32, 32) / 255, rtol=1e-15)
    assert made.targets.argmax(-1).tolist() == labels[:15].tolist()
    np.testing.assert_allclose(made.test_inputs, data[15:].reshape(-1, 3, 32, 32) / 255, rtol=1e-15)


def test_a_network_learns_from_own_files(tmp_path):
    write_mnist(tmp_path / "mnist")
    land = MLP(data="mnist", hidden=(4,), subset=8)
    params = land.start()[0]
    assert land.samples == 8
    assert land.test_set(params)[0].shape == (5, 784)
    before, grad = land.value_and_grad(params)
    assert land.loss(params - 0.01 * grad) < before


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_missing_files_are_one_sentence(monkeypatch, name):
    with pytest.raises(
        ValueError, match=rf"^{name} needs the file .* in the folder that RAVINE_DATA names, and it is not there\.$"
    ):
        MLP(data=name)
    monkeypatch.delenv("RAVINE_DATA")
    with pytest.raises(
        ValueError, match=rf"^{name} is read from your own copy .* RAVINE_DATA to the folder that holds .*\.$"
    ):
        MLP(data=name)


BROKEN_IDX = {
    "nothing": b"",
    "a short head": b"\0\0\x08\x03\0\0",
    "floats": b"\0\0\x0d\x01\0\0\0\x01\0",
    "other dimensions": idx(np.zeros((2, 2))),
    "too little": idx(np.zeros((2, 28, 28)))[:-1],
    "too much": idx(np.zeros((2, 28, 28))) + b"\0",
    "an enormous claim": b"\0\0\x08\x03" + b"\xff" * 12 + b"\0",
}


@pytest.mark.parametrize("content", BROKEN_IDX.values(), ids=BROKEN_IDX)
def test_a_broken_idx_file_is_refused(content):
    with pytest.raises(ValueError, match=r"^images (is not an idx file|says that it holds) .*\.$"):
        files.idx(content, "images", 3)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    write_mnist(tmp_path / "mnist")
    labels = tmp_path / "mnist" / "train-labels-idx1-ubyte"
    labels.write_bytes(idx(np.zeros(11)))
    with pytest.raises(ValueError, match=r"^The files of mnist hold images \(12, 1, 28, 28\) and 11 labels: .*\.$"):
        Recipe("mnist").make()
    labels.write_bytes(idx(np.full(12, 10)))
    with pytest.raises(ValueError, match=r"^The files of mnist hold a label outside 0 .. 9\.$"):
        Recipe("mnist").make()


class Payload:
    """Runs a command when it is unpickled without care."""

    def __reduce__(self):
        return os.system, ("true",)


DATA_PART = np.zeros((2, 3072), dtype=np.uint8)
BROKEN_PICKLES = {
    "nothing": b"",
    "not a pickle": b"hello",
    "cut": python_pickle(DATA_PART, np.zeros(2, dtype=int))[:-50],
    "a command": pickle.dumps({b"data": Payload(), b"labels": []}, protocol=2),
    "a call of eval": b"c__builtin__\neval\n(S'1'\ntR.",
    "an attribute of numpy": b"cnumpy\nfromfile\n(S'/etc/passwd'\ntR.",
    "no labels": pickle.dumps({b"data": DATA_PART}, protocol=2),
    "fewer labels": python_pickle(DATA_PART, np.zeros(1, dtype=int)),
    "other pixels": python_pickle(DATA_PART[:, :100], np.zeros(2, dtype=int)),
    "floats": python_pickle(DATA_PART.astype(float), np.zeros(2, dtype=int)),
    "a list": pickle.dumps([1, 2], protocol=2),
}


@pytest.mark.parametrize("content", BROKEN_PICKLES.values(), ids=BROKEN_PICKLES)
def test_a_broken_or_hostile_pickle_is_refused(content, monkeypatch):
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("the command was run"))
    with pytest.raises(ValueError, match=r"^batch is not a CIFAR-10 batch in its Python version\.$"):
        files.cifar_pickle(content, "batch")


def test_pickles_of_every_protocol_are_read():
    data, labels = cifar_arrays()["test_batch"]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        content = pickle.dumps({"data": data, "labels": labels.tolist()}, protocol=protocol)
        if protocol == 5:  # arrays go through a function of numpy's own there, which the published files never use
            with pytest.raises(ValueError, match="Python version"):
                files.cifar_pickle(content, "batch")
            continue
        images, classes = files.cifar_pickle(content, "batch")
        assert torch.equal(images.flatten(1), torch.from_numpy(data))
        assert classes.tolist() == labels.tolist()


def test_a_binary_batch_of_another_size_is_refused():
    for content in (b"", bytes(3072), bytes(3074)):
        with pytest.raises(
            ValueError, match=r"^batch is not a CIFAR-10 batch: its size is no multiple of 3073 bytes\.$"
        ):
            files.cifar_binary(content, "batch")
