"""The CVAE-GAN (Bao et al. 2017, "CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training", algorithm 1).

A conditional VAE, a critic D and a classifier C with features f_D and f_C, the inputs of their last layers. With
z ~ q(z|x, c), x' = G(z, c), z_p ~ p(z), c_p uniform over the classes, and x_p = G(z_p, c_p):

    L_C  = -E log P(c|x)
    L_D  = -E log D(x) - E log(1 - D(x')) - E log(1 - D(x_p))
    L_KL = E KL(q(z|x, c) || p(z))
    L_G  = 1/2 E (|x - x'|^2 + |f_D(x) - f_D(x')|^2 + |f_C(x) - f_C(x')|^2)
    L_GD = 1/2 |E f_D(x) - E f_D(x_p)|^2
    L_GC = 1/2 sum_c |E_c f_C(x) - E_c f_C(x_p)|^2

    classifier:  L_C            encoder:  lambda_1 L_KL + L_G
    critic:      L_D            decoder:  L_G + lambda_3 L_GD + lambda_4 L_GC

The training is asymmetric: the decoder matches features instead of playing against critic and classifier, which have
cross-entropies; the classifier sees data alone. L_KL does not depend on the decoder, nor L_GD and L_GC on the encoder,
so that one play moves both by the sum. The expectations in L_GD and L_GC are moving averages (`match_class_means`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.adversarial import minimax_generator, non_saturating_generator
from jaxgen.losses.feature_means import match_class_means, no_averages
from jaxgen.metrics.distances import sample_distances
from jaxgen.models.classifier import Classifier
from jaxgen.models.forward import forward
from jaxgen.models.gans.networks import Critic, CriticOutput
from jaxgen.models.hybrids.feature_vae import FeatureVAE, jointly, log_likelihood
from jaxgen.models.vaes.objectives import ELBO, Objective
from jaxgen.nets.conditioning import Unconditional
from jaxgen.nets.heads import ScalarHead

MEANS = "means"
"""The collection of the decoder with the moving averages of features: statistics."""


@dataclasses.dataclass(frozen=True)
class CVAEGAN(FeatureVAE):
    """A VAE's players, `classifier` and `critic`; plays `classifier`, `critic` and `autoencoder`, in this order.

    Batches have a `label`. Methods take the class as a `context`, one-hot, and without one the class that the
    classifier finds, or for samples uniform ones.

    Attributes:
        critic: any network from data to the features f_D; the model adds the score.
        classifier: any network from data to the features f_C; the model adds the logits.
        num_classes: K.
        objective: of the encoder and the decoder, with lambda_1 as its weight.
        critic_matching, class_matching: lambda_3 and lambda_4.
        decay: of the moving averages of features, per step; 0: means of the batch.
        metrics: `(real, fake) -> {name: scalar}` on samples in data units, reported by `evaluate`.
        monitor: the metric of `evaluate` that chooses the best checkpoint, and its direction.

    Raises:
        ValueError: as `FeatureVAE`; an objective of several samples; a negative weight.
    """

    _: dataclasses.KW_ONLY
    critic: nn.Module
    classifier: nn.Module
    num_classes: int
    objective: Objective = ELBO(3.0)
    critic_matching: float = 1e-3
    class_matching: float = 1e-3
    decay: float = 0.9
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances
    monitor: tuple[str, str] = ("sliced_wasserstein", "min")

    def __post_init__(self):
        super().__post_init__()
        check_counts(num_classes=self.num_classes)
        for name in ("critic_matching", "class_matching"):
            check_number(name, getattr(self, name), 0)
        check_number("decay", self.decay, 0, 1)
        if self.objective.draws != 1:
            raise ValueError(f"`objective` must have draws=1 in CVAEGAN, got {self.objective}")

    @property
    def _critic(self) -> nn.Module:
        return Critic(self.critic, Unconditional(), ScalarHead())

    @property
    def _classifier(self) -> Classifier:
        """Of data as the encoder sees them."""
        return Classifier(self.classifier, self.event_shape, self.num_classes)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: as `VAE.init`; a batch without labels.
        """
        if "label" not in batch:
            raise ValueError(f"CVAEGAN expects a batch with an entry 'label', got {sorted(batch)}")
        vae_key, critic_key, classifier_key = jax.random.split(key, 3)
        seen = self._observe(batch["x"], None)[0]
        variables = {
            **super().init(vae_key, self._conditional(batch)),
            "critic": self._critic.init(critic_key, (seen, None)),
            **self._classifier.init(classifier_key, {"x": seen, "label": batch["label"]}),
        }
        _, of_critic, of_classifier = jax.eval_shape(lambda x: self.features(variables, (x,), None)[0], seen)
        means = {"critic": (1, of_critic), "classifier": (self.num_classes, of_classifier)}
        means = {
            name: {kind: no_averages(classes, math.prod(f.shape[1:])) for kind in ("real", "fake")}
            for name, (classes, f) in means.items()
        }
        return {**variables, "decoder": {**variables["decoder"], MEANS: means}}

    def plays(self) -> Mapping[str, Play]:
        def adam() -> optax.GradientTransformation:
            return optax.adam(2e-4, b1=0.5)

        return {
            "classifier": Play(("classifier",), self.classifier_loss, adam(), accumulates=True),
            "critic": Play(("critic",), self.critic_loss, adam()),
            "autoencoder": Play(self.players, self.loss, adam()),
        }

    def classifier_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """L_C, on data alone; the metric is the accuracy."""
        seen = self._observe(batch["x"], None)[0]
        return self._classifier.loss(variables, {"x": seen, "label": batch["label"]}, key, clock)

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """L_D; metrics: the mean scores `real`, `reconstructed` and `sampled`."""
        generate_key, class_key, critic_key = jax.random.split(key, 3)
        classes = self._one_hot(self._uniform_classes(class_key, jnp.shape(batch["x"])[0]))
        generated = self.generate_both(variables, self._conditional(batch), generate_key, classes)
        outputs, statistics = self._criticize(variables, generated.images, critic_key)
        real, reconstructed, sampled = (output.score for output in outputs)
        value = non_saturating_generator(real) - minimax_generator(reconstructed) - minimax_generator(sampled)
        metrics = {"real": real.mean(), "reconstructed": reconstructed.mean(), "sampled": sampled.mean()}
        return LossOutput(value, metrics, {"critic": statistics})

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """lambda_1 L_KL + L_G + lambda_3 L_GD + lambda_4 L_GC in nats, without the weights as metrics: `kl`,
        `reconstruction`, which is -L_G and a constant, `critic_matching` and `class_matching`.
        """
        generate_key, class_key, penalty_key = jax.random.split(key, 3)
        labels = self._uniform_classes(class_key, jnp.shape(batch["x"])[0])
        generated = self.generate_both(variables, self._conditional(batch), generate_key, self._one_hot(labels))
        on_real, on_reconstructed, on_sampled = self.features(variables, generated.images, None)
        terms = self.bound_terms(variables, generated, log_likelihood(on_real, on_reconstructed))
        penalty = self.posterior.penalty(variables, generated.q, penalty_key)
        means, matching = dict(variables["decoder"][MEANS]), {}
        single = jnp.zeros_like(labels)
        for name, i, *classes in (("critic", 1, single, single), ("classifier", 2, batch["label"], labels)):
            matched = match_class_means(on_real[i], on_sampled[i], *classes, means[name], self.decay)
            matching[name], means[name] = matched
        value = self.objective(terms, clock) + penalty.value
        value += self.critic_matching * matching["critic"] + self.class_matching * matching["classifier"]
        metrics = {"critic_matching": matching["critic"], "class_matching": matching["classifier"]}
        statistics = {**generated.statistics, **penalty.statistics}
        statistics["decoder"] = {**statistics["decoder"], MEANS: means}
        return LossOutput(value, {**self._metrics(terms), **metrics, **penalty.metrics}, statistics)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`elbo` and its parts, with the likelihood of features, in nats; `squared_error` of reconstructions from a
        sample of q(z|x), summed over the event, of data on [0, 1] if they are integers; `accuracy` of the classifier,
        and on samples `sample_accuracy`; `metrics` of as many samples of the same classes as examples.
        """
        batch = self._conditional(batch)
        terms_key, generate_key = jax.random.split(key)
        generated = self.generate_both(variables, batch, generate_key, training=False)
        difference = (generated.real - generated.reconstructions).reshape(generated.real.shape[0], -1)
        logits = [self._classifier.logits(variables, x) for x in (generated.real, generated.samples)]
        accuracies = [(each.argmax(-1) == batch["label"]).mean() for each in logits]
        return {
            **super().evaluate(variables, batch, terms_key),
            "squared_error": (difference**2).sum(-1).mean(),
            **dict(zip(("accuracy", "sample_accuracy"), accuracies, strict=True)),
            **self.metrics(batch["x"], self._data_units(generated.samples)),
        }

    def sample(
        self, variables: Variables, key: Key, n: int, context: Array | None = None, means: bool = True
    ) -> Array:
        """G(z, c), z ~ p(z), in data units; without `means` a sample of the pixels' untrained likelihood."""
        class_key, key = jax.random.split(key)
        context = self._one_hot(self._uniform_classes(class_key, n)) if context is None else context
        return super().sample(variables, key, n, context, means)

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """The mean of q(z|x, c), [B, L], or with a key a sample."""
        return super().encode(variables, x, key, self._class_of(variables, x, context))

    def reconstruct(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """G(z, c) at z = `encode(x, key)`."""
        context = self._class_of(variables, x, context)
        return super().reconstruct(variables, x, key, context)

    def translate(
        self, variables: Variables, x: Array, to: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """G(z, c') at z = `encode(x, key)`: another class, `to` one-hot [B, K], with what the class does not decide."""
        return self.decode(variables, self.encode(variables, x, key, context), to)

    def classify(self, variables: Variables, x: Array) -> Array:
        """log P(c|x), [B, K]."""
        return jax.nn.log_softmax(self._classifier.logits(variables, self._observe(x, None)[0]))

    def features(
        self, variables: Variables, images: Sequence[Array], context: Array | None, key: Key | None = None
    ) -> list[tuple[Array, ...]]:
        """The pixels, f_D and f_C of each batch, by critic and classifier in evaluation mode: with statistics of the
        batch, wild samples would bring the features of all examples together.
        """
        outputs, _ = self._criticize(variables, images)
        of_classifier, _ = jointly(lambda x, _: (self._classifier.features(variables, x), {}), images, None)
        return [(x, output.features, f) for x, output, f in zip(images, outputs, of_classifier, strict=True)]

    def _criticize(
        self, variables: Variables, batches: Sequence[Array], key: Key | None = None
    ) -> tuple[list[CriticOutput], Mapping[str, Any]]:
        """The critic's outputs on each batch, and its updated statistics; with a key in training mode."""
        return jointly(lambda x, _: forward(self._critic, variables["critic"], (x, None), key=key), batches, None)

    def _conditional(self, batch: Batch) -> Batch:
        """The batch with the one-hot label as its context."""
        return {**batch, "context": self._one_hot(batch["label"])}

    def _uniform_classes(self, key: Key, n: int) -> Array:
        return jax.random.randint(key, (n,), 0, self.num_classes)

    def _one_hot(self, label: Array) -> Array:
        return jax.nn.one_hot(label, self.num_classes)

    def _class_of(self, variables: Variables, x: Array, context: Array | None) -> Array:
        return self._one_hot(self.classify(variables, x).argmax(-1)) if context is None else context
