"""Sequences of tokens given a context, by maximum likelihood: translations, replies, endings of stories.

    L = -sum_t log G(y_t | y_<t, x)

summed up to and including the end token. Sutskever et al. 2014, "Sequence to Sequence Learning with Neural Networks",
equation 1; with attention Bahdanau et al. 2015.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import optax
from flax import linen as nn

from jaxgen.arguments import as_integers
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.sequences import sequence_log_probs
from jaxgen.models.forward import forward
from jaxgen.models.sequences.likelihood import maximum_likelihood
from jaxgen.nets.token_sampling import sample_tokens
from jaxgen.tokens import token_mask


@dataclasses.dataclass(frozen=True)
class ConditionalSequences:
    """The player `generator` and the play `mle`, on data with `"x"`, integers [B, T], and a `"context"`.

    Attributes:
        generator: a token network, such as `jaxgen.nets.AttentionSeq2Seq`, whose context is the source's tokens [B, S].
        end: the token after which a sequence has only this token; None: none.
        monitor: the metric of `evaluate` that chooses the best checkpoint, and its direction.
    """

    generator: nn.Module
    end: int | None = 0
    monitor: tuple[str, str] = ("nll", "min")

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: no context.
        TypeError: the data are not integers [B, T].
        """
        tokens, context = tokens_and_context(batch)
        return {"generator": self.generator.init(key, tokens, context)}

    def plays(self) -> Mapping[str, Play]:
        optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(1e-3))
        return {"mle": Play(("generator",), self.mle_loss, optimizer, accumulates=True)}

    def mle_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """-log G(y|x) in nats, with dropout; metric `nll` per token."""
        return maximum_likelihood(self.generator, variables, *tokens_and_context(batch), self.end, key)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`nll` in nats per sequence, and `nll_per_token` of the batch."""
        tokens, context = tokens_and_context(batch)
        log_prob = self.log_prob(variables, tokens, context)
        return {"nll": -log_prob.mean(), "nll_per_token": -log_prob.sum() / token_mask(tokens, self.end).sum()}

    def log_probs(self, variables: Variables, x: Array, context: Array) -> Array:
        """log G(x_t | x_<t, context) in nats: [B, T] of tokens [B, T] given contexts [B, S]."""
        tokens, context = tokens_and_context({"x": x, "context": context})
        return forward(self.generator, variables["generator"], tokens, context, method="log_probs")[0]

    def log_prob(self, variables: Variables, x: Array, context: Array) -> Array:
        """log G(x|context) in nats, up to the end token: [B]."""
        return sequence_log_probs(self.log_probs(variables, x, context), token_mask(x, self.end))

    def sample(
        self, variables: Variables, key: Key, n: int, context: Array, temperature: float | Array = 1.0,
        top_k: int | None = None,
    ) -> Array:  # fmt: skip
        """n sequences of tokens, int32 [n, T], given contexts [n, S] or [1, S] (`sample_tokens`)."""
        options = {"temperature": temperature, "top_k": top_k, "end": self.end}
        return sample_tokens(self.generator, variables["generator"], key, n, context, **options)

    def translate(self, variables: Variables, x: Array) -> Array:
        """The most probable token at each position given those before it: int32 [B, T] of sources [B, S]."""
        return self.sample(variables, jax.random.key(0), len(x), x, temperature=0.0)


def tokens_and_context(batch: Batch) -> tuple[Array, Array]:
    """`"x"` [B, T] and `"context"` [B, S], int32.

    Raises:
        ValueError: no context, or other shapes.
        TypeError: not integers.
    """
    if batch.get("context") is None:
        raise ValueError(f"a batch must have the entry 'context', got {sorted(batch)}")
    tokens = as_integers("B T", x=batch["x"])
    context = as_integers("B S", {"B": len(tokens)}, context=batch["context"])
    return tokens.astype("int32"), context.astype("int32")
