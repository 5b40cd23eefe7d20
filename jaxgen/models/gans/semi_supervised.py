"""The semi-supervised GAN (Salimans et al. 2016, "Improved Techniques for Training GANs", section 5).

The critic is a classifier of K classes and one more, generated, whose logit is fixed at zero. With
Z = log sum_k exp(l_k)

    critic:     E_labelled [Z - l_y]  +  w (1/2 E_unlabelled [softplus(Z) - Z]  +  1/2 E softplus(Z(G(z))))
    generator:  |E f(x) - E f(G(z))|^2

The generator matches the mean of the critic's features f on unlabelled data (section 3.1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.auxiliary import feature_matching
from jaxgen.losses.semi_supervised import k_plus_one_labelled, k_plus_one_unlabelled
from jaxgen.models.gans.gan import GAN
from jaxgen.models.gans.networks import CriticOutput, Inputs
from jaxgen.nets.heads import VectorHead


class ClassifyingCritic(nn.Module):
    """An event to Z as the score, features, and `logits` [B, K] as an extra."""

    network: nn.Module
    num_classes: int

    @nn.compact
    def __call__(self, inputs: Inputs) -> CriticOutput:
        features = self.network(inputs[0])
        logits = VectorHead(self.num_classes, name="head")(features)
        return CriticOutput(jax.nn.logsumexp(logits, -1), features, {"logits": logits})


@dataclasses.dataclass(frozen=True, kw_only=True)
class SemiSupervisedGAN(GAN):
    """A `GAN` on batches `{"labelled": {"x", "label"}, "unlabelled": {"x"}}`, whose critic classifies.

    The score is Z, the logit of data against samples. `adversarial_loss`, `critic_head` and conditions are not used.

    Attributes:
        num_classes: K.
        unlabelled_weight: w.
    """

    num_classes: int = 10
    unlabelled_weight: float = 1.0
    monitor: tuple[str, str] = ("accuracy", "max")

    def __post_init__(self):
        super().__post_init__()
        check_counts(num_classes=self.num_classes)
        if self.packing != 1 or self.terms:
            raise ValueError(
                f"`SemiSupervisedGAN` requires packing=1 and terms=(), got packing={self.packing}, terms={self.terms}"
            )

    def _optimizer(self, play: str) -> optax.GradientTransformation:
        return optax.adam(3e-3, b1=0.5)

    def _critic(self, deterministic: bool = False) -> nn.Module:
        return ClassifyingCritic(self.critic, self.num_classes)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: a batch without the two sources.
        """
        if "labelled" not in batch or "unlabelled" not in batch:
            raise ValueError(
                f"`SemiSupervisedGAN` expects a batch with entries 'labelled' and 'unlabelled', got {sorted(batch)}"
            )
        return super().init(key, {"x": batch["unlabelled"]["x"]})

    def plays(self) -> Mapping[str, Play]:
        plays = super().plays()
        # feature matching compares means over the batch
        return {**plays, "generator": plays["generator"]._replace(accumulates=False)}

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: `supervised` and `unsupervised`, the parts of the loss, and `labelled_accuracy`."""
        z_key, generator_key, real_key, fake_key, *keys = jax.random.split(key, 7)
        critic, labelled, real = variables["critic"], batch["labelled"], self._scaled(batch["unlabelled"]["x"])
        fake, _ = self._generate(variables["generator"], self.noise(z_key, real.shape[0]), None, generator_key)
        seen = (
            self._scaled(labelled["x"]),
            self._seen(variables, real, real_key, clock),
            self._seen(variables, lax.stop_gradient(fake), fake_key, clock),
        )
        outputs, statistics = [], {}
        for x, critic_key in zip(seen, keys, strict=True):
            output, statistics = self._criticize({**critic, **statistics}, x, None, critic_key)
            outputs.append(output.extras["logits"])
        logits, on_real, on_fake = outputs
        supervised = k_plus_one_labelled(logits, labelled["label"])
        unsupervised = k_plus_one_unlabelled(on_real, on_fake)
        accuracy = (logits.argmax(-1) == labelled["label"]).mean()
        metrics = {"supervised": supervised, "unsupervised": unsupervised, "labelled_accuracy": accuracy}
        return LossOutput(supervised + self.unlabelled_weight * unsupervised, metrics, {"critic": statistics})

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        z_key, generator_key, real_key, fake_key, *keys = jax.random.split(key, 6)
        real = self._scaled(batch["unlabelled"]["x"])
        z = self.noise(z_key, real.shape[0])
        fake, statistics = self._generate(variables["generator"], z, None, generator_key)
        seen = self._seen(variables, real, real_key, clock), self._seen(variables, fake, fake_key, clock)
        features = (
            self._criticize(variables["critic"], x, None, critic_key)[0].features
            for x, critic_key in zip(seen, keys, strict=True)
        )
        return LossOutput(feature_matching(*features), statistics={"generator": statistics})

    def classify(self, variables: Variables, x: Array) -> Array:
        """log p(c|x, x is data) of examples in data units, [B, num_classes]."""
        return jax.nn.log_softmax(self.critic_output(variables, x).extras["logits"])

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Further metrics: the `accuracy` of `classify`."""
        accuracy = (self.classify(variables, batch["x"]).argmax(-1) == batch["label"]).mean()
        return {"accuracy": accuracy, **super().evaluate(variables, {"x": batch["x"]}, key)}
