"""How settings and their values are called on a screen and in a sentence."""

from __future__ import annotations

from landscapes.setting import Setting

_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "kappa": "κ", "lambda": "λ",
    "mu": "μ", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "psi": "ψ", "xi": "ξ", "ell": "ℓ",
    "varphi": "φ", "infty": "∞",
}  # fmt: skip
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
    words = one.label or name.replace("_", " ").capitalize()
    return words if not one.symbol else plain(one.symbol) if one.symbol == name else f"{words} {plain(one.symbol)}"
