"""Declared things in the query of a link: written with every value, and read with a sentence for what cannot be used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from landscapes import settings
from landscapes.setting import Declared, Numbers, excerpt
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS, Scheduled, Stepper, layers
from ravine.limits import LIMITS
from ravine.own import elsewhere

VERSION = 1  # of the link's grammar
START = Numbers(((0.0, 0.0),), rows=1, help="Where the runs begin.")
_MOST_REFUSALS = 6  # sentences that a reader will read
_MOST_TOGETHER = 8  # with those about the frame
# What mail programs, social networks and advertisers append to links.
_TRACKING = re.compile(r"(utm_\w*|fbclid|gclid|gbraid|wbraid|dclid|msclkid|yclid|igshid|mc_[ce]id|_hs\w*|ref|ref_src)")
_FORMULA = "land.expression"
_TWO_OPERANDS = re.compile(r"(?<=[\w)])\s+(?=[\w(])")


def written(prefix: str, declared: Declared) -> dict[str, str]:
    return {prefix: declared.name} | _written_settings(prefix, declared)


def _written_settings(prefix: str, declared: Declared) -> dict[str, str]:
    values = declared.values()
    return {f"{prefix}.{key}": one.write(values[key]) for key, one in settings(declared).items()}


def written_stepper(prefix: str, stepper: Stepper) -> dict[str, str]:
    """opt1=adam, opt1.lr=..., and where there are such layers opt1.schedule=cosine, opt1.wrap=clip_norm, opt1.clip_norm.c=..."""
    rule, schedule, wrappers = layers(stepper)
    query = written(prefix, rule)
    if schedule is not None:
        query |= written(f"{prefix}.schedule", schedule)
    if wrappers:
        query[f"{prefix}.wrap"] = ",".join(one.name for one in wrappers)
    for one in wrappers:
        query |= _written_settings(f"{prefix}.{one.name}", one)
    return query


def pairs_of(query: str) -> list[tuple[str, str]]:
    """Keys and values of a query as people pass it on: marks of who passed it on are dropped, `&amp;` is read as `&`, and a
    plus written as itself between two operands of a formula, which decodes to a blank, is a plus. Raises ValueError.
    """
    query = query.replace("&amp;", "&")
    pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=400)
    if any(key == _FORMULA and _TWO_OPERANDS.search(value) for key, value in pairs):
        kept = "&".join(
            part.replace("+", "%2B") if part.startswith(f"{_FORMULA}=") else part for part in query.split("&")
        )
        pairs = parse_qsl(kept, keep_blank_values=True, max_num_fields=400)
    return [(key, value) for key, value in pairs if not tracks(key)]


def tracks(key: str) -> bool:
    """Does this key say who passed a link on, rather than what it shows?"""
    return _TRACKING.fullmatch(key) is not None


def too_long(size: int) -> str:
    return f"The link has {size:,} characters and at most {LIMITS.link:,} are read, so it was ignored and the default is shown."


def cut(refusals: Sequence[str], most: int = _MOST_REFUSALS) -> list[str]:
    """As many sentences as a reader will read, and one about the rest; in characters that can be read, whatever they quote."""
    refusals = [
        "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in one) for one in refusals
    ]
    if len(refusals) <= most + 1:
        return list(refusals)
    return [*refusals[:most], f"{len(refusals) - most} more values of the link were not used as they stand."]


def together(experiment: Sequence[str], frame: Sequence[str]) -> list[str]:
    """What a link is told about its experiment, cut already, and about its frame."""
    return [*experiment, *cut(frame, _MOST_TOGETHER - 1 - len(experiment))]


class Query:
    """The query of one link: what is read is taken out of it, and sentences about the rest are collected."""

    def __init__(self, query: Mapping[str, str]):
        self.left = {key: value for key, value in query.items() if not tracks(key)}  # what nobody has read yet
        self.refused: list[str] = []

    def stepper(self, prefix: str) -> Stepper | None:
        """A rule with the layers around it; a layer that does not fit is left out."""
        schedule = self.declared(f"{prefix}.schedule", SCHEDULES, None)
        names = self.left.pop(f"{prefix}.wrap", "")
        given = {name: self.take(f"{prefix}.{name}") for name in WRAPPERS}
        stepper: Stepper | None = self.declared(prefix, OPTIMIZERS, None)
        if stepper is None:
            return None
        for name in dict.fromkeys(names.split(",")) if names else ():
            if name not in WRAPPERS:
                self.refused.append(
                    f"{prefix}.wrap = {excerpt(name)} is unknown, so it was left out. Allowed: {', '.join(WRAPPERS)}."
                )
                continue
            kind = WRAPPERS[name]
            try:
                stepper = kind(inner=stepper, **self._settings(f"{prefix}.{name}", kind, given.pop(name)))
            except (ValueError, TypeError) as refusal:
                self.refused.append(f"{refusal} It was left out.")
        for name, rest in given.items():
            for full in rest:
                self.refused.append(f"{excerpt(full)} was ignored: {prefix}.wrap does not name {name}.")
        return stepper if schedule is None else Scheduled(inner=stepper, schedule=schedule)

    def take(self, prefix: str) -> dict[str, str]:
        """Removes and returns prefix and prefix.* of the query."""
        keys = [key for key in self.left if key == prefix or key.startswith(f"{prefix}.")]
        return {key: self.left.pop(key) for key in keys}

    def declared(self, prefix: str, registry: Mapping[str, Any], default: Any) -> Any:
        """A landscape or optimizer of the registry with its settings."""
        given = self.take(prefix)
        name = given.pop(prefix, None)
        if name is None:
            for full in given:
                self.refused.append(f"{excerpt(full)} was ignored: the link has no {prefix} that it could belong to.")
            return default
        if name not in registry:
            instead = f"; {default.name} is shown" if default is not None else ", so it was left out"
            foreign = elsewhere(name) if prefix == "land" else ""
            sentence = f"{prefix} = {excerpt(name)} is unknown{instead}. Allowed: {', '.join(registry)}."
            self.refused.append(f"{foreign}{instead}." if foreign else sentence)
            return default
        kind = registry[name]
        values = self._settings(prefix, kind, given)
        try:
            return kind(**values)
        except (ValueError, TypeError) as refusal:
            sentence = " ".join(str(refusal).split())  # may quote a text with line breaks in it
            if _TWO_OPERANDS.search(given.get(_FORMULA, "")):
                sentence += " A plus is written %2B in a link."
            self.refused.append(f"{sentence} The default of {name} is used.")
            return kind()

    def _settings(self, prefix: str, kind: Any, given: dict[str, str]) -> dict[str, Any]:
        """The settings of a kind that the link gives under a prefix, read and checked one by one."""
        known = settings(kind)
        alias = {other: key for key, one in known.items() for other in one.aliases}
        values: dict[str, Any] = {}
        for full, text in given.items():
            key = full.removeprefix(f"{prefix}.")
            key = alias.get(key, key)
            if key not in known:
                listed = ", ".join(known) or "none"
                self.refused.append(
                    f"{excerpt(full)} is not a setting of {kind.name}, so it was ignored. Its settings: {listed}."
                )
                continue
            if key in values:
                self.refused.append(f"{excerpt(full)} was ignored: the link gives {prefix}.{key} already.")
                continue
            values[key] = self.value(full, known[key], text, known[key].default)
        return values

    def value(self, name: str, one: Any, text: str | None, default: Any) -> Any:
        if text is None:
            return default
        try:
            return one.read(name, text)
        except ValueError as refusal:
            self.refused.append(f"{refusal} The default, {one.write(default)}, is used.")
            return default
