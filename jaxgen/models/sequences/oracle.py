"""Oracles: distributions of sequences that are known exactly, to learn from samples of and to judge a learner by.

Yu et al. 2017, "SeqGAN", section 4: an LSTM with random weights. A generator's likelihoods are known as well, so
that both divergences from the oracle can be estimated (`jaxgen.metrics.oracle_metrics`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.contracts import Array, Collections, Key
from jaxgen.nets.token_rnn import TokenRNN
from jaxgen.nets.token_sampling import sample_tokens

_GATES = {"input": "i", "forget": "f", "output": "o", "cell": "g"}


@dataclasses.dataclass(frozen=True, eq=False)
class TokenOracle:
    """A token network with fixed variables as a distribution of sequences [T].

    Attributes:
        network: a token network.
        variables: its own.
    """

    network: TokenRNN
    variables: Collections

    def log_probs(self, tokens: Array) -> Array:
        """log p(y_t | y_<t) in nats: [B, T] to [B, T] float32."""
        return self.network.apply(self.variables, jnp.asarray(tokens, jnp.int32), method="log_probs")

    def sample(self, key: Key, n: int, temperature: float = 1.0) -> Array:
        """n sequences, int32 [n, T]."""
        return sample_tokens(self.network, self.variables, key, n, temperature=temperature)


def random_oracle(seed: int, num_tokens: int, length: int, width: int = 32, std: float = 1.0) -> TokenOracle:
    """An LSTM with normal weights, as SeqGAN's: its first input is the vector of token 0.

    Args:
        std: of all weights and biases; with large ones it has less entropy.
    """
    network = TokenRNN(num_tokens, length, width, width, initial_std=std)
    variables = network.init(jax.random.key(seed), jnp.zeros((1, length), jnp.int32))
    return TokenOracle(network, _begun_with_token_0(variables["params"]))


def lstm_oracle(arrays: Mapping[str, np.ndarray], length: int = 20) -> TokenOracle:
    """An LSTM with given weights, as SeqGAN's: its first input is the vector of token 0.

    `arrays` has `embedding` [K, E], kernels `<gate>_x` [E, H] and `<gate>_h` [H, H] and biases `<gate>_b` [H] of the
    gates `input`, `forget`, `output` and of the `cell`, and `logits_w` [H, K], `logits_b` [K].

    Args:
        length: of samples.

    Raises:
        ValueError: missing arrays, or arrays of other shapes.
    """
    names = ["embedding", "logits_w", "logits_b", *(f"{gate}_{part}" for gate in _GATES for part in "xhb")]
    if missing := sorted(set(names) - set(arrays)):
        raise ValueError(f"`arrays` must have those of an LSTM, got no {missing}")
    arrays = {name: np.asarray(arrays[name], np.float32) for name in names}
    if arrays["embedding"].ndim != 2 or arrays["input_b"].ndim != 1:
        raise ValueError("`arrays` must have 'embedding' [K, E] and 'input_b' [H]")
    (num_tokens, embedding_width), (width,) = arrays["embedding"].shape, arrays["input_b"].shape
    cell: dict[str, Any] = {}
    for gate, letter in _GATES.items():
        cell[f"i{letter}"] = {"kernel": arrays[f"{gate}_x"]}
        cell[f"h{letter}"] = {"kernel": arrays[f"{gate}_h"], "bias": arrays[f"{gate}_b"]}
    network = TokenRNN(num_tokens, length, width, embedding_width)
    params = jax.tree.map(jnp.asarray, {
        "beginning": {"vector": arrays["embedding"][0]},
        "embed": {"embedding": arrays["embedding"]},
        "one": cell,
        "last": {"kernel": arrays["logits_w"], "bias": arrays["logits_b"]},
    })  # fmt: skip
    expected = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, length), jnp.int32))["params"]
    shapes, wanted = (jax.tree.map(jnp.shape, tree) for tree in (params, expected))
    if shapes != wanted:
        raise ValueError(f"`arrays` must have the shapes of an LSTM with {num_tokens=} and {width=}")
    return TokenOracle(network, _begun_with_token_0(params))


def _begun_with_token_0(params: Any) -> Collections:
    return {"params": {**params, "beginning": {"vector": params["embed"]["embedding"][0]}}}
