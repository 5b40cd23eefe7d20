"""Variables as they might be after training: tests of a fresh flow would be tests of the identity."""

import jax
import jax.numpy as jnp


def randomise(variables, key, scale=0.3):
    """Noise on every parameter and statistic, new draws of every constant; kinds and shapes stay.

    Permutations (integers on the last axis) stay permutations.
    """

    def leaf(path, value, key):
        collection = path[0].key
        if jnp.issubdtype(value.dtype, jnp.integer):
            return jax.random.permutation(key, value, axis=-1, independent=True)
        if collection == "batch_stats":
            return jnp.abs(value) + jax.random.uniform(key, value.shape, value.dtype)
        return value + scale * jax.random.normal(key, value.shape, value.dtype)

    leaves, structure = jax.tree_util.tree_flatten_with_path(variables)
    keys = jax.random.split(key, max(len(leaves), 1))
    return structure.unflatten([leaf(path, value, k) for (path, value), k in zip(leaves, keys, strict=False)])


def random_variables(bijector, key, *inputs):
    """Random variables of the shapes that `bijector.init(key, *inputs)` has, without compiling it."""
    shapes = jax.eval_shape(bijector.init, key, *inputs)

    def blank(leaf):
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            return jnp.broadcast_to(jnp.arange(leaf.shape[-1], dtype=leaf.dtype), leaf.shape)
        return jnp.zeros(leaf.shape, leaf.dtype)

    return randomise(jax.tree.map(blank, shapes), key)
