"""GAN compression: a small generator distilled from a trained one (Li et al. 2020, arXiv:2003.08936).

The student S is the generator of a Pix2Pix, the teacher T is fixed. With a the critic's scores of pairs, which begin as
the teacher's critic's, S_l and T_l the residual streams after block l, and f_l learned 1x1 convolutions,

    generator:  E softplus(-a(x, S(x))) + 100 E |y - S(x)| + sum_l E (f_l(S_l(x)) - T_l(x))^2

Without pairs, as for a CycleGAN's generator, T(x) takes the place of y (`target="teacher"`) and the critic is
unconditional (`taught_by`). The student is made in three steps: it is cut from the teacher, whose channels are sorted
(`DistilledPix2Pix.start`), and trained with random numbers of channels (`SlimmableTranslator.choices`); it is cut to
the channels that `search_channels` finds within a budget of multiply-adds; and it is trained on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.arguments import check_number
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.convolution import Conv
from jaxgen.losses.perceptual import feature_distance
from jaxgen.models.forward import forward
from jaxgen.models.translation.cycle_gan import CycleGAN
from jaxgen.models.translation.networks import Translator
from jaxgen.models.translation.pix2pix import Pix2Pix
from jaxgen.nets.conditioning import Unconditional
from jaxgen.nets.slimmable import SlimmableTranslator, cut_channels, sort_channels

Target = Literal["truth", "teacher"]


def taught_by(model: CycleGAN, variables: Variables) -> tuple[Pix2Pix, Variables]:
    """The generator to b of a CycleGAN and the critic of its translations, as a Pix2Pix with an unconditional critic.

    Its critic's loss is the CycleGAN's, without a pool; `adversarial_weight` is that of the CycleGAN.
    """
    # a `ConditionalCritic` has the critic as its `network`
    critic = {name: {"network": tree} for name, tree in variables["critic_b"].items() if name != "pool"}
    pix2pix = Pix2Pix(
        a=model.a, b=model.b, generator=model.generator, critic=model.critic, critic_condition=Unconditional(),
        adversarial_loss=model.adversarial_loss, critic_weight=1.0, adversarial_weight=model.adversarial_weight,
        jitter=None, head_size=model.head_size, head_padding="REFLECT",
    )  # fmt: skip
    return pix2pix, {"generator": variables["to_b"], "critic": critic}


class StagedTranslator(Translator):
    """A `Translator` of a `SlimmableTranslator`, with the same parameters, that also returns its residual streams."""

    @nn.compact
    def __call__(self, x: jax.Array, limits: Any = None) -> tuple[jax.Array, list[jax.Array]]:
        features, stages = self.network(x, limits, outputs=True)
        return self.output(features), stages


class PointwiseMaps(nn.Module):
    """A 1x1 convolution of each of several [B, H, W, C] to [B, H, W, features]."""

    features: int

    @nn.compact
    def __call__(self, stages: Sequence[jax.Array]) -> list[jax.Array]:
        return [Conv(self.features, 1, name=f"map_{i}")(stage) for i, stage in enumerate(stages)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistilledPix2Pix(Pix2Pix):
    """A Pix2Pix whose generator learns from a teacher too; the play `generator` also trains the player `maps`.

    The player `teacher` is fixed: its variables, and those to start from, are given to `fit` as `start`.

    Attributes:
        generator: the student.
        teacher: network of the teacher, with as many halvings and residual blocks.
        layers: l in the equation: numbers of residual blocks after which the residual streams are compared.
        distillation_weight: weight of the distance of the residual streams; 0.01 in the authors' code for CycleGAN.
        target: what the translation is compared with by the L1 distance: y, or T(x).

    Raises:
        ValueError: networks that do not fit together; layers that they do not have.
    """

    generator: SlimmableTranslator = SlimmableTranslator.uniform(48)
    teacher: SlimmableTranslator = SlimmableTranslator()
    layers: tuple[int, ...] = (0, 3, 6, 9)
    distillation_weight: float = 1.0
    target: Target = "truth"

    def __post_init__(self):
        super().__post_init__()
        check_number("distillation_weight", self.distillation_weight, 0)
        if self.target not in get_args(Target):
            raise ValueError(f"`target` must be one of {get_args(Target)}, got {self.target!r}")
        depths = [(network.halvings, network.blocks) for network in (self.generator, self.teacher)]
        if depths[0] != depths[1]:
            raise ValueError(f"`generator` and `teacher` must have as many halvings and blocks, got {depths}")
        if not all(0 <= layer <= self.teacher.blocks for layer in self.layers):
            raise ValueError(f"`layers` must be from 0 to blocks={self.teacher.blocks}, got {self.layers}")

    @property
    def _maps(self) -> PointwiseMaps:
        return PointwiseMaps(self.teacher.channels[self.teacher.halvings])

    def _staged(self, network: SlimmableTranslator) -> StagedTranslator:
        return StagedTranslator(network, self.b.event_shape, self.b.bounded, self.head_size, self.head_padding)

    def init(self, key: Key, batch: Batch) -> Variables:
        teacher_key, maps_key = jax.random.split(jax.random.fold_in(key, 1))
        variables = {**super().init(key, batch)}
        x, _ = self._scaled(batch)
        variables["teacher"] = self._staged(self.teacher).init(teacher_key, x)
        stages = self._staged(self.generator).apply(variables["generator"], x)[1]
        variables["maps"] = self._maps.init(maps_key, [stages[layer] for layer in self.layers])
        return variables

    def start(self, source: Pix2Pix, variables: Variables, batch: Batch) -> Variables:
        """Variables to start from: the teacher, the critic, and a student cut from a larger generator.

        Args:
            source: the teacher's model, whose generator's channels are sorted first; or a `DistilledPix2Pix` with more
                channels and the same teacher, whose first channels are taken.
            variables: of `source`.

        Raises:
            ValueError: the student does not fit into the generator of `source`.
        """
        shapes = jax.eval_shape(self.init, jax.random.key(0), batch)
        generator, start = variables["generator"]["params"], {}
        if isinstance(source, DistilledPix2Pix):
            start |= {"teacher": variables["teacher"], "maps": cut_channels(variables["maps"], shapes["maps"])}
        else:
            start["teacher"], out = variables["generator"], generator["head"]["out"]
            network, kernel = sort_channels(source.generator, generator["network"], out["kernel"])
            generator = {"network": network, "head": {"out": {**out, "kernel": kernel}}}
        start["generator"] = {"params": cut_channels(generator, shapes["generator"]["params"])}
        if "critic" in shapes and "critic" in variables:
            start["critic"] = variables["critic"]
        return start

    def plays(self) -> Mapping[str, Play]:
        plays = dict(super().plays())
        if self.distillation_weight:
            plays["generator"] = plays["generator"]._replace(players=("generator", "maps"))
        return plays

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the terms `l1`, `adversarial` and `distillation` without their weights."""
        jitter_key, generator_key, critic_key = jax.random.split(key, 3)
        x, y = self._jittered(batch, jitter_key, clock)
        (fake, stages), statistics = forward(
            self._staged(self.generator), variables["generator"], x, key=generator_key
        )
        taught = forward(self._staged(self.teacher), variables["teacher"], x)[0]
        example, teacher_stages = lax.stop_gradient(taught)
        y = y if self.target == "truth" else example
        value, metrics = self._generator_terms(variables, x, y, fake, critic_key)
        if self.distillation_weight:
            mapped, _ = forward(self._maps, variables["maps"], [stages[layer] for layer in self.layers])
            names = [f"block {layer}" for layer in self.layers]
            compared = (mapped, [teacher_stages[layer] for layer in self.layers])
            metrics["distillation"] = feature_distance(*(dict(zip(names, each, strict=True)) for each in compared))
            value += self.distillation_weight * metrics["distillation"]
        return LossOutput(value, metrics, {"generator": statistics})

    def translate_within(self, variables: Variables, x: Array, limits: Array) -> Array:
        """`translate` by the first channels of each layer (`SlimmableTranslator`)."""
        y, _ = forward(self._staged(self.generator), variables["generator"], self.a.scaled(x), limits)[0]
        return self.b.data(y)

    def teach(self, variables: Variables, x: Array) -> Array:
        """The teacher's translations of examples of a, in data units."""
        return self.b.data(forward(self._staged(self.teacher), variables["teacher"], self.a.scaled(x))[0][0])

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`l1_to_teacher`, the mean absolute difference from the teacher's translations, and unless they are the target
        the metrics of `Pix2Pix`.
        """
        x = batch["a"]["x"]
        fake, example = (self.b.fraction(y) for y in (self.translate(variables, x, key=key), self.teach(variables, x)))
        metrics = super().evaluate(variables, batch, key) if self.target == "truth" else {}
        return {**metrics, "l1_to_teacher": jnp.abs(fake - example).mean()}
