"""A person in another pose (Balakrishnan et al. 2018, "Synthesizing Images of Humans in Unseen Poses", CVPR).

A generator G takes an image I_s with its joints p_s and the joints p_t of a target pose, in five steps
(`jaxgen.nets.LimbSynthesis`), and is trained on two frames of one person, in two stages:

    first:   reconstruction(G(I_s, p_s, p_t), I_t)
    second:  reconstruction + 0.1 (-log D(G(I_s, p_s, p_t), p_s, p_t)),
             and the critic by -log D(I_t, p_s, p_t) - log (1 - D(G(I_s, p_s, p_t), p_s, p_t)).

The paper reconstructs features of a fixed VGG-19 (`jaxgen.models.translation.FeatureReconstruction`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import as_real, check_counts, check_number
from jaxgen.contracts import Array, Batch, Clock, Every, Key, LossOutput, Phase, Play, Variables
from jaxgen.models.forward import forward
from jaxgen.models.gans.adversarial_losses import AdversarialLoss, NonSaturating
from jaxgen.models.translation.domain import Domain
from jaxgen.models.translation.reconstruction import PixelReconstruction, Reconstruction
from jaxgen.nets.pose_augmentation import PoseAugmentation
from jaxgen.nets.pose_networks import LimbSynthesis, PoseCritic, Synthesis


@dataclasses.dataclass(frozen=True)
class PoseSynthesis:
    """Players `generator` and `critic`, on batches `{"source": {"x", "joints"}, "target": {"x", "joints"}}`.

    `x` are images in data units, `joints` [B, J, 2] are (x, y) in pixels, not finite where unknown.

    Attributes:
        domain: of the images.
        generator: `LimbSynthesis`, or `DirectSynthesis` for the baseline of one network.
        critic: called with an image and the two poses' heat maps; returns scores [B].
        reconstruction: how the output is compared with the target.
        adversarial_loss: of the second stage.
        adversary_weight: its weight in the generator's loss.
        adversary_fraction: the fraction of a run's steps in the second stage; 0: there is none.
        lead: steps of the critic before the generator's first in the second stage.
        augmentation: of the pairs; None: none.
    """

    domain: Domain
    _: dataclasses.KW_ONLY
    generator: nn.Module = LimbSynthesis()
    critic: nn.Module = PoseCritic()
    reconstruction: Reconstruction = PixelReconstruction()
    adversarial_loss: AdversarialLoss = NonSaturating()
    adversary_weight: float = 0.1
    adversary_fraction: float = 1 / 11
    lead: int = 5
    augmentation: PoseAugmentation | None = PoseAugmentation()
    monitor: ClassVar = ("l1", "min")

    def __post_init__(self):
        check_counts(0, lead=self.lead)
        check_number("adversary_fraction", self.adversary_fraction, 0, 1)
        if not self.domain.bounded:
            raise ValueError("`domain` must have levels: the networks' outputs are bounded")

    def init(self, key: Key, batch: Batch) -> Variables:
        generator_key, critic_key, reconstruction_key = jax.random.split(key, 3)
        source, target = self._pair(batch)
        synthesis, generator = self.generator.init_with_output(generator_key, *source, target[1])
        if synthesis.output.shape != target[0].shape:
            got = f"{synthesis.output.shape[1:]} of images {target[0].shape[1:]}"
            raise ValueError(f"`generator` must map to the shape of the images, got {got}")
        variables = {"generator": generator, **self.reconstruction.init(reconstruction_key, target[0])}
        if self.adversary_fraction:
            variables["critic"] = self.critic.init(critic_key, target[0], synthesis.source_pose, synthesis.target_pose)
        return variables

    def plays(self) -> dict[str, Play]:
        """The second stage, or the first if there is no other."""
        if not self.adversary_fraction:
            return self._first_stage()
        means = self.adversarial_loss.accumulates
        return {
            "critic": Play(("critic",), self.critic_loss, optax.adam(1e-4), accumulates="critic" in means),
            "generator": Play(
                ("generator",), self.generator_loss, optax.adam(1e-4), Every(1, start=self.lead), "generator" in means
            ),
        }

    def _first_stage(self) -> dict[str, Play]:
        return {"generator": Play(("generator",), self.reconstruction_loss, optax.adam(1e-4), accumulates=True)}

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """Reconstruction alone, then with the adversary, whose best variables do not compete with the first stage's."""
        second = int(self.adversary_fraction * steps)
        first = Phase(self._first_stage(), steps - second, enter=self._enter)
        return (first, Phase(self.plays(), second, monitor=("reconstruction", "min"))) if second else (first,)

    def _enter(self, variables: Variables, batch: Batch, key: Key) -> Variables:
        return self.reconstruction.enter(variables, self._pair(batch)[1][0])

    def reconstruction_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The metric `l1` is the mean absolute error in data units."""
        synthesis, target, statistics = self._train(variables, batch, key)
        value = self.reconstruction.loss(variables, synthesis.output, target)
        return LossOutput(value, {"l1": self._error(synthesis.output, target)}, {"generator": statistics})

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: `l1`, `reconstruction`, and the mean `score` of the outputs."""
        synthesis, target, statistics = self._train(variables, batch, key)
        reconstruction = self.reconstruction.loss(variables, synthesis.output, target)
        score = self._score(variables, synthesis.output, synthesis)
        metrics = {"l1": self._error(synthesis.output, target), "reconstruction": reconstruction, "score": score.mean()}
        value = reconstruction + self.adversary_weight * self.adversarial_loss.generator(score)
        return LossOutput(value, metrics, {"generator": statistics})

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the mean scores `real` and `fake`."""
        synthesis, target, _ = self._train(variables, batch, key)
        real, fake = (self._score(variables, x, synthesis) for x in (target, lax.stop_gradient(synthesis.output)))
        metrics = {"real": real.mean(), "fake": fake.mean()}
        return LossOutput(self.adversarial_loss.critic(real, fake), metrics)

    def steps(self, variables: Variables, x: Array, joints: Array, target: Array) -> Synthesis:
        """All that the generator computes, images in [-1, 1].

        Args:
            x: images in data units, [B, *event_shape].
            joints, target: their joints and those of the pose to synthesise, [B, J, 2].
        """
        x, joints, target = self.domain.scaled(x), as_real("joints", joints), as_real("target", target)
        if joints.ndim != 3 or joints.shape != target.shape or joints.shape[0] != x.shape[0]:
            raise ValueError(
                f"`joints` and `target` must be [{x.shape[0]}, J, 2], got shapes {joints.shape} and {target.shape}"
            )
        return forward(self.generator, variables["generator"], x, joints, target)[0]

    def translate(self, variables: Variables, x: Array, joints: Array, target: Array) -> Array:
        """Images of the same people in another pose, in data units. Arguments as in `steps`."""
        return self.domain.data(self.steps(variables, x, joints, target).output)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`l1`, the mean absolute error of the targets in data units; `reconstruction`, the loss of the first stage."""
        source, target = batch["source"], batch["target"]
        output = self.steps(variables, source["x"], source["joints"], target["joints"]).output
        l1 = jnp.abs(self.domain.data(output).astype(jnp.float32) - target["x"]).mean()
        reconstruction = self.reconstruction.loss(variables, output, self.domain.scaled(target["x"]))
        return {"l1": l1, "reconstruction": reconstruction}

    def _pair(self, batch: Batch) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Images in [-1, 1] and joints of the source and of the target.

        Raises:
            ValueError: a batch without the two parts.
        """
        if not {"source", "target"} <= set(batch):
            raise ValueError(f"`PoseSynthesis` expects a batch with entries 'source' and 'target', got {sorted(batch)}")
        return tuple((self.domain.scaled(p["x"]), p["joints"]) for p in (batch["source"], batch["target"]))

    def _train(self, variables: Variables, batch: Batch, key: Key) -> tuple[Synthesis, Array, Mapping[str, Any]]:
        """The synthesis of an augmented batch in training mode, its target images, and the updated statistics."""
        augmentation_key, generator_key = jax.random.split(key)
        source, target = self._pair(batch)
        if self.augmentation is not None:
            source, target = self.augmentation(augmentation_key, source, target)
        synthesis, statistics = forward(
            self.generator, variables["generator"], *source, target[1], train=True, key=generator_key
        )
        return synthesis, target[0], statistics

    def _score(self, variables: Variables, x: Array, synthesis: Synthesis) -> Array:
        return forward(self.critic, variables["critic"], x, synthesis.source_pose, synthesis.target_pose)[0]

    def _error(self, output: Array, target: Array) -> Array:
        return (self.domain.levels - 1) / 2 * jnp.abs(output - target).mean()
