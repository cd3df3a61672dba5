"""Real images: the digits that come with scikit-learn, and standard files that a user has in a folder of their own.

The folder is named by the environment variable RAVINE_DATA. It may be laid out as torchvision leaves it, and the files
of the MNIST family may be compressed. CIFAR-10 is read in its binary version or in its Python version.
"""

from __future__ import annotations

import gzip
import os
from functools import lru_cache
from importlib.util import find_spec
from io import BufferedReader
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from landscapes.data import files
from landscapes.data.source import Samples, Source

VARIABLE = "RAVINE_DATA"


def _digits(seed: int) -> Samples:
    # What sklearn.datasets.load_digits reads; to import that takes a second, and links name digits before anything is computed.
    found = find_spec("sklearn")
    assert found is not None
    assert found.submodule_search_locations
    table = np.loadtxt(Path(found.submodule_search_locations[0], "datasets", "data", "digits.csv.gz"), delimiter=",")
    images, labels = table[:, :-1], table[:, -1].astype(np.int64)
    return Samples(torch.from_numpy(images).view(-1, 1, 8, 8) / 16, torch.from_numpy(labels))


def _found(name: str, wanted: tuple[str, ...]) -> Path:
    """The first of the wanted paths below the user's folder. Raises ValueError with a sentence where there is none."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise ValueError(
            f"{name} is read from your own copy of its files: set the environment variable {VARIABLE} to the folder "
            f"that holds {wanted[0]}."
        )
    for path in wanted:
        if (Path(folder) / path).is_file():
            return Path(folder) / path
    raise ValueError(f"{name} needs the file {wanted[0]} in the folder that {VARIABLE} names, and it is not there.")


def _idx_path(name: str, folders: tuple[str, ...], stem: str) -> Path:
    return _found(name, tuple(f"{folder}/{stem}{end}" for folder in folders for end in ("", ".gz")))


def _opened(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _mnist(name: str, folders: tuple[str, ...], title: str, reference: str) -> Source:
    """A data set in the four files of MNIST."""

    def pair(part: str) -> tuple[Tensor, Tensor]:
        held = []
        for stem, ndim in ((f"{part}-images-idx3-ubyte", 3), (f"{part}-labels-idx1-ubyte", 1)):
            with _opened(_idx_path(name, folders, stem)) as file:
                held.append(files.idx(file.read(), stem, ndim))
        return files.checked(name, held[0][:, None], held[1], (1, 28, 28), 10)

    def count() -> int:
        with _opened(_idx_path(name, folders, "train-labels-idx1-ubyte")) as file:
            return int.from_bytes(file.read(8)[4:], "big")

    return Source(
        name, f"{title}, from files of your own.", reference, (1, 28, 28), 10, True,
        lambda seed: Samples(*pair("train"), pair("t10k")), count, large=True,
    )  # fmt: skip


_CIFAR_SHAPE = (3, 32, 32)
_CIFAR_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))


def _cifar_path(name: str) -> Path:
    return _found("cifar10", (f"cifar-10-batches-bin/{name}.bin", f"cifar-10-batches-py/{name}"))


def _cifar_batch(path: Path) -> tuple[Tensor, Tensor]:
    read = files.cifar_binary if path.suffix == ".bin" else files.cifar_pickle
    return files.checked("cifar10", *read(path.read_bytes(), path.name), _CIFAR_SHAPE, 10)


def _cifar10(seed: int) -> Samples:
    batches = [_cifar_batch(_cifar_path(name)) for name in _CIFAR_BATCHES]
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return Samples(images, labels, _cifar_batch(_cifar_path("test_batch")))


def _cifar_count() -> int:
    paths = [_cifar_path(name) for name in _CIFAR_BATCHES]
    return sum(_batch_count(path, path.stat().st_mtime_ns) for path in paths)


@lru_cache(maxsize=16)
def _batch_count(path: Path, changed: int) -> int:
    return len(_cifar_batch(path)[1])


DIGITS = Source(
    "digits", "1,797 handwritten digits of 8 x 8 pixels.",
    "Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI (test set)",
    (1, 8, 8), 10, True, _digits, lambda: 1797,
)  # fmt: skip
MNIST = _mnist(
    "mnist", ("mnist", "MNIST/raw"), "Handwritten digits of 28 x 28 pixels",
    "LeCun et al. 1998, Gradient-based learning applied to document recognition",
)  # fmt: skip
FASHION_MNIST = _mnist(
    "fashion_mnist", ("fashion_mnist", "FashionMNIST/raw"), "Pieces of clothing, 28 x 28 pixels",
    "Xiao et al. 2017, arXiv:1708.07747",
)  # fmt: skip
CIFAR10 = Source(
    "cifar10", "Colour photographs of 32 x 32 pixels, from files of your own.",
    "Krizhevsky 2009, Learning multiple layers of features from tiny images", _CIFAR_SHAPE, 10, True,
    _cifar10, _cifar_count, large=True,
)  # fmt: skip
