"""The class term of the auxiliary classifier GAN (Odena et al. 2017, "Conditional Image Synthesis with Auxiliary
Classifier GANs").

The generator is conditioned on a class c, the critic is not, and a classifier reads the class from the critic's
features:

    critic and classifier:  ... - weight (E log p(c|x) + E log p(c|G(z, c)))
    generator:              ... - weight E log p(c|G(z, c))

Both players gain by recognisable classes (section 3: the critic maximises L_S + L_C, the generator L_C - L_S; L_C is
over data and samples).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import jax
from flax import linen as nn

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array, Batch, Key, LossOutput, Variables
from jaxgen.losses.auxiliary import class_loss
from jaxgen.models.gans.networks import CriticOutput
from jaxgen.models.gans.terms import PLAYS, ForwardPass, Term, with_collection
from jaxgen.models.forward import forward
from jaxgen.nets.heads import VectorHead

if TYPE_CHECKING:
    from jaxgen.models.gans.gan import GAN


@dataclasses.dataclass(frozen=True)
class ClassLoss(Term):
    """Adds the player `classifier`, which moves with the critic. The `context` is the class, one-hot.

    Metrics: `class_real` and `class_fake` of the critic's play, `class` of the generator's, cross-entropies in nats. In
    evaluation: `accuracy` on data, and `fake_accuracy`, the fraction of samples classified as the class asked for.

    Attributes:
        weight: of the class terms.
        generator_weight: of the generator's; None: `weight` (Gulrajani et al. 2017: 1 and 0.1).
    """

    accumulates: ClassVar = PLAYS
    hides_context: ClassVar = True

    num_classes: int
    weight: float = 1.0
    generator_weight: float | None = None

    def __post_init__(self):
        check_counts(num_classes=self.num_classes)

    def check(self, gan: GAN) -> None:
        if gan.packing != 1:
            raise ValueError(f"`ClassLoss` requires packing=1: a class belongs to one example, got {gan.packing}")

    def init(self, gan: GAN, variables: Variables, batch: Batch, key: Key) -> Variables:
        """Raises:
        ValueError: a batch without a one-hot context of `num_classes` classes.
        """
        shape = batch["context"].shape if "context" in batch else None
        if shape is None or shape[1:] != (self.num_classes,):
            raise ValueError(f"`context` must be one-hot labels of {self.num_classes} classes, got shape {shape}")
        features = gan.critic_output(variables, batch["x"], batch["context"]).features
        return with_collection(variables, "classifier", "params", self._classifier.init(key, features)["params"])

    def players(self, play: str) -> tuple[str, ...]:
        return ("classifier",) if play == "critic" else ()

    def critic_loss(self, computed: ForwardPass) -> LossOutput:
        labels = computed.context.argmax(-1)
        outputs = {"class_real": computed.on_real, "class_fake": computed.on_fake}
        losses = {name: class_loss(self.logits(computed.variables, output), labels) for name, output in outputs.items()}
        return LossOutput(self.weight * sum(losses.values()), losses)

    def generator_loss(self, computed: ForwardPass) -> LossOutput:
        loss = class_loss(self.logits(computed.variables, computed.on_fake), computed.context.argmax(-1))
        weight = self.weight if self.generator_weight is None else self.generator_weight
        return LossOutput(weight * loss, {"class": loss})

    def evaluate(self, computed: ForwardPass) -> Mapping[str, Array]:
        labels, outputs = computed.context.argmax(-1), {"accuracy": computed.on_real, "fake_accuracy": computed.on_fake}
        return {name: (self.logits(computed.variables, o).argmax(-1) == labels).mean() for name, o in outputs.items()}

    def classify(self, variables: Variables, output: CriticOutput) -> Array:
        """log p(c|x), [B, num_classes], from `GAN.critic_output` for x."""
        return jax.nn.log_softmax(self.logits(variables, output))

    def logits(self, variables: Variables, output: CriticOutput) -> Array:
        """The classifier's logits, [B, num_classes]."""
        return forward(self._classifier, variables["classifier"], output.features)[0]

    @property
    def _classifier(self) -> nn.Module:
        return VectorHead(self.num_classes)
