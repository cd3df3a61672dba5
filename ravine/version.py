"""Which version of this package is installed: asked once, since it is read from disk."""

from importlib.metadata import version

__version__ = version("ravine")
