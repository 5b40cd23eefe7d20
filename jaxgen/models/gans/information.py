"""The information term of InfoGAN (Chen et al. 2016, "Interpretable Representation Learning by Information Maximizing
GANs").

Codes c, categorical and continuous, are a part of the noise, and a recognition network Q, on the critic's features,
infers them from the samples. A lower bound of the mutual information of codes and samples is added to the game:

    I(c; G(z, c)) >= L_I = E log Q(c|G(z, c)) + H(c)
    critic and recognition:     ... - weight L_I
    generator and recognition:  ... - weight L_I

on samples alone (equations 5 and 6). The layers that Q shares with the critic are a part of Q, so that the bound trains
them too, as in the authors' code. With `shared=False` it does not, and Q takes the critic's features as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array, Batch, Key, LossOutput, Variables
from jaxgen.losses.auxiliary import categorical_information, normal_information
from jaxgen.models.gans.networks import CriticOutput
from jaxgen.models.gans.terms import PLAYS, ForwardPass, Term, with_collection
from jaxgen.models.forward import forward, without_statistics
from jaxgen.nets.heads import VectorHead
from jaxgen.nets.mlp import MLP

if TYPE_CHECKING:
    from jaxgen.models.gans.gan import GAN


@dataclasses.dataclass(frozen=True)
class Information(Term):
    """Adds the player `recognition`, which moves with the generator, and with the critic if layers are shared.

    The codes are appended to z: a one-hot vector for each category, then continuous codes, uniform on [-1, 1). Metrics,
    in nats: `category_information`, `continuous_information`; in evaluation `information`, their sum.

    Attributes:
        categories: number of values of each categorical code.
        num_continuous: number of continuous codes; Q(c|x) is normal, the network returns its mean and log-variance.
        recognition: any network on the critic's features; the term adds the last layer.
        weight: of the information of the categorical codes.
        continuous_weight: of that of the continuous ones.
        shared: whether the bound trains the critic's layers.
    """

    accumulates: ClassVar = PLAYS

    categories: tuple[int, ...] = (10,)
    num_continuous: int = 2
    recognition: nn.Module = MLP((128,))
    weight: float = 1.0
    continuous_weight: float = 0.1
    shared: bool = True

    def __post_init__(self):
        check_counts(2, categories=self.categories)
        check_counts(0, num_continuous=self.num_continuous)
        if not self.extra_latents:
            raise ValueError("`categories` or `num_continuous` must give at least one code, got () and 0")

    @property
    def extra_latents(self) -> int:
        return sum(self.categories) + self.num_continuous

    def check(self, gan: GAN) -> None:
        if gan.packing != 1:
            raise ValueError(f"`Information` requires packing=1: codes belong to one sample, got {gan.packing}")

    def init(self, gan: GAN, variables: Variables, batch: Batch, key: Key) -> Variables:
        features = gan.critic_output(variables, batch["x"], batch.get("context")).features
        recognition = without_statistics("recognition network", self._recognition.init(key, features))
        return with_collection(variables, "recognition", "params", recognition["params"])

    def players(self, play: str) -> tuple[str, ...]:
        return ("recognition",) if play == "generator" or self.shared else ()

    def codes(self, key: Key, n: int) -> Array:
        keys = jax.random.split(key, len(self.categories) + 1)
        one_hot = [
            jax.nn.one_hot(jax.random.randint(k, (n,), 0, size), size)
            for k, size in zip(keys[1:], self.categories, strict=True)
        ]
        return jnp.concatenate([*one_hot, jax.random.uniform(keys[0], (n, self.num_continuous), minval=-1.0)], -1)

    def critic_loss(self, computed: ForwardPass) -> LossOutput:
        return self.generator_loss(computed) if self.shared else LossOutput(jnp.zeros(()))

    def generator_loss(self, computed: ForwardPass) -> LossOutput:
        categories, continuous = self._information(computed)
        value = -self.weight * categories - self.continuous_weight * continuous
        return LossOutput(value, {"category_information": categories, "continuous_information": continuous})

    def evaluate(self, computed: ForwardPass) -> Mapping[str, Array]:
        return {"information": sum(self._information(computed))}

    def recognize(self, variables: Variables, output: CriticOutput) -> tuple[tuple[Array, ...], Array]:
        """Q(c|x) from `GAN.critic_output` for x: log-probabilities [B, K] of each category, means of the continuous
        codes [B, num_continuous].
        """
        logits, mean, _ = self._posterior(variables, output)
        return tuple(map(jax.nn.log_softmax, logits)), mean

    @property
    def _recognition(self) -> nn.Module:
        return nn.Sequential((self.recognition, VectorHead(sum(self.categories) + 2 * self.num_continuous)))

    def _posterior(self, variables: Variables, output: CriticOutput) -> tuple[list[Array], Array, Array]:
        """Logits of each category, means and log-variances of the continuous codes."""
        out = forward(self._recognition, variables["recognition"], output.features)[0]
        *logits, continuous = jnp.split(out, list(accumulate(self.categories)), -1)
        mean, log_variance = jnp.split(continuous, 2, -1)
        return logits, mean, log_variance

    def _information(self, computed: ForwardPass) -> tuple[Array, Array]:
        """L_I of the categories and of the continuous codes."""
        logits, mean, log_variance = self._posterior(computed.variables, computed.on_fake)
        *one_hot, codes = jnp.split(computed.z[:, -self.extra_latents :], list(accumulate(self.categories)), -1)
        categories = sum(map(categorical_information, logits, (c.argmax(-1) for c in one_hot)), start=jnp.zeros(()))
        continuous = normal_information(mean, log_variance, codes) if self.num_continuous else jnp.zeros(())
        return categories, continuous
