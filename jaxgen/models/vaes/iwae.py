"""The importance-weighted autoencoder (Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519).

A variational autoencoder that climbs a tighter bound than the evidence lower bound: with K draws for each row,

    L_K = E log 1/K sum_k w_k,    w_k = p(x, z_k) / q(z_k|x),    z_k ~ q(z|x),    L_1 <= L_K <= log p(x).

For the encoder this bound's gradient has the less signal to its noise the more draws there are (Rainforth et al. 2018);
the doubly reparameterized one (Tucker et al. 2019, arXiv:1810.04152) has the same mean and does not suffer from it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgen.arguments import context_rows
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.distributions.likelihoods import Bernoulli
from jaxgen.losses.elbo import doubly_reparameterized_bound, importance_weighted_bound
from jaxgen.models.players import forward
from jaxgen.models.vaes.objectives import ELBO
from jaxgen.models.vaes.vae import VAE, Posterior, extended


@dataclasses.dataclass(frozen=True)
class IWAE(VAE):
    """A VAE whose one play, `bound`, minimises minus the importance-weighted bound.

    A Bernoulli's output bias starts at the logits of the data's means, as in the paper.

    Attributes:
        samples: K, the draws for each row.
        chunk: how many of them are computed at once, a divisor of `samples` or more. With fewer than `samples`, the
            gradient computes each chunk a second time, and memory does not grow with K. (Batch statistics are a
            chunk's.)
        aggregate: log-weights [K, B] to the bound of each row, [B]: `importance_weighted_bound`, or `mean_log_weight`
            for the evidence lower bound by K draws.
        doubly_reparameterized: take the encoder's gradient by Tucker et al.; the bound's value is the same.
        kernel_init: makes what draws the kernels of encoder and decoder, such as the paper's
            `flax.linen.initializers.glorot_uniform`; None leaves them to the networks.
    """

    samples: int = 50
    chunk: int = 50
    aggregate: Callable[[Array], Array] = importance_weighted_bound
    doubly_reparameterized: bool = False
    kernel_init: Callable | None = None
    monitor: ClassVar = ("bound", "max")

    def __post_init__(self):
        super().__post_init__()
        for name in ("samples", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} was given; it has to be at least 1")
        if self.chunk < self.samples and self.samples % self.chunk:
            raise ValueError(f"chunk={self.chunk} does not divide samples={self.samples}")
        if self.objective != ELBO():
            raise ValueError(f"objective={self.objective} is of one draw; IWAE minimises its bound: give `aggregate`")
        if self.doubly_reparameterized and self.aggregate is not importance_weighted_bound:
            raise ValueError("doubly_reparameterized goes with importance_weighted_bound and no other aggregate")
        if self.doubly_reparameterized and self.posterior is not None:
            raise ValueError(
                "doubly_reparameterized needs log q(z|x) of a given z with q's parameters held; of a draw through a "
                "posterior flow only log q along the draw is known: give posterior=None"
            )

    def init(self, key: Key, batch: Batch) -> Variables:
        variables = super().init(key, batch)
        if self.kernel_init is not None:
            draw, kernels_key = self.kernel_init(), jax.random.fold_in(key, 1)
            for i, player in enumerate(("encoder", "decoder")):
                leaves, structure = jax.tree_util.tree_flatten_with_path(variables[player])
                keys = jax.random.split(jax.random.fold_in(kernels_key, i), len(leaves))
                redrawn = [
                    draw(key, leaf.shape, leaf.dtype) if path[-1].key == "kernel" else leaf
                    for key, (path, leaf) in zip(keys, leaves, strict=True)
                ]
                variables = {**variables, player: jax.tree.unflatten(structure, redrawn)}
        if isinstance(self.likelihood, Bernoulli):
            variables = jax.tree.map(lambda leaf: leaf, variables)  # a copy
            out = variables["decoder"]["params"]["head"]["out"]
            # of each pixel, or where the head is a convolution of each channel; bounded as in the authors' code
            means = self._observe(batch["x"], None)[0].mean(0).reshape(-1, out["bias"].size).mean(0)
            out["bias"] = jax.scipy.special.logit(jnp.clip(means, 1e-3, 1 - 1e-3)).astype(out["bias"].dtype)
        return variables

    def plays(self) -> Mapping[str, Play]:
        return {"bound": Play(self.players, self.loss, optax.adam(1e-3, eps=1e-4), accumulates=self.accumulates)}

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Minus the bound, in nats; the metrics are the bound and, of the same draws, the evidence lower bound."""
        x_key, z_key, encoder_key, decoder_key = jax.random.split(key, 4)
        seen, target = self._observe(batch["x"], x_key)
        context = context_rows(batch.get("context"), seen)
        q, encoder_state = self._infer(variables, seen, context, encoder_key)

        weigh = functools.partial(self._weigh, variables, q, target, context)
        keys = jax.random.split(z_key, self.samples)
        if self.chunk >= self.samples:
            log_weights, decoder_state = weigh(keys, decoder_key)
        else:
            keys = keys.reshape(-1, self.chunk, *keys.shape[1:])
            # within a loop, nothing merges the second computation with the first
            weigh = jax.checkpoint(weigh, prevent_cse=False)
            keys = keys, jax.random.split(decoder_key, len(keys))
            log_weights, decoder_state = lax.map(lambda of: weigh(*of), keys)
            log_weights = [chunks.reshape(self.samples, -1) for chunks in log_weights]
            decoder_state = jax.tree.map(lambda a: a.mean(0), decoder_state)
        bound = (doubly_reparameterized_bound if self.doubly_reparameterized else self.aggregate)(*log_weights).mean()
        metrics = {"bound": bound, "elbo": log_weights[0].mean()}
        return LossOutput(-bound, metrics, {"encoder": encoder_state, "decoder": decoder_state})

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """In nats: `bound`, by as many draws as it is trained by; and the VAE's figures, which are of one draw."""
        log_weights = self.log_weights(variables, batch["x"], key, batch.get("context"), self.samples, self.chunk)
        return {"bound": self.aggregate(log_weights).mean(), **super().evaluate(variables, batch, key)}

    def _weigh(
        self, variables: Variables, q: Posterior, target: Array, context: Array | None, keys: Key, decoder_key: Key
    ) -> tuple[tuple[Array, ...], Mapping[str, Any]]:
        """log p(x, z) - log q(z|x) of one draw z a key for each row, [C, B], and what the decoder's pass changed.

        For the doubly reparameterized gradient twice, differentiated as `doubly_reparameterized_bound` has it.
        """
        noise = jax.vmap(lambda key: jax.random.normal(key, q.mean.shape))(keys)
        # draws and rows as one batch, [C B, ...]: one matrix product a layer
        q, target, context = jax.tree.map(
            lambda a: jnp.broadcast_to(a, (len(keys), *a.shape)).reshape(-1, *a.shape[1:]), (q, target, context)
        )
        z, log_q = self._draw(variables, q, noise.reshape(q.mean.shape))

        def log_joint(variables: Variables, z: Array) -> tuple[Array, Mapping[str, Any]]:
            inputs = self._decoder_inputs(z, context, target)
            params, state = forward(self._decoder, variables["decoder"], inputs, key=decoder_key)
            return self.likelihood.log_prob(params, target) + self._log_prior(variables, z, context), state

        held = lax.stop_gradient
        if not self.doubly_reparameterized:
            log_p, state = log_joint(variables, z)
            log_weights = (log_p - log_q,)
        else:
            log_p, state = log_joint(variables, held(z))
            mean, log_variance = held(q.mean), held(q.log_variance)
            normalised = (z - mean) * jnp.exp(-log_variance / 2)
            log_q_of_z = self._normal.log_prob(normalised) - log_variance.sum(-1) / 2
            log_weights = (log_p - held(log_q), log_joint(held(variables), z)[0] - log_q_of_z)
        return tuple(w.reshape(len(keys), -1) for w in log_weights), state


def importance_weighted(model: VAE, **fields: Any) -> IWAE:
    """An IWAE of a VAE's networks, with these fields of its own: `importance_weighted(dense_vae((784,)), samples=5)`."""
    return extended(model, IWAE, **fields)
