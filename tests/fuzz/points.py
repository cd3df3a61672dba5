"""Models and trajectories as safetensors: absurd headers, tensors that do not fit, pickles, and damaged files."""

from __future__ import annotations

import json
import pickle

import safetensors.torch
import torch
from hypothesis import strategies as st

from landscapes import LANDSCAPES
from ravine.points import points
from tests.fuzz.door import Door
from tests.fuzz.hostile import CODE, TEXTS, mangled

_LAYOUT = LANDSCAPES["mlp"](data="chebyshev", hidden=(3,), objective="squared").layout
_NAMES = [block.name for block in _LAYOUT.blocks]
_DTYPES = ["F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "C64", "U64", "F4", "X", ""]
_SIZES = st.integers(0, 12) | st.sampled_from([_LAYOUT.dim, -1, 2**31, 2**63, 2**64, 1.5, None, "3", True])
_OFFSETS = st.integers(0, 200) | st.sampled_from([-1, 2**63 - 1, 2**64, None])
_TENSOR = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(_DTYPES),
        "shape": st.lists(_SIZES, max_size=4),
        "data_offsets": st.lists(_OFFSETS, max_size=3),
    }
)
_NAMED = st.sampled_from([*_NAMES, "params", "__metadata__", *TEXTS])
_DEEP = st.integers(1, 3000).map(lambda depth: {"params": json.loads("[" * min(depth, 900) + "]" * min(depth, 900))})


class _Program:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (CODE[0],)


def _file(parts: tuple[object, bytes, int]) -> bytes:
    header, body, odd = parts
    text = json.dumps(header).encode()
    return (len(text) + odd).to_bytes(8, "little", signed=False) + text + body


_ODD = st.just(0) | st.sampled_from([1, 2**20, 2**62])
_HEADERS = st.dictionaries(_NAMED, _TENSOR | st.sampled_from(TEXTS), max_size=6) | _DEEP
_HEADED = st.tuples(_HEADERS, st.binary(max_size=300), _ODD).map(_file)


@st.composite
def _saved(draw):
    """A file as it should be, but for the numbers and the shapes."""
    kind = draw(
        st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.complex64])
    )
    filling = draw(st.sampled_from([0.5, float("nan"), float("inf"), 1e300, -1.0, 0.0]))
    if draw(st.booleans()):
        shape = draw(st.lists(st.sampled_from([0, 1, 2, _LAYOUT.dim]), max_size=3))
        tensors = {"params": torch.full(shape, 0.5).to(kind)}
    else:
        tensors = {block.name: torch.full(block.shape, 0.25).to(kind) for block in _LAYOUT.blocks}
        for name in draw(st.lists(st.sampled_from(_NAMES), max_size=2)):
            tensors[name] = tensors[name].reshape(draw(st.sampled_from([(-1,), (1, -1), (-1, 1, 1)])))
        for name in draw(st.lists(st.sampled_from(_NAMES), max_size=1)):
            tensors[name] = torch.full(tensors[name].shape, 0.5, dtype=torch.float64) * filling
    return safetensors.torch.save(tensors)


def _read(data: bytes) -> torch.Tensor:
    return points(data, _LAYOUT)


def _sound(found: torch.Tensor) -> None:
    assert found.ndim == 2
    assert found.shape[1] == _LAYOUT.dim
    assert found.dtype == torch.float64
    assert bool(torch.isfinite(found).all())
    kept = safetensors.torch.save({"params": found})
    assert torch.equal(points(kept, _LAYOUT), found)


_PROGRAMS = st.sampled_from([pickle.dumps(_Program(), protocol) for protocol in range(6)])
POINTS = Door(
    "points",
    _saved() | mangled(_saved()) | _HEADED | mangled(_HEADED) | _PROGRAMS | mangled(_PROGRAMS) | st.binary(),
    _read,
    _sound,
    seconds=0.25,
    memory=256 << 20,
)
