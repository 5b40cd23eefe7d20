"""Estimates of log p(x) and anomaly scores, for models with the terms of a bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax
from jax import lax

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.losses.elbo import importance_weighted_bound
from jaxgen.models.vaes.objectives import ELBO, BoundTerms, ImportanceWeighted, Objective


class Estimates:
    """A base class for models that have `terms`."""

    def terms(
        self, variables: Variables, batch: Batch, key: Key, objective: Objective = ELBO(), training: bool = False
    ) -> tuple[BoundTerms, Mapping[str, Mapping[str, Any]]]:
        raise NotImplementedError

    def log_prob(
        self, variables: Variables, x: Array, key: Key, context: Array | None = None, samples: int = 100, chunk: int = 1
    ) -> Array:
        """A lower bound on log p(x) in nats, [B]: the importance-weighted bound by `samples` samples of z."""
        return importance_weighted_bound(self.log_weights(variables, x, key, context, samples, chunk))

    def log_weights(
        self, variables: Variables, x: Array, key: Key, context: Array | None = None, samples: int = 100, chunk: int = 1
    ) -> Array:
        """log p(x, z) - log q(z|x) for `samples` samples z per example, at most `chunk` at once: [samples, B]."""
        check_counts(samples=samples, chunk=chunk)
        chunk = max(size for size in range(1, min(chunk, samples) + 1) if samples % size == 0)
        objective = ImportanceWeighted(samples, chunk=chunk)
        return self.terms(variables, _batch(x, context), key, objective)[0].log_weights

    def anomaly_score(
        self,
        variables: Variables,
        x: Array,
        key: Key,
        context: Array | None = None,
        by: Literal["reconstruction", "elbo", "log_prob"] = "elbo",
        samples: int = 10,
        chunk: int = 1,
    ) -> Array:
        """Minus E_q[log p(x|z)], minus the evidence lower bound, or minus `log_prob`, by `samples` samples: nats, [B].

        An and Cho 2015, "Variational Autoencoder based Anomaly Detection using Reconstruction Probability", for the
        first.
        """
        if by == "log_prob":
            return -self.log_prob(variables, x, key, context, samples, chunk)

        def score(key: Key) -> Array:
            terms = self.terms(variables, _batch(x, context), key)[0]
            return terms.kl - terms.reconstruction if by == "elbo" else -terms.reconstruction

        return lax.map(score, jax.random.split(key, samples), batch_size=min(chunk, samples)).mean(0)


def _batch(x: Array, context: Array | None) -> Batch:
    return {"x": x} if context is None else {"x": x, "context": context}
