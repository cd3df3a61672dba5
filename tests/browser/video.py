"""Reads the text that a recorded video holds, as players do: WebM by RFC 8794 and RFC 9559, MP4 by ISO 14496-12."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

_SEGMENT, _CLUSTER, _TAGS, _TAG, _SIMPLE, _NAME, _STRING = (
    bytes.fromhex(text) for text in ("18538067", "1f43b675", "1254c367", "7373", "67c8", "45a3", "4487")
)
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def held(video: bytes) -> str:
    if video[4:8] == b"ftyp":
        (packet,) = (body[16:] for kind, body in _boxes(video) if kind == b"uuid" and body[:16] == _XMP)
        (text,) = ElementTree.fromstring(packet).itertext()
        return text
    (tags,) = (body for name, body in _elements(video) if name == _TAGS)
    ((_, tag),) = _elements(tags)
    (pair,) = (dict(_elements(body)) for name, body in _elements(tag) if name == _SIMPLE)
    assert pair[_NAME] == b"SPECIFICATION"
    return pair[_STRING].decode()


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    while data:
        size = int.from_bytes(data[:4])
        assert 8 <= size <= len(data)
        yield data[4:8], data[8:size]
        data = data[size:]


def _elements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Those of a level, and those within a segment or cluster of unknown size, whose parts follow each other."""
    while data:
        width = 9 - data[0].bit_length()
        name, rest = data[:width], data[width:]
        width = 9 - rest[0].bit_length()
        size, rest = int.from_bytes(rest[:width]) & ((1 << (7 * width)) - 1), rest[width:]
        if name in (_SEGMENT, _CLUSTER) and size == (1 << (7 * width)) - 1:
            data = rest
            continue
        assert size <= len(rest)
        yield name, rest[:size]
        if name == _SEGMENT:
            yield from _elements(rest[:size])
        data = rest[size:]
