"""A pool of earlier pictures for critics (Shrivastava et al. 2017, "Learning from Simulated and Unsupervised Images").

The critic is shown earlier translations as well as new ones, which damps oscillation (Zhu et al. 2017, section 4).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array, Key

Pool = Mapping[str, Array]
"""`pictures` [size, ...], and `filled`, the number of them that are in use, int32."""


@dataclasses.dataclass(frozen=True)
class ImagePool:
    """Returns for each new picture, with probability 1/2, a stored one, in whose place it stores the new one.

    The first `size` pictures are stored and returned as they are. The state is memory (`jaxgen.contracts.LossOutput`).

    Attributes:
        size: pictures in the pool; 0: there is no pool, new pictures are returned.
    """

    size: int = 50

    def __post_init__(self):
        check_counts(0, size=self.size)

    def init(self, picture: Array) -> Pool:
        """An empty pool for pictures like `picture` [...]."""
        return {"pictures": jnp.zeros((self.size, *picture.shape), picture.dtype), "filled": jnp.int32(0)}

    def replay(self, pool: Pool, new: Array, key: Key) -> tuple[Array, Pool]:
        """What the critic sees for new pictures [B, ...], and the pool after them; each in turn."""
        if not self.size:
            return new, pool

        def one(pool: Pool, step: tuple[Array, ...]) -> tuple[Pool, Array]:
            picture, swap, index = step
            filling = pool["filled"] < self.size
            index = jnp.where(filling, pool["filled"], index)
            stored = pool["pictures"][index]
            placed = jnp.where(filling | swap, picture, stored)
            pictures = lax.dynamic_update_index_in_dim(pool["pictures"], placed, index, 0)
            returned = jnp.where(~filling & swap, stored, picture)
            return {"pictures": pictures, "filled": pool["filled"] + filling}, returned

        pool, returned = lax.scan(one, dict(pool), (new, *self.draws(key, new.shape[0])))
        return returned, pool

    def draws(self, key: Key, n: int) -> tuple[Array, Array]:
        """Whether each of n pictures is exchanged, once the pool is full, and for which one: [n] each."""
        swap_key, index_key = jax.random.split(key)
        return jax.random.bernoulli(swap_key, 0.5, (n,)), jax.random.randint(index_key, (n,), 0, self.size)
