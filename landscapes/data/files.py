"""Readers of the standard files: the idx format of MNIST, and CIFAR-10's binary and Python batches.

The files come from elsewhere, so nothing in them is trusted: sizes are checked before use, and a pickle may hold arrays, texts and
lists and nothing else. What does not read raises ValueError with a sentence that names the file.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np
import torch
from torch import Tensor

_CIFAR_PIXELS = 3 * 32 * 32


def idx(content: bytes, name: str, ndim: int) -> Tensor:
    """An idx file of unsigned bytes: two zero bytes, type 8, the number of dimensions, each size as 4 bytes, the data."""
    head = 4 + 4 * ndim
    if len(content) < head or content[:4] != bytes((0, 0, 8, ndim)):
        raise ValueError(f"{name} is not an idx file of unsigned bytes in {ndim} dimension{'s'[: ndim > 1]}.")
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, head, 4)]
    if len(content) != head + math.prod(shape):
        raise ValueError(f"{name} says that it holds {' x '.join(map(str, shape))} bytes and does not.")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=head).copy()).view(*shape)


def cifar_binary(content: bytes, name: str) -> tuple[Tensor, Tensor]:
    """Records of one byte for the class and 3,072 for the pixels, plane by plane."""
    if not content or len(content) % (1 + _CIFAR_PIXELS):
        raise ValueError(f"{name} is not a CIFAR-10 batch: its size is no multiple of {1 + _CIFAR_PIXELS} bytes.")
    records = torch.from_numpy(np.frombuffer(content, np.uint8).copy()).view(-1, 1 + _CIFAR_PIXELS)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


class _Arrays(pickle.Unpickler):
    """Reads dictionaries, lists, numbers, texts and numpy arrays; refuses anything else, above all code."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct"):
                return np.empty(0).__reduce__()[0]
            case ("numpy", "ndarray"):
                return np.ndarray
            case ("numpy", "dtype"):
                return np.dtype
            case ("_codecs", "encode"):
                return _encoded
        raise pickle.UnpicklingError(f"{module}.{name}")


def _encoded(text: str, encoding: str) -> bytes:
    """How Python 3 pickles bytes in the protocol of Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(encoding)
    return text.encode("latin1")


def cifar_pickle(content: bytes, name: str) -> tuple[Tensor, Tensor]:
    """A pickled dictionary with `data`, bytes (n, 3072), and `labels`, n class numbers."""
    try:
        held = _Arrays(io.BytesIO(content), encoding="bytes").load()
        data, labels = (held[key] if key in held else held[key.decode()] for key in (b"data", b"labels"))
        classes = np.asarray(labels, dtype=np.int64)
        if (
            data.dtype != np.uint8
            or data.ndim != 2
            or data.shape[1] != _CIFAR_PIXELS
            or classes.shape != data.shape[:1]
        ):
            raise ValueError("other arrays")
    except Exception as cause:  # a broken or hostile pickle may raise anything
        raise ValueError(f"{name} is not a CIFAR-10 batch in its Python version.") from cause
    return torch.from_numpy(data.copy()).view(-1, 3, 32, 32), torch.from_numpy(classes)


def checked(name: str, images: Tensor, labels: Tensor, shape: tuple[int, ...], classes: int) -> tuple[Tensor, Tensor]:
    """Images (n, *shape) and class numbers (n,). Raises ValueError where files do not fit together."""
    if tuple(images.shape[1:]) != shape or len(images) != len(labels) or not len(labels):
        raise ValueError(
            f"The files of {name} hold images {tuple(images.shape)} and {len(labels)} labels: "
            f"they must be {' x '.join(map(str, shape))} each, as many as labels."
        )
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(f"The files of {name} hold a label outside 0 .. {classes - 1}.")
    return images, labels.long()
