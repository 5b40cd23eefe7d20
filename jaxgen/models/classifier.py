"""A classifier, whose features and classes evaluate generated samples (`jaxgen.metrics.report`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.arguments import check_counts, check_shape, freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.auxiliary import class_loss
from jaxgen.models.adversarial_training import AdversarialTraining
from jaxgen.models.forward import forward
from jaxgen.models.scaling import from_data
from jaxgen.nets.heads import Headed, VectorHead


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Player `classifier`, trained by the play of its name to minimise the cross-entropy of the labels.

    It has no `sample`: it generates nothing.

    Attributes:
        network: any network from data to features; the model adds the logits.
        event_shape: shape of an example, without the batch.
        num_classes: K.
        levels: the data are integers 0..levels-1, scaled to [-1, 1] for the network; None: they are floats.
        adversarial: training on adversarial samples; None: on the data alone.
    """

    network: nn.Module
    event_shape: tuple[int, ...]
    num_classes: int
    levels: int | None = None
    adversarial: AdversarialTraining | None = None
    monitor: ClassVar = ("cross_entropy", "min")

    def __post_init__(self):
        freeze_fields(self)
        check_shape(self.event_shape)
        check_counts(num_classes=self.num_classes)
        if self.levels is not None:
            check_counts(2, levels=self.levels)
            if self.adversarial is not None and (self.adversarial.lower, self.adversarial.upper) != (-1, 1):
                limits = f"{self.adversarial.lower} and {self.adversarial.upper}"
                raise ValueError(f"`adversarial` must have the limits -1 and 1 of scaled integers, got {limits}")

    @property
    def _headed(self) -> nn.Module:
        return Headed(self.network, VectorHead(self.num_classes))

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type, or without labels.
        """
        if "label" not in batch:
            raise ValueError(f"a classifier expects a batch with an entry 'label', got {sorted(batch)}")
        return {"classifier": self._headed.init(key, self.scaled(batch["x"]))}

    def plays(self) -> Mapping[str, Play]:
        return {"classifier": Play(("classifier",), self.loss, optax.adam(1e-3), accumulates=True)}

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The mean cross-entropy in nats; the metric is the accuracy on the batch, with dropout.

        With adversarial training, the weighted mean with that of adversarial samples, and the metrics of both.
        """
        x, label, adversarial = self.scaled(batch["x"]), batch["label"], self.adversarial
        if adversarial is not None:
            attack_key, key = jax.random.split(key)
            perturbed = adversarial.perturb(partial(self.scaled_logits, variables), x, label, attack_key)
            x = jnp.concatenate([x, perturbed])
        logits, statistics = forward(self._headed, variables["classifier"], x, key=key)
        clean = _metrics(logits[: len(label)], label)
        value, metrics = clean["cross_entropy"], {"accuracy": clean["accuracy"]}
        if adversarial is not None:
            attacked = _metrics(logits[len(label) :], label)
            value = (1 - adversarial.fraction) * value + adversarial.fraction * attacked["cross_entropy"]
            metrics |= {"adversarial_accuracy": attacked["accuracy"]}
        return LossOutput(value, metrics, {"classifier": statistics})

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`cross_entropy` of the labels in nats, and `accuracy`, the fraction of examples classified as their label."""
        return _metrics(self.logits(variables, batch["x"]), batch["label"])

    def logits(self, variables: Variables, x: Array) -> Array:
        """The logits of the classes, [B, num_classes]."""
        return self.scaled_logits(variables, self.scaled(x))

    def scaled_logits(self, variables: Variables, x: Array) -> Array:
        """The logits of inputs in the network's units (`scaled`), floats; what `jaxgen.attacks` differentiate."""
        return forward(self._headed, variables["classifier"], x)[0]

    def scaled(self, x: Array) -> Array:
        """Data in the network's units: integers scaled to [-1, 1], floats as they are."""
        return from_data(x, self.event_shape, self.levels, -1.0, 1.0)

    def features(self, variables: Variables, x: Array) -> Array:
        """The input of the last layer, [B, F]."""
        own = {name: tree["network"] for name, tree in variables["classifier"].items() if "network" in tree}
        return forward(self.network, own, self.scaled(x))[0].reshape(jnp.shape(x)[0], -1)


def _metrics(logits: Array, label: Array) -> dict[str, Array]:
    return {"cross_entropy": class_loss(logits, label), "accuracy": (logits.argmax(-1) == label).mean()}
