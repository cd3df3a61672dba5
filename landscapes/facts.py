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

    def no_rest_below(self) -> float | None:
        """A loss below which no point is stationary, so that gradient flow that comes below it goes to infinity."""
        return None

    def largest_step(self, params: Tensor) -> Tensor | None:
        """The step size (...) below which gradient descent from params (..., dim) stays bounded and above which it does not:
        infinity where it does at every step size.

        None where no formula is known: of most losses that are not convex the boundary is a coastline (Sohl-Dickstein 2024,
        arXiv:2402.06184), and where there is no minimum the parameters grow for ever at every step size.
        """
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


def largest_bilinear_step(squares: Tensor, product: Tensor, target: float = 0.0) -> Tensor:
    """Of (u.v - t)^2 / 2, from |u|^2 + |v|^2 and u.v (...): 8 / (S + sqrt(S^2 - 16 t (u.v - t))), exactly
    (Liang and Montúfar 2025, arXiv:2509.25351); with t = 0 the 4 / S of the catapult (Lewkowycz et al. 2020).
    """
    root = (squares.square() - 16 * target * (product - target)).clamp_min(0).sqrt()  # never negative but for rounding
    return 8 / (squares + root)
