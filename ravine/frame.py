"""How a link wants to be shown: its title, present mode, the controls that stay, and what it claims about its numbers.

A frame changes no number, so it is no part of an Experiment and of no key; links carry it beside the experiment, and only
where it differs from a plain page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ravine.fingerprint import Fingerprint

TITLE = 80  # characters
_CONTROL = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MOST_CONTROLS = 24
_PRESENTED = ("lr",)  # the controls of present mode, unless the link names others
_FLAGS = ("present", "predict")
KEYS = ("title", *_FLAGS, "show", "fp")


@dataclass(frozen=True)
class Frame:
    """Raises ValueError, with a sentence, for what a link cannot say."""

    title: str = ""
    present: bool = False  # large type and few controls, for a projector
    predict: bool = False  # the outcome stays hidden until the reader has said what will happen
    show: tuple[str, ...] = ()  # the controls that stay; none named: all of them
    fp: str = ""  # a Fingerprint of the numbers, as text

    def __post_init__(self) -> None:
        if len(self.title) > TITLE or not self.title.isprintable():
            raise ValueError(f"title is not allowed: it must be at most {TITLE} printable characters.")
        if len(self.show) > _MOST_CONTROLS or not all(_CONTROL.fullmatch(name) for name in self.show):
            raise ValueError(
                f"show is not allowed: it must be at most {_MOST_CONTROLS} names of controls, as in show=lr,start."
            )
        if self.fp:
            Fingerprint.read(self.fp)

    def shows(self, control: str) -> bool:
        """Does a control of this name stay on the page?"""
        if self.show:
            return control in self.show
        return not self.present or control in _PRESENTED

    def to_query(self) -> dict[str, str]:
        """The keys that differ from a plain page."""
        query = {"title": self.title} | {name: "true" if getattr(self, name) else "" for name in _FLAGS}
        query |= {"show": ",".join(self.show), "fp": self.fp}
        return {key: text for key, text in query.items() if text}

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> tuple[Frame, list[str]]:
        """The frame in the query of a link, and a sentence for each thing that was not used. Never raises."""
        values: dict[str, object] = {}
        refusals = []
        for key in KEYS:
            text = query.get(key, "")
            if not text:
                continue
            value: object = text
            if key in _FLAGS:
                if text not in ("true", "false"):
                    refusals.append(f"{key} in the link must be true or false, so it was ignored.")
                    continue
                value = text == "true"
            elif key == "show":
                value = tuple(dict.fromkeys(text.split(",")))
            try:
                cls(**{key: value})  # type: ignore[arg-type]
            except ValueError as refusal:
                refusals.append(f"{refusal} It was ignored.")
                continue
            values[key] = value
        return cls(**values), refusals  # type: ignore[arg-type]


PLAIN = Frame()
