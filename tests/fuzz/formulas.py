"""Formulas: grown ones, code in place of them, and soup of their parts."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from landscapes import LANDSCAPES, Landscape
from landscapes.expression import ARITY
from tests.fuzz.door import Door
from tests.fuzz.hostile import CODE, TEXTS, mangled
from tests.ravine.strategies import formulas

_TOKENS = [*ARITY, "x", "y", "pi", "e", "2", "1e308", "1e-308", "9" * 30, "+", "-", "*", "/", "^", "**", "(", ")", ","]
_TOKENS += [" ", ".", "²", "⁻¹", "×", "=", "<", "|", "j", "0", "_", "\n", "\\", '"', "'", "#", "z =", "ln", "arcsin"]
_POINTS = torch.tensor([[0.3, -0.7], [0.0, 0.0], [1e300, -1e300]], dtype=torch.float64)


def _deep(parts: tuple[str, int, str]) -> str:
    before, count, after = parts
    return before * count + "x" + after * count


_BLOWN = st.tuples(
    st.sampled_from(["(", "-", "sin(", "x^", "2^", "9^9^", "exp(exp(", "max(x,", "1+", "x*"]),
    st.integers(1, 250),
    st.sampled_from(["", ")", "))", "^2", "^x", "/x"]),
).map(_deep)


def _read(formula: str) -> tuple[Landscape, list[torch.Tensor]]:
    surface = LANDSCAPES["formula"](expression=formula)
    return surface, [
        surface.loss(_POINTS),
        surface.value_and_grad(_POINTS)[1],
        surface.hessian_operator(_POINTS)(_POINTS),
    ]


def _sound(read: tuple[Landscape, list[torch.Tensor]]) -> None:
    surface, (loss, grad, product) = read
    assert (loss.shape, grad.shape, product.shape) == ((3,), (3, 2), (3, 2))
    assert type(surface)(**surface.values()) == surface
    assert torch.equal(torch.nan_to_num(type(surface)(**surface.values()).loss(_POINTS)), torch.nan_to_num(loss))


FORMULAS = Door(
    "formulas",
    formulas()
    | mangled(formulas())
    | mangled(st.sampled_from(CODE))
    | st.sampled_from(TEXTS)
    | st.lists(st.sampled_from(_TOKENS), max_size=60).map("".join)
    | _BLOWN
    | st.text(),
    _read,
    _sound,
    seconds=0.25,
    memory=256 << 20,
    kept=lambda formula: formula.encode("utf-8", "surrogatepass"),
    again=lambda data: data.decode("utf-8", "surrogatepass"),
)
