"""The auxiliary classifier GAN (Odena et al. 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs").

The generator is told a class c, the critic is not, and a classifier reads it off the critic's features:

    critic and classifier:  L_S - E log p(c|x) - E log p(c|G(z, c))
    generator:              criterion - E log p(c|G(z, c))

so that either gains by classes that can be told (section 3: the critic maximises L_S + L_C, the generator L_C - L_S;
the class term is of data and of samples).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.contracts import Array, Batch, Key, LossOutput, Play, Variables
from jaxgen.losses.auxiliary import class_loss
from jaxgen.models.gans.gan import GAN
from jaxgen.models.gans.players import Judgement
from jaxgen.nets.conditioning import Ignore
from jaxgen.nets.heads import VectorHead


@dataclasses.dataclass(frozen=True)
class ACGAN(GAN):
    """A `GAN` whose `context` is the class, one-hot, with a third player `classifier` that moves with the critic.

    Attributes:
        critic_condition: the critic is not told.
        classes: their number.
        class_weight: of the class terms; the generator's may be smaller (Gulrajani et al. 2017: 1 and 0.1).
        generator_class_weight: None: the same.
    """

    critic_condition: nn.Module = Ignore()
    classes: int = 10
    class_weight: float = 1.0
    generator_class_weight: float | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.packing != 1:
            raise ValueError(f"packing={self.packing}: a class is of one row, so ACGAN packs none")

    @property
    def _classifier(self) -> nn.Module:
        return VectorHead(self.classes)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: as `GAN.init`; or no context of as many numbers as there are classes.
        """
        if "context" not in batch or jnp.shape(batch["context"])[1:] != (self.classes,):
            raise ValueError(f"ACGAN is of {self.classes} classes: it needs a context [B, {self.classes}], one-hot labels")
        rest_key, classifier_key = jax.random.split(key)
        variables = super().init(rest_key, batch)
        judged, _ = self._judge(variables["critic"], self._scaled(batch["x"]), batch["context"])
        return {**variables, "classifier": self._classifier.init(classifier_key, judged.features)}

    def plays(self) -> Mapping[str, Play]:
        plays = super().plays()
        return {**plays, "critic": plays["critic"]._replace(players=("critic", "classifier"))}

    def classify(self, variables: Variables, x: Array) -> Array:
        """log p(c|x) of rows in data units, [B, classes]."""
        judged, _ = self._judge(variables["critic"], self._scaled(x), None)
        return jax.nn.log_softmax(self._logits(variables, judged))

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Also `accuracy` of the classifier on data, and `fake_accuracy`, how often it sees the class asked for."""
        context = batch["context"]
        fake = self.sample(variables, key, jnp.shape(batch["x"])[0], context)
        right = [(self.classify(variables, x).argmax(-1) == context.argmax(-1)).mean() for x in (batch["x"], fake)]
        return {"accuracy": right[0], "fake_accuracy": right[1], **super().evaluate(variables, batch, key)}

    def _logits(self, variables: Variables, judged: Judgement) -> Array:
        return self._classifier.apply(variables["classifier"], judged.features)

    def _critic_term(
        self, variables: Variables, on_real: Judgement, on_fake: Judgement, z: Array, context: Array | None
    ) -> LossOutput:
        labels = context.argmax(-1)
        on_data = class_loss(self._logits(variables, on_real), labels)
        on_samples = class_loss(self._logits(variables, on_fake), labels)
        return LossOutput(self.class_weight * (on_data + on_samples), {"class_real": on_data, "class_fake": on_samples})

    def _generator_term(
        self, variables: Variables, on_fake: Judgement, z: Array, context: Array | None
    ) -> LossOutput:
        term = class_loss(self._logits(variables, on_fake), context.argmax(-1))
        weight = self.class_weight if self.generator_class_weight is None else self.generator_class_weight
        return LossOutput(weight * term, {"class": term})
