"""What is known of a loss in closed form: declared beside the loss, and checked against it for every landscape that does."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


class Facts:
    """Each method answers None where nothing is known. Points and their values are in float64 on the CPU; what depends on
    params keeps their dtype and device.
    """

    def infimum(self) -> float | None:
        """The largest number that the loss never goes below, whether or not it is attained."""
        return None

    def minimizers(self) -> Tensor | None:
        """Some global minimizers (k, dim)."""
        return None

    def known_sharpness(self) -> tuple[Tensor, Tensor] | None:
        """Points (k, dim) and the sharpness (k,) there."""
        return None

    def conserved(self, params: Tensor) -> Tensor | None:
        """Quantities (..., c) of params (..., dim) that gradient flow leaves as they are."""
        return None

    def gfs_sharpness(self, params: Tensor) -> Tensor | None:
        """Sharpness (...) of the minimum where gradient flow from params (..., dim) ends (Kreisler et al. 2023).

        NaN for a run from which the flow does not reach a minimum, or whose params are not finite.
        """
        return None

    def flow_escapes(self) -> bool:
        """Does gradient flow go to infinity from almost everywhere, for want of a minimum?"""
        return False

    def largest_step(self, params: Tensor) -> Tensor | None:
        """The step size (...) below which gradient descent from params (..., dim) stays bounded and above which it does not."""
        return None

    def predictor(self, params: Tensor) -> Tensor | None:
        """What params (..., dim) stand for, (..., p): the same for parameters that compute the same function."""
        return None

    def bias_target(self) -> Tensor | None:
        """Where gradient flow from the first start takes `predictor`, (p,): the implicit bias of the model."""
        return None

    def groups(self) -> Mapping[str, Tensor] | None:
        """Indices of samples whose losses tell different stories, by the name of the group."""
        return None
