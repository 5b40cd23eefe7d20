"""A domain: the shape of its examples and the scale on which networks see them."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from jaxgen.arguments import check_counts, check_shape, freeze_fields
from jaxgen.contracts import Array, Batch
from jaxgen.models.scaling import from_data, to_data

OTHER = {"a": "b", "b": "a"}
"""The other domain, by name."""


@dataclasses.dataclass(frozen=True)
class Domain:
    """The examples of one side of a translation.

    Attributes:
        event_shape: shape of an example, without the batch.
        levels: the data are integers 0..levels-1, scaled to [-1, 1] for the networks; None: they are floats.
    """

    event_shape: tuple[int, ...]
    levels: int | None = 256

    def __post_init__(self):
        freeze_fields(self)
        check_shape(self.event_shape)
        if self.levels is not None:
            check_counts(2, levels=self.levels)

    @property
    def bounded(self) -> bool:
        """Whether the networks see values in [-1, 1], so that a generator's last layer is a tanh."""
        return self.levels is not None

    def scaled(self, x: Array) -> Array:
        """Examples in data units, [B, *event_shape], as the networks see them."""
        return from_data(x, self.event_shape, self.levels, -1.0, 1.0)

    def data(self, y: Array) -> Array:
        """The inverse of `scaled`: a network's output in data units."""
        return to_data(y, self.levels, -1.0, 1.0)

    def fraction(self, x: Array) -> Array:
        """Examples in data units with integers scaled to [0, 1]: the units in which errors are reported."""
        return jnp.asarray(x, jnp.float32) / (self.levels - 1) if self.levels is not None else x


def other(domain: str) -> str:
    """The other of the two domains.

    Raises:
        ValueError: neither "a" nor "b".
    """
    if domain not in OTHER:
        raise ValueError(f"a domain must be 'a' or 'b', got {domain!r}")
    return OTHER[domain]


def check_domains(batch: Batch) -> None:
    """Raises ValueError unless the batch has entries `"a"` and `"b"`."""
    if not {"a", "b"} <= set(batch):
        raise ValueError(f"a translation expects a batch with entries 'a' and 'b', got {sorted(batch)}")
