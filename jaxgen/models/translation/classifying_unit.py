"""UNIT with a classifier on its critics' features, for domain adaptation (Liu et al. 2017, section 5).

The critics of the two domains share all but their first layers, and a classifier C of their features f_d is trained on
labels of domain a alone; since the features are shared, it classifies b as well. Critics minimise

    l0 [ GAN  +  class_weight CE(C(f_a(x_a)), label)  +  feature_weight sum_z |f_a(G_a(z)) - f_b(G_b(z))| ]

with l0 GAN the critics' loss of `UNIT` and the mean over features, so that they see the two images of one code as the
same thing. Only this last term tells the critic of b what the classes of a look like in b: with a small weight, b is
classified nearly at random. With large weights of either term, critics do not learn to tell translations from data: the
features of a translation are tied to those of a reconstruction, which looks like data. Then nothing keeps the decoders
of the two domains together, and translations lose the class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Variables
from jaxgen.losses.auxiliary import class_loss
from jaxgen.models.translation.domain import OTHER
from jaxgen.models.translation.unit import UNIT
from jaxgen.models.translation.unit_passes import Passes
from jaxgen.nets.heads import VectorHead
from jaxgen.precision import float32_or_wider


class ClassifyingHead(nn.Module):
    """Features [B, ...] to features [B, ..., F], scores [B, ...], one of each position, and logits of classes [B, K].

    Attributes:
        network: from features to features [B, ..., F], with the last layers of a critic.
        dropout: rate before the two heads, active with a `dropout` stream.
    """

    network: nn.Module
    num_classes: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, h: Array) -> tuple[Array, Array, Array]:
        features = self.network(h)
        seen = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(features)
        score = nn.Dense(1, dtype=float32_or_wider(seen), name="score")(seen)[..., 0]
        return features, score, VectorHead(self.num_classes, name="classes")(seen)


@dataclasses.dataclass(frozen=True)
class ClassifyingUNIT(UNIT):
    """A `UNIT` on batches `{"a": {"x", "label"}, "b": {"x"}}`, with the further player `latent_critic`, always shared.

    Attributes:
        critic: any network from images to features, one for each domain: the critic's first layers.
        latent_critic: any network from these features to those of the classifier.
        num_classes: K.
        class_weight, feature_weight: of the further terms, relative to the adversary's, which the paper does not state.
            The authors' program has 10 and 0.0001, the latter for the sum of squares in place of the paper's L1; its
            critics, trained for 200,000 steps, reject reconstructions as well as translations.
        dropout: rate of the features before score and classes; 0.5 in the authors' program.
    """

    latent_critic: nn.Module
    num_classes: int
    class_weight: float = 0.3
    feature_weight: float = 3.0
    dropout: float = 0.0
    critics: ClassVar[tuple[str, ...]] = ("critic", "latent_critic")

    def __post_init__(self):
        check_counts(num_classes=self.num_classes)
        check_number("dropout", self.dropout, 0, 1)
        check_number("class_weight", self.class_weight, 0)
        check_number("feature_weight", self.feature_weight, 0)

    def network(self, role: str, domain: str) -> tuple[nn.Module, str]:
        if role == "latent_critic":
            return ClassifyingHead(self.latent_critic, self.num_classes, self.dropout), role
        return super().network(role, domain)

    def _judge(self, passes: Passes, x: Array, domain: str) -> tuple[Array, Array, Array]:
        return passes.apply("latent_critic", domain, passes.apply("critic", domain, x))

    def scores(self, passes: Passes, x: Array, domain: str) -> tuple[Array, ...]:
        return (self._judge(passes, x, domain)[1],)

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Further metrics: `classes`, the cross-entropy of the labels of a, and `features`, the distance."""
        passes, x = Passes(self, variables, key), self._scaled(batch)
        z = {d: passes.sample(passes.code(x[d], d)) for d in OTHER}
        adversarial, features, classes, metrics = 0.0, 0.0, 0.0, {"real": 0.0, "fake": 0.0}
        for d, other in OTHER.items():
            translation, original = (lax.stop_gradient(passes.decode(z[other], to)) for to in (d, other))
            _, real, logits = self._judge(passes, x[d], d)
            of_translation, fake, _ = self._judge(passes, translation, d)
            of_original, *_ = self._judge(passes, original, other)
            adversarial += self.adversarial_loss.critic(real, fake)
            features += jnp.abs(of_translation - of_original).mean()
            metrics = {"real": metrics["real"] + real.mean() / 2, "fake": metrics["fake"] + fake.mean() / 2}
            if d == "a":
                classes = class_loss(logits, batch["a"]["label"])
        value = adversarial + self.class_weight * classes + self.feature_weight * features
        metrics |= {"classes": classes, "features": features}
        return LossOutput(self.weights.adversarial * value, metrics, passes.updates(self._players(self.critics)))

    def classify(self, variables: Variables, x: Array, domain: str = "b") -> Array:
        """log p(class | x) of examples of a domain in data units, [B, K]."""
        x = self._domain(domain).scaled(x)
        return jax.nn.log_softmax(self._judge(Passes(self, variables), x, domain)[2])

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Further metrics: `accuracy_a` and `accuracy_b` of `classify`, in domains with labels."""
        accuracies = {
            f"accuracy_{d}": (self.classify(variables, batch[d]["x"], d).argmax(-1) == batch[d]["label"]).mean()
            for d in OTHER
            if "label" in batch[d]
        }
        return {**super().evaluate(variables, batch, key), **accuracies}
