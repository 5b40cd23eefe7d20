"""The scales of a picture, from coarse to fine."""

from __future__ import annotations

import dataclasses
import math

import jax

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array


@dataclasses.dataclass(frozen=True)
class Pyramid:
    """Sizes (height, width) of a picture, from coarse to fine, by a common factor.

    The shorter side of the coarsest is `min_side`, and the factor the smallest that is at least `factor` and reaches it
    in whole steps (Shaham et al. 2019, "SinGAN", supplement, as in the authors' code).

    Attributes:
        size: of the picture.
        min_side: a picture whose shorter side is not longer has one scale.
        factor: below one.

    Raises:
        ValueError: another size, or a factor outside of (0, 1).
    """

    size: tuple[int, int]
    min_side: int = 25
    factor: float = 0.75

    def __post_init__(self):
        check_counts(size=self.size, min_side=self.min_side)
        if not 0 < self.factor < 1:
            raise ValueError(f"`factor` must be above 0 and below 1, got {self.factor}")

    @property
    def steps(self) -> int:
        """The number of scales above the coarsest."""
        shrinkage = self.min_side / min(self.size)
        return 0 if shrinkage >= 1 else math.ceil(round(math.log(shrinkage) / math.log(self.factor), 9))

    @property
    def ratio(self) -> float:
        """The factor from each scale to the coarser one; `factor` if there is one scale."""
        return (self.min_side / min(self.size)) ** (1 / self.steps) if self.steps else self.factor

    def sizes(self, size: tuple[int, int] | None = None) -> tuple[tuple[int, int], ...]:
        """The sizes of all scales, of the picture or of another image with as many scales."""
        factors = [self.ratio ** (self.steps - k) for k in range(self.steps + 1)]
        return tuple(tuple(max(1, round(side * factor)) for side in size or self.size) for factor in factors)


def resize(x: Array, size: tuple[int, int]) -> Array:
    """Images [B, H, W, C] in another size (height, width): bicubic, and smoothed where they shrink."""
    return jax.image.resize(x, (x.shape[0], *size, x.shape[-1]), "cubic")
