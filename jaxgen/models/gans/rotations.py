"""The rotation term of the self-supervised GAN (Chen et al. 2019, "Self-Supervised GANs via Auxiliary Rotation Loss").

The critic's features must tell by which r of 0, 90, 180 and 270 degrees an image was rotated, which needs no labels:

    critic and classifier:  ... - weight E log Q(r|x_r)
    generator:              ... - generator_weight E log Q(r|G(z)_r)

on data in the critic's loss and on samples in the generator's (equations 2 and 3): the two players cooperate here. So
the critic keeps a representation of the data even if its task changes while the generator learns.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Batch, Key, LossOutput, Variables
from jaxgen.losses.auxiliary import class_loss
from jaxgen.models.forward import forward
from jaxgen.models.gans.terms import ForwardPass, Term, with_collection
from jaxgen.nets.heads import VectorHead

if TYPE_CHECKING:
    from jaxgen.models.gans.gan import GAN

TURNS = 4


def rotated(x: Array) -> Array:
    """Square images [B, H, H, C] by 0, 90, 180 and 270 degrees, one angle after another: [4 B, H, H, C]."""
    return jnp.concatenate([jnp.rot90(x, turns, (1, 2)) for turns in range(TURNS)])


@dataclasses.dataclass(frozen=True)
class Rotations(Term):
    """Adds the player `rotation`, a linear classifier of the critic's features, which moves with the critic.

    Metrics: `rotation_real` of the critic's play and `rotation_fake` of the generator's, cross-entropies in nats, and
    `rotation_accuracy` on data.

    Attributes:
        weight: of the critic's part, beta of the paper.
        generator_weight: of the generator's part, alpha.
        fraction: one in so many examples is rotated, by all four angles; 4 as in the authors' code.
    """

    accumulates: ClassVar = ()

    weight: float = 1.0
    generator_weight: float = 0.2
    fraction: int = 4

    def __post_init__(self):
        check_counts(fraction=self.fraction)
        check_number("weight", self.weight, 0)
        check_number("generator_weight", self.generator_weight, 0)

    def check(self, gan: GAN) -> None:
        if gan.packing != 1:
            raise ValueError(f"`Rotations` requires packing=1: an angle belongs to one example, got {gan.packing}")
        if len(gan.event_shape) != 3 or gan.event_shape[0] != gan.event_shape[1]:
            raise ValueError(f"`Rotations` requires square images, got `event_shape` {gan.event_shape}")

    def init(self, gan: GAN, variables: Variables, batch: Batch, key: Key) -> Variables:
        features = gan.critic_output(variables, batch["x"], batch.get("context")).features
        return with_collection(variables, "rotation", "params", self._classifier.init(key, features)["params"])

    def players(self, play: str) -> tuple[str, ...]:
        return ("rotation",) if play == "critic" else ()

    def critic_loss(self, computed: ForwardPass) -> LossOutput:
        loss, accuracy = self._losses(computed, computed.real)
        return LossOutput(self.weight * loss, {"rotation_real": loss, "rotation_accuracy": accuracy})

    def generator_loss(self, computed: ForwardPass) -> LossOutput:
        loss, _ = self._losses(computed, computed.fake)
        return LossOutput(self.generator_weight * loss, {"rotation_fake": loss})

    def _losses(self, computed: ForwardPass, x: Array) -> tuple[Array, Array]:
        """Cross-entropy and accuracy on the first of the images, by all angles."""
        n = max(1, len(x) // self.fraction)
        labels, context = jnp.repeat(jnp.arange(TURNS), n), computed.context
        context = None if context is None else jnp.tile(context[:n], (TURNS, 1))
        features = computed.criticize(rotated(x[:n]), context).features
        logits = forward(self._classifier, computed.variables["rotation"], features)[0]
        return class_loss(logits, labels), (logits.argmax(-1) == labels).mean()

    @property
    def _classifier(self) -> nn.Module:
        return VectorHead(TURNS)
