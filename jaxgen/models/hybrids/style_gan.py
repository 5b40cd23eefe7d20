"""StyleGAN2 (Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks"; Karras et
al. 2020, "Analyzing and Improving the Image Quality of StyleGAN").

A mapping f takes latents to styles w = f(z), and a synthesis g takes a style for each layer, and noise, to an image:

    critic:     E softplus(-D(x)) + E softplus(D(g(w))) + R1, lazily
    generator:  E softplus(-D(g(w))) + weight E (|J_w^T y| - a)^2, lazily,    J_w = dg/dw, y ~ N(0, I)

(2020, sections 3.1 and 3.2), with a the moving average of the lengths |J_w^T y|. A fraction of the samples takes the
style of the layers above a random one from a second latent (2019, section 3.1). Samples are truncated towards the mean
style: w' = E w + truncation (w - E w) (2019, appendix B).

A lazy regularisation is computed in every k-th move, k times as strong, and added to the loss of that move, so that
Adam takes no further steps for it. The authors' code makes separate steps, and therefore rescales Adam's parameters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgen.arguments import as_batch, as_real, broadcast_context, check_counts, check_number
from jaxgen.contracts import Array, Batch, Clock, Collections, Key, LossOutput, Play, Variables
from jaxgen.losses.path_length import next_path_length, path_length_penalty, path_lengths
from jaxgen.models.forward import forward
from jaxgen.models.gans.gan import GAN
from jaxgen.models.gans.penalties import R1, Lazy
from jaxgen.models.gans.terms import Term
from jaxgen.models.scaling import to_data
from jaxgen.nets.equalized import EqualizedDense
from jaxgen.nets.heads import ScalarHead
from jaxgen.nets.style import StyleGenerator

PATH = "path_length"
"""The collection of the generator with `mean`, the average a of the lengths: statistics."""


@dataclasses.dataclass(frozen=True)
class PathLength:
    """The path length regularisation of the generator.

    Attributes:
        decay: of the moving average a, per computation. It starts with the first lengths: from zero, as in the authors'
            code, it would pull lengths towards zero in the first thousand moves.
        every: moves of the generator between two computations, and the factor of the weight.
        shrink: it is computed on a batch smaller by this factor.
    """

    weight: float = 2.0
    decay: float = 0.99
    every: int = 4
    shrink: int = 2

    def __post_init__(self):
        check_number("weight", self.weight, 0)
        check_number("decay", self.decay, 0, 1)
        check_counts(every=self.every, shrink=self.shrink)


@dataclasses.dataclass(frozen=True)
class StyleGAN(GAN):
    """A `GAN` whose `generator` is a `StyleGenerator`, which ends in the image itself.

    A context is embedded by the mapping; `critic_condition=Projection()` gives the critic of the conditional model.

    Attributes:
        path_length: None: no such regularisation.
        mixing: fraction of the samples in training with styles of two latents.

    Raises:
        ValueError: as `GAN`; `mixing` out of range.
    """

    generator: StyleGenerator
    _: dataclasses.KW_ONLY
    latent_dim: int = 512
    terms: tuple[Term, ...] = (Lazy(R1(10.0), 16),)
    critic_head: ScalarHead = ScalarHead(EqualizedDense)
    path_length: PathLength | None = PathLength()
    mixing: float = 0.9

    def __post_init__(self):
        super().__post_init__()
        check_number("mixing", self.mixing, 0, 1)

    def _optimizer(self, play: str) -> optax.GradientTransformation:
        return optax.adam(2e-3, b1=0.0, b2=0.99)

    @property
    def _generator(self) -> StyleGenerator:
        return self.generator

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: as `GAN.init`; a generator of images of another shape.
        """
        variables = super().init(key, batch)
        z = self.noise(key, 1)
        context = batch.get("context")
        context = None if context is None else as_real("context", context)[:1]
        shape = jax.eval_shape(lambda z: self._generate(variables["generator"], z, context)[0], z).shape[1:]
        if shape != tuple(self.event_shape):
            raise ValueError(f"`generator` must make images of shape {self.event_shape}, got {shape}")
        if self.path_length is None:
            return variables
        return {**variables, "generator": {**variables["generator"], PATH: {"mean": jnp.zeros(())}}}

    def plays(self) -> dict[str, Play]:
        plays = super().plays()
        # the average of the lengths depends on the whole batch
        return {**plays, "generator": plays["generator"]._replace(accumulates=False)}

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Further metrics: `path_length`, a, and `path_penalty`, zero in moves that do not compute it."""
        game_key, path_key = jax.random.split(key)
        loss = super().generator_loss(variables, batch, game_key, clock)
        if self.path_length is None:
            return loss
        settings, mean = self.path_length, variables["generator"][PATH]["mean"]

        def computed() -> tuple[Array, Array]:
            lengths = self._lengths(variables["generator"], batch, path_key)
            start = jnp.where(mean == 0, lengths.mean(), mean)
            after = next_path_length(start, lengths, settings.decay)
            return path_length_penalty(lengths, after, settings.every * settings.weight), after

        on = clock.moves % settings.every == settings.every - 1
        penalty, after = lax.cond(on, computed, lambda: (jnp.zeros(()), mean))
        return loss.replace(
            value=loss.value + penalty,
            metrics={**loss.metrics, "path_penalty": penalty, "path_length": after},
            statistics={"generator": {**loss.statistics["generator"], PATH: {"mean": after}}},
        )

    def _lengths(self, generator: Collections, batch: Batch, key: Key) -> Array:
        """The path lengths of new samples, [B / shrink]."""
        z_key, styles_key, noise_key, direction_key = jax.random.split(key, 4)
        n = max(1, jnp.shape(batch["x"])[0] // self.path_length.shrink)
        context = batch.get("context")
        context = None if context is None else broadcast_context(as_real("context", context)[:n], batch["x"][:n])
        styles, _ = self._styles(generator, self.noise(z_key, n), context, styles_key)
        directions = jax.random.normal(direction_key, (n, *self.event_shape), styles.dtype)
        return path_lengths(lambda styles: self._synthesize(generator, styles, noise_key), styles, directions)

    def styles(
        self, variables: Variables, z: Array, context: Array | None = None, truncation: float = 1.0
    ) -> Array:
        """The style of each layer from given latents, [B, layers, W], the same for all layers.

        Args:
            truncation: 0: the mean style, 1: not truncated.
        """
        z = as_batch("z", z)
        styles, _ = self._styles(variables["generator"], z, broadcast_context(context, z))
        mean = variables["generator"]["batch_stats"]["mapping"]["mean"]
        return mean + truncation * (styles - mean)

    def synthesize(self, variables: Variables, styles: Array, key: Key | None = None) -> Array:
        """g(w) of styles [B, layers, W], in data units; without a key, with the fixed noise."""
        return to_data(self._synthesize(variables["generator"], styles, key), self.levels, -1.0, 1.0)

    def decode(
        self, variables: Variables, z: Array, context: Array | None = None, truncation: float = 1.0
    ) -> Array:
        """g(f(z)) of given latents, with the fixed noise, in data units."""
        return self.synthesize(variables, self.styles(variables, z, context, truncation))

    def sample(
        self, variables: Variables, key: Key, n: int, context: Array | None = None, truncation: float = 1.0
    ) -> Array:
        """Samples in data units, all with the fixed noise of `constants`."""
        return self.decode(variables, self.noise(key, n), context, truncation)

    def _generate(
        self, generator: Collections, z: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        styles_key, noise_key = (None, None) if key is None else jax.random.split(key)
        styles, statistics = self._styles(generator, z, context, styles_key)
        return self._synthesize(generator, styles, noise_key), statistics

    def _styles(
        self, generator: Collections, z: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        """Styles [B, layers, W] and updated statistics; with a key in training mode, and mixed."""
        w, statistics = forward(self.generator, generator, (z, context), key=key, method="map")
        styles = self.generator.repeat(w)
        if key is None or not self.mixing:
            return styles, statistics
        n, layers = styles.shape[:2]
        latent_key, layer_key, mixed_key = jax.random.split(key, 3)
        others, _ = forward(self.generator, generator, (self.noise(latent_key, n), context), method="map")
        first = jax.random.randint(layer_key, (n, 1), 1, layers)
        mixed = jax.random.bernoulli(mixed_key, self.mixing, (n, 1)) & (jnp.arange(layers) >= first)
        return jnp.where(mixed[..., None], others[:, None], styles), statistics

    def _synthesize(self, generator: Collections, styles: Array, key: Key | None = None) -> Array:
        """Images on the networks' scale."""
        return forward(self.generator, generator, styles, train=False, key=key, method="synthesize")[0]
