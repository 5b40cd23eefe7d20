"""Fitting a flow to a density known up to a constant, by reverse KL.

With q the flow's density and p = f / Z the target's, samples x ~ q give

    KL(q || p) = E_q[log q(x) - log f(x)] + log Z,

and after the fit, with weights w = f / q, `log Z ~ log mean w` and the effective sample size as a fraction,
`(sum w)^2 / (n sum w^2)`. Sampling should be fast, as with inverse autoregressive flows (Kingma et al. 2016,
arXiv:1606.04934).

The gradient is the path derivative (Roeder, Wu and Duvenaud 2017, "Sticking the landing", arXiv:1703.09194): log q is
differentiated through x only. The omitted term has expectation zero, and without it the gradient of every sample is
zero if q = p.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.distributions.unnormalized import UnnormalizedDensity
from jaxgen.models.flows.flow import Flow


@dataclasses.dataclass(frozen=True)
class ReverseKL:
    """A flow over [B, features] and the density that it is fitted to; one player, "flow", one play, "reverse_kl".

    Training uses the size of a batch only, as the number of samples of a step. `evaluate` also computes the flow's
    `log_prob` of the batch, which may hold samples from the target.

    Attributes:
        flow: over continuous vectors, fast to sample.
        target: `log_density` from [B, features] to [B].
        path_derivative: False differentiates log q through the flow's parameters too.
    """

    flow: Flow
    target: UnnormalizedDensity
    path_derivative: bool = True

    @property
    def monitor(self) -> tuple[str, str]:
        return ("reverse_kl", "min") if self.target.log_normalizer is not None else ("free_energy", "min")

    def init(self, key: Key, batch: Batch) -> Variables:
        """The flow's variables, with data-dependent initialisation in the direction of sampling."""
        z_key, key = jax.random.split(key)
        z = self.flow.base.sample(z_key, jnp.shape(batch["x"])[0])
        init = jax.jit(lambda key, z: self.flow.bijector.init(key, z, method="inverse_and_log_det"))
        return {"flow": init(key, z)}

    def plays(self) -> Mapping[str, Play]:
        """One play: reverse KL by Adam, gradients clipped to norm 10."""
        optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-3))
        return {"reverse_kl": Play(("flow",), self.loss, optimizer, accumulates=True)}

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """`E_q[log q(x) - log f(x)]` in nats, the free energy: KL(q || p) - log Z."""
        x, log_q = self.flow.sample_and_log_prob(variables, key, jnp.shape(batch["x"])[0])
        if self.path_derivative:
            log_q = self.flow.log_prob(jax.lax.stop_gradient(variables), x)
        log_weights = self.target.log_density(x) - log_q
        return LossOutput(-log_weights.mean(), {"effective_fraction": effective_fraction(log_weights)})

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Evaluation metrics in nats, by as many samples as the batch has examples.

        `free_energy`; `log_normalizer` and `effective_fraction` by importance weights; `log_prob` of the batch; with a
        known normalizer also `reverse_kl` and the estimate's absolute error, `log_normalizer_error`.
        """
        log_weights = self.log_weights(variables, key, jnp.shape(batch["x"])[0])
        log_normalizer = jax.nn.logsumexp(log_weights) - math.log(len(log_weights))
        metrics = {
            "free_energy": -log_weights.mean(),
            "log_normalizer": log_normalizer,
            "effective_fraction": effective_fraction(log_weights),
            "log_prob": self.flow.log_prob(variables, batch["x"]).mean(),
        }
        if (known := self.target.log_normalizer) is not None:
            metrics["reverse_kl"] = known - log_weights.mean()
            metrics["log_normalizer_error"] = jnp.abs(log_normalizer - known)
        return metrics

    def log_weights(self, variables: Variables, key: Key, n: int) -> Array:
        """log f(x) - log q(x) of n samples from the flow, [n]."""
        x, log_q = self.flow.sample_and_log_prob(variables, key, n)
        return self.target.log_density(x) - log_q

    def sample(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """n samples from the flow, [n, features]."""
        return self.flow.sample(variables, key, n, context)

    def log_prob(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """log q(x), [B]."""
        return self.flow.log_prob(variables, x, key, context)


def effective_fraction(log_weights: Array) -> Array:
    """The effective sample size over n, `(sum w)^2 / (n sum w^2)`, from log-weights [n]: between 1/n and 1."""
    total, squares = jax.nn.logsumexp(log_weights), jax.nn.logsumexp(2 * log_weights)
    return jnp.exp(2 * total - squares) / log_weights.size
