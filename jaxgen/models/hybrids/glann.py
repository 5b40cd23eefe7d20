"""Generative latent nearest neighbours (Hoshen, Li and Malik 2019, "Non-Adversarial Image Synthesis with Generative
Latent Nearest Neighbors").

After GLO (`jaxgen.models.hybrids.glo`) a mapping T of noise e ~ N(0, I) to latents learns their distribution, by
implicit maximum likelihood. In each epoch noise is drawn anew, and each latent z_i is matched with the nearest mapped
noise:

    e_i = argmin over e of |z_i - T(e)|^2,      min over T:  sum_i |z_i - T(e_i)|^2

Each latent has a match, so that no example is dropped; a critic, which only asks samples to be near examples, does not
see what is missing. Samples are G(T(e)).

The authors' T has batch normalisation, always with statistics of the batch. One noise may be the match of many latents,
at first of almost all: a batch then holds few different ones, whose variance is small. With moving averages of such
statistics T explodes on all other noises, and the one that is left stays the match of all latents. So a mapping with
batch statistics is in training mode here too, in matches and samples; without normalisation T learns faster.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Phase, Play, Variables
from jaxgen.losses.squared_distance import squared_distance
from jaxgen.losses.vector_quantization import nearest_codes
from jaxgen.models.forward import forward
from jaxgen.models.hybrids.epochs import restarted
from jaxgen.models.hybrids.glo import GLO
from jaxgen.nets.heads import Headed, VectorHead
from jaxgen.sharding import sharded

CHUNK = 256
"""Latents whose distances to all mapped noises are in memory at a time."""
BATCH_STATISTICS = "batch_stats"
LEAST = 256
"""Noises whose batch statistics a mapping of samples has at least."""
MATCHED = "matched"
"""The collection of the mapping with the noise of each example: memory."""


@dataclasses.dataclass(frozen=True)
class GLANN(GLO):
    """The players of a GLO and `mapping` (T); a phase of its play, then one of the play `imle`.

    Attributes:
        mapping: any network from noise to features; the model adds the last layer. With batch statistics it is always
            in training mode: samples depend on each other, and for fewer than `LEAST` more noises are mapped.
        noise_dim: dimension of e.
        candidates: mapped noises per latent, of which the nearest is its match.
        glo_fraction: of the steps, in the first phase; 200 of 250 epochs in the authors' code.
    """

    _: dataclasses.KW_ONLY
    mapping: nn.Module
    noise_dim: int = 32
    candidates: int = 2
    glo_fraction: float = 0.8

    def __post_init__(self):
        super().__post_init__()
        check_counts(noise_dim=self.noise_dim, candidates=self.candidates)
        check_number("glo_fraction", self.glo_fraction, 0, 1)

    @property
    def _mapping(self) -> nn.Module:
        return Headed(self.mapping, VectorHead(self.latent_dim))

    def init(self, key: Key, batch: Batch) -> Variables:
        glo_key, mapping_key = jax.random.split(key)
        noise = jnp.zeros((self.num_examples, self.noise_dim))
        mapping = {**self._mapping.init(mapping_key, noise[:2]), MATCHED: {"noise": noise}}
        return {**super().init(glo_key, batch), "mapping": mapping}

    def plays(self) -> dict[str, Play]:
        return {**super().plays(), "imle": Play(("mapping",), self.imle_loss, optax.adam(1e-3, b1=0.5))}

    def authors_optimizers(self) -> dict[str, optax.GradientTransformation]:
        """By play: Adam is created anew for each epoch, and T has a weight decay. For `fit(optimizers=...)`."""
        # beside a mean over the latent's dimensions
        decay = optax.add_decayed_weights(1e-5 * self.latent_dim)
        adam = restarted(optax.adam(1e-3, b1=0.5), self.epoch)
        return {**super().authors_optimizers(), "imle": optax.chain(decay, adam)}

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """Whole epochs of `glo`, as near as possible to their fraction, and the rest of `imle`; at least one step
        each."""
        plays, unit = self.plays(), self.epoch if steps > self.epoch else 1
        first = unit * max(1, min((steps - 1) // unit, round(self.glo_fraction * steps / unit)))
        glo = Phase({"glo": plays["glo"]}, first, monitor=(f"gaussian_{self.monitor[0]}", self.monitor[1]))
        return glo, Phase({"imle": plays["imle"]}, steps - first)

    def imle_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The squared distance of latents from T of their matches, which are found anew at the start of each epoch."""
        match_key, mapping_key = jax.random.split(key)
        held = lax.stop_gradient(variables)
        begins = clock.phase_step % self.epoch == 0
        matched = lax.cond(begins, lambda: self.match(held, match_key), lambda: held["mapping"][MATCHED]["noise"])
        mapped, statistics = self._map(variables, matched[batch["index"]], mapping_key)
        value = squared_distance(mapped, self.latents(held)[batch["index"]])
        return LossOutput(value, {}, {"mapping": statistics}, {"mapping": {MATCHED: {"noise": matched}}})

    def match(self, variables: Variables, key: Key) -> Array:
        """For each latent, that of `candidates` N noises e ~ N(0, I) whose T(e) is nearest: [N, noise_dim]."""
        noise = jax.random.normal(key, (self.candidates * self.num_examples, self.noise_dim))
        mapped = self._map(variables, noise)[0]
        nearest = lax.map(lambda z: nearest_codes(z, mapped), self.latents(variables), batch_size=CHUNK)
        return noise[nearest]

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`metrics` of as many samples as examples, and as `gaussian_...` those of GLO's samples."""
        n = jnp.shape(batch["x"])[0]
        of_glo = self.metrics(batch["x"], self.decode(variables, self.gaussian_latents(variables, key, n)))
        return {**super().evaluate(variables, batch, key), **{f"gaussian_{name}": v for name, v in of_glo.items()}}

    def sample_latents(self, variables: Variables, key: Key, n: int) -> Array:
        drawn = max(n, LEAST) if BATCH_STATISTICS in variables["mapping"] else n
        return self._map(variables, sharded(jax.random.normal(key, (drawn, self.noise_dim))))[0][:n]

    def _map(self, variables: Variables, noise: Array, key: Key | None = None) -> tuple[Array, Mapping[str, Any]]:
        """T(e) and updated statistics; with a key, or with batch statistics, in training mode."""
        collections = {name: tree for name, tree in variables["mapping"].items() if name != MATCHED}
        train = key is not None or BATCH_STATISTICS in collections
        return forward(self._mapping, collections, noise, train=train, key=key)
