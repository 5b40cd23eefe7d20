"""InfoGAN (Chen et al. 2016, "Interpretable Representation Learning by Information Maximizing GANs").

Part of the noise are codes c, categories and numbers, and a recognition network Q, a layer on the critic's features,
reads them off the samples. The generator is made to keep them legible, by a bound on their mutual information:

    I(c; G(z, c)) >= L_I = E log Q(c|G(z, c)) + H(c)
    critic and recognition:     criterion - lambda L_I
    generator and recognition:  criterion - lambda L_I

on samples alone (equations 5 and 6): the layers that Q shares with the critic are part of Q, so that the bound moves them
too, as in the authors' code. With `shared=False` they are the critic's own, and Q takes its features as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import accumulate

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.contracts import Array, Batch, Key, LossOutput, Play, Variables
from jaxgen.losses.auxiliary import categorical_information, normal_information
from jaxgen.models.gans.gan import GAN
from jaxgen.models.gans.players import Judgement
from jaxgen.nets.heads import VectorHead
from jaxgen.nets.mlp import MLP


@dataclasses.dataclass(frozen=True)
class InfoGAN(GAN):
    """A `GAN` with a third player `recognition`, which moves with the generator, and with the critic.

    z is noise [latents], then a one-hot vector for each category, then the numbers, uniform on [-1, 1).

    Attributes:
        latents: dimension of the noise besides the codes.
        categories: the number of values of each categorical code.
        numbers: how many continuous codes; Q(c|x) is normal, its mean and variance given by the network.
        recognition: any network on the critic's features; the model adds the last layer.
        information_weight: lambda of the categorical codes.
        number_weight: lambda of the continuous ones.
        shared: the bound moves the layers below Q.
    """

    latents: int = 62
    categories: tuple[int, ...] = (10,)
    numbers: int = 2
    recognition: nn.Module = MLP((128,))
    information_weight: float = 1.0
    number_weight: float = 0.1
    shared: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.packing != 1:
            raise ValueError(f"packing={self.packing}: codes are of one sample, so InfoGAN packs none")
        if not self.categories and not self.numbers:
            raise ValueError("InfoGAN needs a code: categories, numbers, or both")

    @property
    def _recognition(self) -> nn.Module:
        return nn.Sequential((self.recognition, VectorHead(sum(self.categories) + 2 * self.numbers)))

    def init(self, key: Key, batch: Batch) -> Variables:
        rest_key, recognition_key = jax.random.split(key)
        variables = super().init(rest_key, batch)
        judged, _ = self._judge(variables["critic"], self._scaled(batch["x"]), batch.get("context"))
        return {**variables, "recognition": self._recognition.init(recognition_key, judged.features)}

    def plays(self) -> Mapping[str, Play]:
        plays = super().plays()
        plays["generator"] = plays["generator"]._replace(players=("generator", "recognition"))
        if self.shared:
            plays["critic"] = plays["critic"]._replace(players=("critic", "recognition"))
        return plays

    def codes(self, key: Key, n: int) -> Array:
        """Draws of the codes alone, [n, sum(categories) + numbers]."""
        keys = jax.random.split(key, len(self.categories) + 1)
        hot = [
            jax.nn.one_hot(jax.random.randint(k, (n,), 0, size), size)
            for k, size in zip(keys[1:], self.categories, strict=True)
        ]
        return jnp.concatenate([*hot, jax.random.uniform(keys[0], (n, self.numbers), minval=-1.0)], -1)

    def recognize(self, variables: Variables, x: Array) -> tuple[tuple[Array, ...], Array]:
        """Q(c|x) of rows in data units: log-probabilities [B, K] of each category, and the numbers' means [B, N]."""
        judged, _ = self._judge(variables["critic"], self._scaled(x), None)
        logits, mean, _ = self._parts(variables, judged)
        return tuple(map(jax.nn.log_softmax, logits)), mean

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Also `information`, L_I in nats, of fresh samples."""
        z = self.noise(key, jnp.shape(batch["x"])[0])
        fake = self._generate(variables, z, batch.get("context"))[0]
        judged, _ = self._judge(variables["critic"], fake, batch.get("context"))
        information = sum(self._information(variables, judged, z))
        return {"information": information, **super().evaluate(variables, batch, key)}

    def noise(self, key: Key, n: int) -> Array:
        """Draws of z: noise and codes, [n, latents + sum(categories) + numbers]."""
        noise_key, code_key = jax.random.split(key)
        return jnp.concatenate([super().noise(noise_key, n), self.codes(code_key, n)], -1)

    def _parts(self, variables: Variables, judged: Judgement) -> tuple[list[Array], Array, Array]:
        """Logits of each category, means and log-variances of the numbers."""
        out = self._recognition.apply(variables["recognition"], judged.features)
        *logits, numbers = jnp.split(out, list(accumulate(self.categories)), -1)
        mean, log_variance = jnp.split(numbers, 2, -1)
        return logits, mean, log_variance

    def _information(self, variables: Variables, judged: Judgement, z: Array) -> tuple[Array, Array]:
        """L_I of the categories and of the numbers."""
        logits, mean, log_variance = self._parts(variables, judged)
        *hot, numbers = jnp.split(z[:, self.latents :], list(accumulate(self.categories)), -1)
        of_categories = sum(map(categorical_information, logits, (h.argmax(-1) for h in hot)), start=jnp.zeros(()))
        of_numbers = normal_information(mean, log_variance, numbers) if self.numbers else jnp.zeros(())
        return of_categories, of_numbers

    def _critic_term(
        self, variables: Variables, on_real: Judgement, on_fake: Judgement, z: Array, context: Array | None
    ) -> LossOutput:
        if not self.shared:
            return LossOutput(jnp.zeros(()))
        return self._generator_term(variables, on_fake, z, context)

    def _generator_term(
        self, variables: Variables, on_fake: Judgement, z: Array, context: Array | None
    ) -> LossOutput:
        categories, numbers = self._information(variables, on_fake, z)
        value = -self.information_weight * categories - self.number_weight * numbers
        return LossOutput(value, {"category_information": categories, "number_information": numbers})
