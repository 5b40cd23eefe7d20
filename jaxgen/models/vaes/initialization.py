"""The initialisation of Burda et al. 2016, "Importance Weighted Autoencoders" (arXiv:1509.00519)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.contracts import Array, Key, Variables


@dataclasses.dataclass(frozen=True)
class BurdaInitializer:
    """Draws the kernels of encoder and decoder anew; a Bernoulli's output bias starts at the logits of the data's
    means.

    Attributes:
        kernel_init: makes the initializer of the kernels; None: they stay as they are.
        output_bias: False for likelihoods other than Bernoulli, whose parameters are not logits.
    """

    kernel_init: Callable[[], Callable] | None = nn.initializers.glorot_uniform
    output_bias: bool = True

    def __call__(self, key: Key, variables: Variables, x: Array) -> Variables:
        """The variables of a VAE with these changes, for data x [B, *event_shape] in [0, 1]."""
        variables = dict(jax.tree.map(lambda leaf: leaf, variables))  # a copy
        if self.kernel_init is not None:
            for i, player in enumerate(("encoder", "decoder")):
                variables[player] = self._draw_kernels(jax.random.fold_in(key, i), variables[player])
        if not self.output_bias:
            return variables
        out = variables["decoder"]["params"]["head"]["out"]
        # the mean of each pixel, or of each channel if the head is a convolution; bounded as in the authors' code
        means = x.mean(0).reshape(-1, out["bias"].size).mean(0)
        out["bias"] = jax.scipy.special.logit(jnp.clip(means, 1e-3, 1 - 1e-3)).astype(out["bias"].dtype)
        return variables

    def _draw_kernels(self, key: Key, collections: Variables) -> Variables:
        init = self.kernel_init()
        leaves, structure = jax.tree_util.tree_flatten_with_path(collections)
        keys = jax.random.split(key, len(leaves))
        drawn = [
            init(key, leaf.shape, leaf.dtype) if path[-1].key == "kernel" else leaf
            for key, (path, leaf) in zip(keys, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, drawn)
