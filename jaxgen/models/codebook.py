"""Vector quantization: vectors are replaced by the nearest of K learned codes (van den Oord et al. 2017).

With sg the stop-gradient and e the code nearest to the encoder's vector z_e, the codebook adds to a model's loss

    |sg[z_e] - e|^2 + beta |z_e - sg[e]|^2,

summed over the positions, and the model decodes e with the gradient of z_e (straight-through). With `decay` the codes
are moving averages of the vectors assigned to them instead of parameters, and the first term is dropped.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Collections, Key, LossOutput
from jaxgen.losses.vector_quantization import (
    averaged_codebook,
    codebook_loss,
    commitment_loss,
    k_means,
    nearest_codes,
    perplexity,
    restart_dead_codes,
    straight_through,
    update_averages,
)

PLAYER = "codebook"
"""The player that holds a codebook's variables."""


class Quantized(NamedTuple):
    """Vectors z_e [..., D], the indices of their codes, int32 [...], and the codes [..., D]."""

    z_e: Array
    indices: Array
    codes: Array

    @property
    def straight_through(self) -> Array:
        """The codes, with the gradient of `z_e`."""
        return straight_through(self.z_e, self.codes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Codebook:
    """K codes of dimension D, how they learn and how they start; the variables are those of the player `codebook`.

    Attributes:
        num_codes: K.
        code_dim: D.
        commitment: beta.
        decay: of the moving averages; None: the codes are parameters, moved by `codebook_loss`.
        restart: with `decay`, codes used less than this fraction of the mean usage are replaced by vectors of the
            batch; 0: never.
    """

    num_codes: int = 512
    code_dim: int = 64
    commitment: float = 0.25
    decay: float | None = None
    restart: float = 0.05

    def __post_init__(self):
        check_counts(num_codes=self.num_codes, code_dim=self.code_dim)
        check_number("commitment", self.commitment, 0)
        check_number("decay", self.decay, 0, 1)
        check_number("restart", self.restart, 0)

    @property
    def players(self) -> tuple[str, ...]:
        """The players whose parameters the loss moves: none for averaged codes."""
        return () if self.decay is not None else (PLAYER,)

    @property
    def accumulates(self) -> bool:
        """Whether the loss is a mean over examples (`jaxgen.contracts.Play`): averaged codes depend on the batch."""
        return self.decay is None

    def init(self, key: Key, z_e: Array) -> Collections:
        """Codes at the k-means centres of the vectors [..., D]."""
        start = k_means(key, z_e.reshape(-1, self.code_dim), self.num_codes)
        if self.decay is None:
            return {"params": {"codes": start}}
        return {"params": {}, "averages": {"counts": jnp.ones(self.num_codes), "sums": start}}

    def codes(self, collections: Collections) -> Array:
        """The codes, [K, D]."""
        if self.decay is None:
            return jnp.asarray(collections["params"]["codes"])
        return averaged_codebook(**collections["averages"])

    def quantize(self, collections: Collections, z_e: Array) -> Quantized:
        """Vectors [..., D] and the codes nearest to them."""
        codes = self.codes(collections)
        indices = nearest_codes(z_e, codes)
        return Quantized(z_e, indices, codes[indices])

    def loss(self, collections: Collections, quantized: Quantized, key: Key) -> LossOutput:
        """What the codebook adds to a model's loss, for vectors [B, ..., D].

        Metrics: the commitment loss, and the perplexity of the batch's codes, which depends on the size of the batch.
        Statistics: the averages, if the codes are averages; the key draws the restarted ones.
        """
        z_e, indices, codes = quantized
        commitment = commitment_loss(z_e, codes)
        metrics = {"commitment": commitment, "batch_perplexity": perplexity(self.usage(indices))}
        if self.decay is None:
            return LossOutput(codebook_loss(z_e, codes) + self.commitment * commitment, metrics)
        averages = update_averages(**collections["averages"], z_e=z_e, codes=indices, decay=self.decay)
        if self.restart:
            averages = restart_dead_codes(*averages, z_e, key, self.restart)
        statistics = {PLAYER: {"averages": dict(zip(("counts", "sums"), averages, strict=True))}}
        return LossOutput(self.commitment * commitment, metrics, statistics)

    def usage(self, indices: Array) -> Array:
        """How often each code occurs, [K]."""
        return jnp.zeros(self.num_codes).at[indices.reshape(-1)].add(1)
