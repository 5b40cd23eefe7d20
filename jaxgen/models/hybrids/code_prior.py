"""A prior of grids of codes: a causal transformer over the codes in raster order, log p(codes|context)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgen.arguments import check_number
from jaxgen.contracts import Array, Collections, Key, LossOutput
from jaxgen.losses.likelihood import bits_per_dim, negative_log_likelihood
from jaxgen.models.forward import forward
from jaxgen.nets.token_sampling import sample_tokens
from jaxgen.nets.transformer import TokenTransformer


@dataclasses.dataclass(frozen=True)
class CodePrior:
    """p(codes|context) of grids of codes [B, h, w].

    The context [B, D], such as a one-hot class, takes the place of a first token.

    Attributes:
        network: its `length` is at least h w.
        keep: in training each input is replaced by a uniform code with probability 1 - keep, while the codes to predict
            stay as they are: noise against the accumulation of errors in sampling (`pkeep` in the authors' code).

    Raises:
        ValueError: `keep` outside [0, 1].
    """

    network: TokenTransformer
    keep: float = 1.0

    def __post_init__(self):
        check_number("keep", self.keep, 0, 1)

    def init(self, key: Key, codes: Array, context: Array | None = None) -> Collections:
        return self.network.init(key, _flat(codes), context)

    def optimizer(self, learning_rate: Any = 1e-3) -> optax.GradientTransformation:
        """The authors' AdamW, with weight decay of the kernels alone."""
        return optax.adamw(learning_rate, b1=0.9, b2=0.95, weight_decay=0.01, mask=_kernels)

    def loss(self, collections: Collections, codes: Array, context: Array | None, key: Key) -> LossOutput:
        """-log p(codes|context) in nats, summed over the grid; the metric is in bits per code."""
        network_key, noise_key, keep_key = jax.random.split(key, 3)
        codes = inputs = _flat(codes)
        if self.keep < 1:
            noise = jax.random.randint(noise_key, codes.shape, 0, self.network.num_tokens, codes.dtype)
            inputs = jnp.where(jax.random.bernoulli(keep_key, self.keep, codes.shape), codes, noise)
        logits, _ = forward(self.network, collections, inputs, context, key=network_key)
        log_prob = -optax.softmax_cross_entropy_with_integer_labels(logits, codes).sum(1)
        return LossOutput(negative_log_likelihood(log_prob), {"bits_per_code": bits_per_code(log_prob, codes)})

    def log_prob(self, collections: Collections, codes: Array, context: Array | None = None) -> Array:
        """log p(codes|context) in nats, [B], in one pass."""
        return forward(self.network, collections, _flat(codes), context, method="log_probs")[0].sum(1)

    def sample(
        self, collections: Collections, key: Key, shape: tuple[int, int, int], context: Array | None = None,
        temperature: float | Array = 1.0, top_k: int | None = None,
    ) -> Array:  # fmt: skip
        """Codes, int32 with `shape` [n, h, w] (`sample_tokens`)."""
        options = {"length": math.prod(shape[1:]), "temperature": temperature, "top_k": top_k}
        return sample_tokens(self.network, collections, key, shape[0], context, **options).reshape(shape)


def bits_per_code(log_prob: Array, codes: Array) -> Array:
    """The mean of -log2 p per code, of log p [B] in nats of codes [B, ...]."""
    return bits_per_dim(log_prob.mean(), math.prod(codes.shape[1:]))


def _flat(codes: Array) -> Array:
    return codes.reshape(codes.shape[0], -1)


def _kernels(parameters: Any) -> Any:
    """Whether a parameter is a kernel: not a bias, a gain or an embedding."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", parameters)
