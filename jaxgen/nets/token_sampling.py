"""Sampling from token networks, one position after another, and completing prefixes to judge them.

A token network is a Flax module with `num_tokens`, `length` and the methods of `TokenTransformer` and `TokenRNN`:

    __call__(tokens, context)   logits of all positions given the tokens before them, [B, T] to [B, T, K]
    begin(rows, context)        the carry and the input of the first position
    step(carry, x)              the next carry and the logits [B, K] of this position
    embedding(tokens)           the input after the tokens [B]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.arguments import as_integers, broadcast_context, check_counts, check_number
from jaxgen.contracts import Array, Collections, Key
from jaxgen.distributions.inverse_cdf import sample_categorical
from jaxgen.sharding import full_batch, vary_like

SEGMENTS = 5
"""Loops of a rollout: prefixes that are given at its end take no part in a loop, and each loop is compiled."""


def sample_tokens(
    network: nn.Module, variables: Collections, key: Key, n: int, context: Array | None = None, *,
    length: int | None = None, prefix: Array | None = None, temperature: float | Array = 1.0, top_k: int | None = None,
    end: int | None = None, never: int | None = None, cached: bool = True,
) -> Array:  # fmt: skip
    """Samples n sequences of tokens, int32 [n, length].

    A position costs one step of the network alone. The key of position t is `fold_in(key, t)`: samples with the same
    first tokens and key differ only after them.

    Args:
        network: a token network.
        context: [n, ...] or [1, ...].
        length: None: the network's.
        prefix: the first tokens, int [n, S] or [1, S], which are not sampled.
        temperature: the logits are divided by it; 0: the most probable token at each position.
        top_k: only the k most probable tokens of each position are sampled.
        end: token after which a sequence has only this token; None: none.
        never: a token with probability zero, such as that of unknown words (`without_token`); None: none.
        cached: False computes all positions anew for each token, for comparison: the samples are the same.

    Raises:
        ValueError: a length beyond the network's, a longer prefix, a negative temperature, `top_k`, `end` or `never`
            out of range.
    """
    length = network.length if length is None else length
    check_counts(n=n, length=length)
    check_number("length", length, 1, network.length)
    choose = _chooser(network, temperature, top_k, end, never)
    prefix = jnp.zeros((1, 0), jnp.int32) if prefix is None else as_integers("n S", prefix=prefix)
    given = prefix.shape[1]
    if given > length or prefix.shape[0] not in (1, n):
        raise ValueError(f"`prefix` must be [{n}, S] or [1, S] with S of at most {length}, got shape {prefix.shape}")
    prefix = jnp.broadcast_to(jnp.pad(prefix, ((0, 0), (0, length - given))), (n, length)).astype(jnp.int32)
    context = None if context is None else broadcast_context(context, prefix)
    rows = prefix[:, 0] * 0 if context is None else full_batch(context, 0, dtype=jnp.int32)

    def token_at(t: Array, logits: Array, ended: Array) -> tuple[Array, Array]:
        token = choose(jax.random.fold_in(key, t), logits, ended)
        token = jnp.where(t < given, lax.dynamic_index_in_dim(prefix, t, 1, keepdims=False), token)
        return token, ended if end is None else token == end

    def next_token(carry: tuple[Any, Array, Array], t: Array) -> tuple[tuple[Any, Array, Array], Array]:
        state, x, ended = carry
        state, logits = network.apply(variables, state, x, method="step")
        token, ended = token_at(t, logits, ended)
        return (state, network.apply(variables, token, method="embedding"), ended), token

    def next_token_uncached(carry: tuple[Array, Array], t: Array) -> tuple[tuple[Array, Array], None]:
        tokens, ended = carry
        logits = network.apply(variables, tokens, context)
        token, ended = token_at(t, lax.dynamic_index_in_dim(logits, t, 1, keepdims=False), ended)
        return (lax.dynamic_update_slice_in_dim(tokens, token[:, None], t, 1), ended), None

    ended = rows != rows
    if not cached:
        blank = vary_like((full_batch(rows, 0, (length,), jnp.int32), ended), key, variables)
        return lax.scan(next_token_uncached, blank, jnp.arange(length))[0][0]
    begin = network.apply(variables, rows, context, method="begin")
    carry = vary_like((*begin, ended), key, variables)
    return lax.scan(next_token, carry, jnp.arange(length))[1].T


def rollouts(
    network: nn.Module, variables: Collections, key: Key, tokens: Array, n: int, context: Array | None = None, *,
    temperature: float | Array = 1.0, top_k: int | None = None, end: int | None = None, never: int | None = None,
) -> Array:  # fmt: skip
    """Completes every prefix of sequences [B, T] n times: int32 [n, T - 1, B, T].

    Entry [i, t - 1, b] has the first t tokens of sequence b, t = 1 .. T - 1, and samples after them. A prefix that
    contains `end` is complete. Yu et al. 2017, "SeqGAN", eq. 4.

    Args:
        network, context, temperature, top_k, end, never: as in `sample_tokens`.
        tokens: at least 2 tokens a sequence.

    Raises:
        ValueError: sequences of one token; arguments out of range.
    """
    check_counts(n=n)
    complete = _completer(network, variables, tokens, context, temperature, top_k, end, never)
    return lax.map(complete, jax.random.split(key, n))


def rollout_rewards(
    score: Callable[[Array, Array | None], Array], network: nn.Module, variables: Collections, key: Key, tokens: Array,
    n: int, context: Array | None = None, *, temperature: float | Array = 1.0, top_k: int | None = None,
    end: int | None = None, never: int | None = None,
) -> Array:  # fmt: skip
    """The rewards [B, T] of the tokens of sequences [B, T]: scores of what follows each, without gradients.

        Q[b, t] = mean_i score(rollout i of tokens[b, :t + 1])   for t < T - 1
        Q[b, T - 1] = score(tokens[b])

    One rollout of all prefixes is held at a time, so that memory does not grow with n. Yu et al. 2017, "SeqGAN", eq. 4.

    Args:
        score: maps tokens [M, T] and their context to [M], for example a critic's probability that they are real.
        network, n, context, temperature, top_k, end, never: as in `rollouts`.

    Raises:
        ValueError: as in `rollouts`.
    """
    check_counts(n=n)
    complete = _completer(network, variables, tokens, context, temperature, top_k, end, never)
    batch, length = tokens.shape
    contexts = None if context is None else jnp.tile(broadcast_context(context, tokens), (length - 1, *_ones(context)))

    def scores(key: Key) -> Array:
        completions = complete(key)
        return score(completions.reshape(-1, length), contexts).reshape(length - 1, batch)

    of_prefixes = lax.map(scores, jax.random.split(key, n)).mean(0)
    rewards = jnp.concatenate([of_prefixes, score(tokens, context)[None]]).T
    return lax.stop_gradient(rewards)


def _ones(context: Array) -> tuple[int, ...]:
    return (1,) * (context.ndim - 1)


def without_token(logits: Array, token: int | None) -> Array:
    """The logits [..., K] of the distribution given that a value is not `token`: -inf there. None: unchanged."""
    return logits if token is None else jnp.where(jnp.arange(logits.shape[-1]) == token, -jnp.inf, logits)


def _chooser(
    network: nn.Module, temperature: float | Array, top_k: int | None, end: int | None, never: int | None
) -> Callable[[Key, Array, Array], Array]:
    """Samples tokens [...] from logits [..., K], `end` where a sequence has ended."""
    check_number("temperature", temperature, 0)
    if top_k is not None:
        check_counts(top_k=top_k)
        check_number("top_k", top_k, 1, network.num_tokens)
    if end is not None:
        check_counts(0, end=end)
        check_number("end", end, 0, network.num_tokens - 1)
    if never is not None:
        check_counts(0, never=never)
        check_number("never", never, 0, network.num_tokens - 1)

    def choose(key: Key, logits: Array, ended: Array) -> Array:
        logits = without_token(logits, never)
        if top_k is not None:
            least = lax.top_k(logits, top_k)[0][..., -1:]
            logits = jnp.where(logits < least, -jnp.inf, logits)
        greedy = jnp.equal(temperature, 0)
        sampled = sample_categorical(key, logits / jnp.where(greedy, 1, temperature))
        token = jnp.where(greedy, logits.argmax(-1), sampled).astype(jnp.int32)
        return token if end is None else jnp.where(ended, end, token)

    return choose


def _completer(
    network: nn.Module, variables: Collections, tokens: Array, context: Array | None, temperature: float | Array,
    top_k: int | None, end: int | None, never: int | None,
) -> Callable[[Key], Array]:  # fmt: skip
    """A function of a key that completes every prefix once, [T - 1, B, T]; the states after prefixes are computed here.

    A row of the batch is a prefix: the network's steps are mapped over them, each with a state of its own. Positions
    are cut into segments; in each, only the prefixes that end before its last position take part.
    """
    tokens = as_integers("B T", tokens=tokens).astype(jnp.int32)
    batch, length = tokens.shape
    if not 2 <= length <= network.length:
        raise ValueError(f"`tokens` must have 2 to length={network.length} positions, got {length}")
    choose = _chooser(network, temperature, top_k, end, never)
    context = None if context is None else broadcast_context(context, tokens)

    def step(state: Any, x: Array) -> tuple[Any, Array]:
        return network.apply(variables, state, x, method="step")

    def embed(token: Array) -> Array:
        return network.apply(variables, token, method="embedding")

    def given(carry: tuple[Any, Array], token: Array) -> tuple[tuple[Any, Array], tuple[Any, Array]]:
        carry = (step(*carry)[0], embed(token))
        return carry, carry

    first = vary_like(network.apply(variables, tokens[:, 0], context, method="begin"), variables, tokens)
    states = lax.scan(given, first, tokens.T[:-1])[1]  # entry t - 1: after the first t tokens
    ended = jnp.zeros((length - 1, batch), bool) if end is None else (tokens.T[:-1] == end).cumsum(0) > 0
    cuts = sorted({round(1 + i * (length - 1) / SEGMENTS) for i in range(SEGMENTS + 1)} | {1, length})

    def complete(key: Key) -> Array:
        carry = jax.tree.map(lambda a: a[:0], (*states, ended))
        columns = [jnp.broadcast_to(tokens.T[0], (1, length - 1, batch))]
        for start, stop in zip(cuts[:-1], cuts[1:], strict=True):
            entering = jax.tree.map(lambda a, start=start, stop=stop: a[start - 1 : stop - 1], (*states, ended))
            carry = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), carry, entering)
            begun = jnp.arange(1, stop)

            def next_token(carry: Any, t: Array, begun: Array = begun) -> tuple[Any, Array]:
                state, x, ended = carry
                new_state, logits = jax.vmap(step)(state, x)
                token = choose(jax.random.fold_in(key, t), logits, ended)
                new = (new_state, jax.vmap(embed)(token), ended if end is None else token == end)
                sampled = begun <= t
                carry = jax.tree.map(lambda a, b: jnp.where(_over(sampled, a), a, b), new, carry)
                return carry, jnp.where(sampled[:, None], token, tokens.T[t])

            carry = vary_like(carry, key)
            carry, column = lax.scan(next_token, carry, jnp.arange(start, stop))
            waiting = jnp.broadcast_to(tokens.T[start:stop, None], (stop - start, length - stop, batch))
            columns.append(jnp.concatenate([column, waiting], 1))
        return jnp.concatenate(columns).transpose(1, 2, 0)

    return complete


def _over(mask: Array, x: Array) -> Array:
    return mask.reshape(-1, *(1,) * (x.ndim - 1))
