"""Maximum likelihood of a token network: L = -sum_t log G(y_t | y_<t, context), up to and including the end token."""

from __future__ import annotations

from flax import linen as nn

from jaxgen.contracts import Array, Key, LossOutput, Variables
from jaxgen.losses.sequences import teacher_forcing
from jaxgen.models.forward import forward
from jaxgen.tokens import token_mask


def maximum_likelihood(
    network: nn.Module, variables: Variables, tokens: Array, context: Array | None, end: int | None, key: Key
) -> LossOutput:
    """L in nats, a mean over sequences [B, T], of the player `generator` with dropout; metric `nll` per token."""
    inputs = (tokens,) if context is None else (tokens, context)
    log_probs, statistics = forward(network, variables["generator"], *inputs, key=key, method="log_probs")
    mask = token_mask(tokens, end)
    value = teacher_forcing(log_probs, mask)
    return LossOutput(value, {"nll": value * len(tokens) / mask.sum()}, {"generator": statistics})
