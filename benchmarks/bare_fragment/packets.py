"""The packets of an experiment and the figure of a training, computed once."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

from ravine import Experiment, compute
from ravine.picture import descend_view, surface_field

ROOT = Path(__file__).resolve().parents[2]


@cache
def packets(link: str) -> tuple[bytes, bytes, int]:
    """The field's packet, the runs' packet with room for a counter in its header, and where that counter stands."""
    experiment, refused = Experiment.from_url("/?" + link)
    assert not refused, refused
    identity, field = surface_field(experiment.landscape)
    plain = descend_view(compute(experiment), identity)
    (length,) = struct.unpack("<I", plain[:4])
    header = plain[4 : 4 + length].rstrip()[:-1] + b', "count": 100000}'
    header += b" " * (-len(header) % 4)
    return field, struct.pack("<I", len(header)) + header + plain[4 + length :], 4 + header.index(b"100000")


@cache
def figure() -> str:
    """A figure with as many points as the Edge page opens with, of a network that trains in a moment."""
    link = "/edge?v=1&land=mlp&land.data=chebyshev&land.hidden=4&land.objective=squared&opt1=gd&opt1.lr=0.2&steps=500&every=5"
    experiment, refused = Experiment.from_url(link)
    assert not refused, refused
    return compute(experiment).figure().to_json()
