"""How settings and their values are called on a screen and in a sentence."""

from __future__ import annotations

import re

from landscapes.setting import Choice, Setting

_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "kappa": "κ", "lambda": "λ",
    "mu": "μ", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "psi": "ψ", "xi": "ξ", "ell": "ℓ",
    "varphi": "φ", "infty": "∞",
}  # fmt: skip
# Words in the names of choices that are not written as they are in links.
_WORDS = {
    "adamw": "AdamW", "cauchy": "Cauchy", "chebyshev": "Chebyshev", "cifar10": "CIFAR-10", "cpu": "CPU", "cuda": "CUDA", "fashion_mnist": "Fashion-MNIST",
    "elu": "ELU", "gelu": "GELU", "he": "He", "huber": "Huber", "l1": "ℓ₁", "l2": "ℓ₂", "laplace": "Laplace", "lecun": "LeCun",
    "linf": "ℓ∞", "lp": "ℓₚ", "mnist": "MNIST", "mnist1d": "MNIST-1D", "ntk": "tangent kernel", "relu": "ReLU", "rms": "RMS",
    "rmpe": "extrapolated", "student": "Student's t", "teacher_student": "teacher and student", "tanh": "tanh", "xavier": "Xavier",
}  # fmt: skip
_NAMES = ("Frobenius", "Gauss-Newton")  # of people, with which a label may begin
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def plain(symbol: str) -> str:
    """A short LaTeX symbol in Unicode, as widgets and screen readers need it: β₁ for \\beta_1."""
    name, _, index = symbol.strip("{}").partition("_")
    below = index.strip("{}")
    return _GREEK.get(name.removeprefix("\\"), name) + _GREEK.get(
        below.removeprefix("\\"), below.translate(_SUBSCRIPTS)
    )


def spoken(name: str, one: Setting) -> str:
    """How a setting is called on the screen: its label, or its name in words, and its symbol."""
    words, symbol = one.label or name.replace("_", " ").capitalize(), plain(one.symbol)
    spelled_out = not one.label and plain(re.sub(r"(\d+)$", r"_\1", name)) == symbol  # beta1 is β₁ in letters
    return symbol if spelled_out else f"{words} {symbol}".rstrip()


def chosen(one: Choice, choice: str) -> str:
    """How a choice is called on the screen: its label, or its name in words."""
    if one.labels:
        return one.labels[one.choices.index(choice)]
    return _WORDS.get(choice) or " ".join(_WORDS.get(word, word) for word in choice.split("_"))


def within(label: str) -> str:
    """A label inside a sentence: it begins small, unless with a name."""
    first = label.partition(" ")[0]
    name = (len(first) > 1 and first.isupper()) or first in _NAMES
    return label if name else label[:1].lower() + label[1:]
