"""A classifier, whose features and classes the figures of generated samples are made of (`jaxgen.metrics.report`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.arguments import freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.auxiliary import class_loss
from jaxgen.models.players import forward
from jaxgen.models.scaling import from_data
from jaxgen.nets.heads import Headed, VectorHead


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Player `classifier`, moved by the play of its name down the cross-entropy of the labels.

    It generates nothing, so it has no `sample`.

    Attributes:
        network: any network from data to features; the model adds the logits.
        event_shape: of the data, without the batch.
        classes: K.
        levels: the data are integers 0..levels-1, for the network scaled to [-1, 1]; None, they are real.
    """

    network: nn.Module
    event_shape: tuple[int, ...]
    classes: int
    levels: int | None = None
    monitor: ClassVar = ("cross_entropy", "min")

    def __post_init__(self):
        freeze_fields(self)

    @property
    def _headed(self) -> nn.Module:
        return Headed(self.network, VectorHead(self.classes))

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type, or without labels.
        """
        if "label" not in batch:
            raise ValueError(f"a classifier learns from rows with a 'label', these have {sorted(batch)}")
        return {"classifier": self._headed.init(key, self._seen(batch["x"]))}

    def plays(self) -> Mapping[str, Play]:
        return {"classifier": Play(("classifier",), self.loss, optax.adam(1e-3), accumulates=True)}

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The mean cross-entropy in nats; the metric is the accuracy on the batch, with dropout."""
        logits, state = forward(self._headed, variables["classifier"], self._seen(batch["x"]), key=key)
        figures = _figures(logits, batch["label"])
        return LossOutput(figures["cross_entropy"], {"accuracy": figures["accuracy"]}, {"classifier": state})

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`cross_entropy` of the labels in nats, and `accuracy`, the share of rows whose likeliest class is theirs."""
        return _figures(self.logits(variables, batch["x"]), batch["label"])

    def logits(self, variables: Variables, x: Array) -> Array:
        """Of the classes, [B, classes]."""
        return forward(self._headed, variables["classifier"], self._seen(x))[0]

    def features(self, variables: Variables, x: Array) -> Array:
        """What the last layer sees of data, [B, F]."""
        own = {name: tree["network"] for name, tree in variables["classifier"].items() if "network" in tree}
        return forward(self.network, own, self._seen(x))[0].reshape(jnp.shape(x)[0], -1)

    def _seen(self, x: Array) -> Array:
        return from_data(x, self.event_shape, self.levels, -1.0, 1.0)


def _figures(logits: Array, label: Array) -> dict[str, Array]:
    return {"cross_entropy": class_loss(logits, label), "accuracy": (logits.argmax(-1) == label).mean()}
