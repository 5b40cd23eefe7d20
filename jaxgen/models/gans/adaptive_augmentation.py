"""Adaptive discriminator augmentation (Karras et al. 2020, "Training Generative Adversarial Networks with Limited
Data").

All that the critic sees, data and samples, is augmented, each image by each augmentation with probability p. p follows
a sign of overfitting, how often the critic takes the training examples for data (section 3, equation 1):

    r_t = E sign(D(x)),    p <- p + sign(r_t - target) batch / images, every few moves

from zero, never below. With p below one the augmentations do not leak into the samples: the data's distribution can be
told from that of the augmented data (section 2.2; the paper keeps p below 0.8 for that reason).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Batch, Key, LossOutput, Variables
from jaxgen.models.gans.terms import PLAYS, ForwardPass, Term, with_collection
from jaxgen.nets.augmentation import Affine, Brightness, Contrast, Mirror, QuarterTurns, Saturation, Translation

if TYPE_CHECKING:
    from jaxgen.models.gans.gan import GAN

AUGMENTATION = "augmentation"
"""The critic's memory: `probability` p, and the `signs` since its last change, their sum over moves."""


@dataclasses.dataclass(frozen=True)
class AdaptiveAugmentation(Term):
    """Augments what the critic sees. Metrics: `probability`, p, and `overfitting`, E sign(D(x)) of the batch.

    Attributes:
        augmentations: `(x, key, step) -> x`, random per example. Geometric ones should include all turns or none, and
            each must be invertible as a change of distributions.
        target: of r_t.
        images: examples in which p can go from 0 to 1; 500,000 in the paper.
        every: moves of the critic between two changes of p.
        initial: p at the start.
        adaptive: whether p changes.
        most: upper bound of p.
    """

    accumulates: ClassVar = PLAYS

    augmentations: tuple[Callable[[Array, Key, Array], Array], ...] = (
        Mirror(), QuarterTurns(), Translation(), Affine(), Brightness(), Contrast(), Saturation()
    )  # fmt: skip
    target: float = 0.6
    images: int = 500_000
    every: int = 4
    initial: float = 0.0
    adaptive: bool = True
    most: float = 1.0

    def __post_init__(self):
        check_counts(images=self.images, every=self.every)
        check_number("target", self.target, -1, 1)
        check_number("initial", self.initial, 0, self.most)
        check_number("most", self.most, 0, 1)

    def init(self, gan: GAN, variables: Variables, batch: Batch, key: Key) -> Variables:
        memory = {"probability": jnp.float32(self.initial), "signs": jnp.zeros(())}
        return with_collection(variables, "critic", AUGMENTATION, memory)

    def transform(self, variables: Variables, x: Array, key: Key) -> Array:
        probability = variables["critic"][AUGMENTATION]["probability"]
        for i, augmentation in enumerate(self.augmentations):
            on_key, augmentation_key = jax.random.split(jax.random.fold_in(key, i))
            on = jax.random.bernoulli(on_key, probability, (x.shape[0],) + (1,) * (x.ndim - 1))
            x = jnp.where(on, augmentation(x, augmentation_key, jnp.int32(0)), x)
        return x

    def critic_loss(self, computed: ForwardPass) -> LossOutput:
        memory, scores = computed.variables["critic"][AUGMENTATION], lax.stop_gradient(computed.on_real.score)
        overfitting = jnp.sign(scores).mean()
        metrics = {"probability": memory["probability"], "overfitting": overfitting}
        if not self.adaptive:
            return LossOutput(jnp.zeros(()), metrics)
        signs = memory["signs"] + overfitting
        change = jnp.sign(signs / self.every - self.target) * self.every * len(scores) / self.images
        moved = jnp.clip(memory["probability"] + change, 0, self.most)
        on = computed.clock.moves % self.every == self.every - 1
        memory = {
            "probability": jnp.where(on, moved, memory["probability"]),
            "signs": jnp.where(on, 0.0, signs),
        }
        return LossOutput(jnp.zeros(()), metrics, memory={"critic": {AUGMENTATION: memory}})
