"""Data sets for small networks: real and synthetic, each made by a seed, and what may be done to any of them."""

from landscapes.data.catalogue import DATA
from landscapes.data.recipe import Recipe, Split, tensors
from landscapes.data.source import FORMS, Samples, Source

__all__ = ["DATA", "FORMS", "Recipe", "Samples", "Source", "Split", "tensors"]


def fitting(form: str) -> tuple[str, ...]:
    """The names of the data sets that a network reading this form can learn."""
    return tuple(name for name, source in DATA.items() if source.fits(form))
