"""The reference of rules, drawn from the registry: what a rule costs is measured, not declared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscapes import MLP, Surface
from landscapes.setting import Number, Setting, settings
from landscapes.surfaces import Quadratic
from optimizers import OPTIMIZERS, Optimizer, Oracle, Spent, run, tune
from ravine.experiment import Experiment
from ravine.picture import COLORS, number
from ravine.words import spoken

_STEPS = 60  # of a thumbnail's path
_SIZE = 132  # of a thumbnail, in pixels


@dataclass(frozen=True)
class Entry:
    """One rule: its declared facts, what was measured of it, and its path on a small problem."""

    kind: type[Optimizer]
    spent: Spent  # evaluations of one step
    memory: float  # numbers kept per parameter, on a matrix of 16 x 16
    experiment: Experiment  # the thumbnail's run
    thumbnail: str  # SVG

    def matches(self, words: str) -> bool:
        """Does every word occur in what the entry says?"""
        kind = self.kind
        text = f"{kind.name} {kind.label} {kind.idea} {kind.reference} {kind.verified}".lower()
        return all(word in text for word in words.lower().split())


def entries() -> tuple[Entry, ...]:
    """All rules, in the registry's order. Each thumbnail runs at the step size that does best within its steps."""
    surface = Quadratic(kappa=10.0, angle=0.5)
    rules = [kind() for kind in OPTIMIZERS.values()]
    best = tune(surface, rules, steps=_STEPS).best.nan_to_num(1e-3)
    tuned = [rule.at(float(f"{float(lr):.3g}")) for rule, lr in zip(rules, best, strict=True)]
    paths = run(surface, tuned, surface.start()[0], _STEPS).params  # (R, N, 2)
    return tuple(
        Entry(
            type(rule),
            *measured(rule),
            Experiment(landscape=surface, optimizers=(rule,), steps=_STEPS),
            _svg(paths[:, index], surface),
        )
        for index, rule in enumerate(tuned)
    )


def measured(rule: Optimizer) -> tuple[Spent, float]:
    """Evaluations of a rule's steps on average over ten, and the numbers it keeps per parameter of a 16 x 16 weight."""
    network = MLP(data="chebyshev", hidden=(16, 16), objective="squared")
    params = network.start()[0]
    state, spent, steps = rule.init(params), Spent(), 10
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        oracle = Oracle(network, generator=generator, spent=spent)
        params, state = rule.step(params, state, oracle)
        spent = oracle.spent
    kept = {id(one): one.numel() for one in _tensors(state)}
    return Spent(*(count / steps for count in spent)), sum(kept.values()) / network.dim  # type: ignore[arg-type]


def _tensors(state: Any) -> list[Tensor]:
    """Every tensor of a nested state."""
    if isinstance(state, Tensor):
        return [state]
    if isinstance(state, dict):
        state = tuple(state.values())
    return [tensor for one in state for tensor in _tensors(one)] if isinstance(state, (tuple, list)) else []


def interval(one: Setting) -> str:
    """What a setting allows, briefly: [0, 1), or its choices."""
    if isinstance(one, Number):
        left = "(" if one.low_open or math.isinf(one.low) else "["
        right = ")" if one.high_open or math.isinf(one.high) else "]"
        ends = [
            ("−" if end < 0 else "") + ("∞" if math.isinf(end) else number(abs(end))) for end in (one.low, one.high)
        ]
        return f"{left}{ends[0]}, {ends[1]}{right}"
    return one.allowed


def hyper_parameters(kind: type[Optimizer]) -> list[tuple[str, str, str, str]]:
    """Name in Python, name on the screen, default and range of each hyper-parameter."""
    return [(name, spoken(name, one), one.write(one.default), interval(one)) for name, one in settings(kind).items()]


def _svg(path: Tensor, surface: Surface) -> str:
    """A path (R, 2) over the level lines of the quadratic."""
    (left, right), (low, high) = surface.window
    values = surface.values()

    def place(point: Tensor) -> str:
        x = (float(point[0]) - left) / (right - left) * _SIZE
        y = (high - float(point[1])) / (high - low) * _SIZE
        return f"{min(max(x, -_SIZE), 2 * _SIZE):.1f},{min(max(y, -_SIZE), 2 * _SIZE):.1f}"

    kept = path[torch.isfinite(path).all(-1)]
    line = " ".join(place(point) for point in kept)
    turn, scale = -math.degrees(values["angle"]), _SIZE / (right - left)
    rings = "".join(
        f'<ellipse rx="{scale * radius:.1f}" ry="{scale * radius / values["kappa"] ** 0.5:.1f}"/>'
        for radius in (0.4, 0.8, 1.3, 1.9, 2.6, 3.4, 4.4, 5.6)
    )
    end_x, end_y = place(kept[-1]).split(",")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_SIZE}" height="{_SIZE}" viewBox="0 0 {_SIZE} {_SIZE}">'
        f'<g fill="none" stroke="#7c7b78" stroke-opacity="0.55" transform="translate({_SIZE / 2} {_SIZE / 2}) rotate({turn:.1f})">'
        f'{rings}</g><polyline points="{line}" fill="none" stroke="{COLORS[0]}" stroke-width="2" stroke-linejoin="round"/>'
        f'<circle cx="{end_x}" cy="{end_y}" r="4" fill="{COLORS[0]}"/></svg>'
    )
