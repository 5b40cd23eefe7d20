"""Generative adversarial networks (Goodfellow et al. 2014, "Generative Adversarial Nets"), every variant a value.

A generator G turns noise z into samples, a critic D scores samples and data, and a criterion says what either wants of
the scores:

    critic:     criterion.critic(D(x), D(G(z))) + penalties on D's slope
    generator:  criterion.generator(D(G(z)))    + a proximal term, where there is one

LSGAN is `dataclasses.replace(gan, criterion=LeastSquares())`, PacGAN `packing=2`, a projection critic
`critic_condition=Projection()`; games with more than these two losses are subclasses, in files of their names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.arguments import counts, rows, shape
from jaxgen.contracts import Array, Batch, Clock, Collections, Every, Key, LossOutput, Play, Variables
from jaxgen.distributions.normal import StandardNormal
from jaxgen.distributions.standard import StandardDistribution
from jaxgen.metrics.collapse import distance_ratio
from jaxgen.metrics.distances import sample_distances
from jaxgen.models.gans.criteria import Criterion, NonSaturating
from jaxgen.models.gans.optimizers import Adam, Optimizer
from jaxgen.models.gans.packing import pack
from jaxgen.models.gans.players import Critic, Generator, Judgement
from jaxgen.models.gans.proximal import Proximal
from jaxgen.models.gans.regularizers import Penalty
from jaxgen.models.players import forward
from jaxgen.models.scaling import from_data, to_data
from jaxgen.nets.conditioning import Concatenate
from jaxgen.nets.heads import ScalarHead
from jaxgen.sharding import sharded

COMPARED = 64
"""Rows whose distances each step reports: those of all would bring a great batch together on every device."""
Transform = Callable[[Array, Key, Array], Array]
"""`(x, key, step) -> x`, what the critic sees of data and samples: instance noise, augmentations; the phase's step."""


@dataclasses.dataclass(frozen=True)
class GAN:
    """Players `critic` and `generator`, each moved by the play of its name.

    Attributes:
        generator: any network from latents to features; the model adds the last layer, and for integer data a tanh.
        critic: any network from data to features; the model adds `critic_head`.
        event_shape: of the data, without the batch.
        latents: dimension of z.
        prior: of z; None: standard normal.
        levels: the data are integers 0..levels-1, in the game scaled to [-1, 1]; None, they are real.
        criterion: what either player wants of the scores.
        penalties: on the critic, added up.
        packing: rows that the critic scores together, side by side on the last axis (Lin et al. 2018, "PacGAN").
        critic_steps: moves of the critic, each on a batch of its own, for one of the generator.
        generator_condition, critic_condition: how they take the `context` of a batch.
        critic_head: the critic's last layer, from features to a score.
        transforms: of data and samples alike, in order, before the critic sees them in training.
        proximal: a term that holds the generator to its earlier self.
        critic_optimizer, generator_optimizer: by default DCGAN's.
        metrics: `(real, fake) -> {name: scalar}` on samples in data units, reported by `evaluate`.
        monitor: which figure of `evaluate` says what checkpoint is best, and its direction.
    """

    generator: nn.Module
    critic: nn.Module
    event_shape: tuple[int, ...]
    latents: int = 100
    levels: int | None = None
    prior: StandardDistribution | None = None
    criterion: Criterion = NonSaturating()
    penalties: tuple[Penalty, ...] = ()
    packing: int = 1
    critic_steps: int = 1
    generator_condition: nn.Module = Concatenate()
    critic_condition: nn.Module = Concatenate()
    critic_head: nn.Module = ScalarHead()
    transforms: tuple[Transform, ...] = ()
    proximal: Proximal | None = None
    critic_optimizer: Optimizer = Adam()
    generator_optimizer: Optimizer = Adam()
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances
    monitor: tuple[str, str] = ("sliced_wasserstein", "min")

    def __post_init__(self):
        shape(self.event_shape)
        counts(latents=self.latents, packing=self.packing, critic_steps=self.critic_steps)
        if self.levels is not None:
            counts(2, levels=self.levels)

    @property
    def _generator(self) -> nn.Module:
        return Generator(self.generator, self.generator_condition, self.event_shape, self.levels is not None)

    @property
    def _critic(self) -> nn.Module:
        return Critic(self.critic, self.critic_condition, self.critic_head)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type; a penalty on a critic with batch statistics.
        """
        z_key, generator_key, critic_key = jax.random.split(key, 3)
        real, context = self._scaled(batch["x"]), batch.get("context")
        z = self.noise(z_key, len(real))
        critic = self._critic.init(critic_key, (pack(real, self.packing), pack(context, self.packing)))
        if self.penalties and "batch_stats" in critic:
            raise ValueError(
                "the critic has batch statistics, which make its score of a row depend on the other rows, while a "
                "penalty holds the slope at each row alone: use layer or spectral normalisation, or none"
            )
        generator = self._generator.init(generator_key, (z, context))
        if self.proximal is not None:
            generator = {**generator, "previous": jax.tree.map(jnp.copy, generator["params"])}
        return {"critic": critic, "generator": generator}

    def plays(self) -> dict[str, Play]:
        alone = self.packing == 1
        by_rows = alone and all(penalty.accumulates for penalty in self.penalties)
        turn = None if self.critic_steps == 1 else Every(self.critic_steps)
        return {
            "critic": Play(("critic",), self.critic_loss, self.critic_optimizer(), accumulates=by_rows),
            "generator": Play(
                ("generator",), self.generator_loss, self.generator_optimizer(), turn,
                alone and self.criterion.accumulates,
            ),
        }  # fmt: skip

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the mean scores `real` and `fake`, the `penalty`, and `distance_ratio`, the mean distance between
        the first samples over that between rows of data, as the critic sees them: it falls when the generator collapses.

        Raises:
            ValueError: rows that cannot be packed.
        """
        if len(batch["x"]) % self.packing:
            raise ValueError(f"{len(batch['x'])} rows cannot be packed by {self.packing}: choose another batch_size")
        z_key, generator_key, real_key, fake_key, on_real_key, on_fake_key, penalty_key = jax.random.split(key, 7)
        real, context = self._scaled(batch["x"]), batch.get("context")
        z = self.noise(z_key, len(real))
        fake, _ = self._generate(variables, z, context, generator_key)
        real, fake = self._seen(real, real_key, clock), self._seen(lax.stop_gradient(fake), fake_key, clock)
        packed = pack(context, self.packing)
        on_real, state = self._judge(variables["critic"], real, packed, on_real_key)
        on_fake, state = self._judge({**variables["critic"], **state}, fake, packed, on_fake_key)
        term = self._critic_term(variables, on_real, on_fake, z, context)
        penalty = self._penalty(variables, real, fake, packed, penalty_key, clock)
        figures = {"real": on_real.score.mean(), "fake": on_fake.score.mean()}
        figures |= {"distance_ratio": distance_ratio(real[:COMPARED], fake[:COMPARED])} if len(real) > 1 else {}
        figures |= {"penalty": penalty} if self.penalties else {}
        return LossOutput(
            self._contest(variables, on_real, on_fake) + penalty + term.value,
            {**figures, **term.metrics}, {"critic": state}, term.memory,
        )  # fmt: skip

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        z_key, generator_key, critic_key, seen_key = jax.random.split(key, 4)
        z, context = self.noise(z_key, len(batch["x"])), batch.get("context")
        fake, state = self._generate(variables, z, context, generator_key)
        judged = self._judge_for_generator(
            variables["critic"], self._seen(fake, seen_key, clock), pack(context, self.packing), critic_key
        )
        term = self._generator_term(variables, judged, z, context)
        value = self.criterion.generator(judged.score) + term.value
        figures, memory = {"score": judged.score.mean(), **term.metrics}, {}
        if self.proximal is not None:
            mine = variables["generator"]
            previous = self.proximal.refresh(mine["previous"], mine["params"], clock.moves)
            before, _ = self._generate({"generator": {**mine, "params": previous}}, z, context, generator_key)
            figures["proximal"] = self.proximal.penalty(fake, before)
            value, memory = value + figures["proximal"], {"generator": {"previous": previous}}
        return LossOutput(value, figures, {"generator": state}, memory)

    def _contest(self, variables: Variables, on_real: Judgement, on_fake: Judgement) -> Array:
        """The critic's loss of the scores."""
        return self.criterion.critic(on_real.score, on_fake.score)

    def _critic_term(
        self, variables: Variables, on_real: Judgement, on_fake: Judgement, z: Array, context: Array | None
    ) -> LossOutput:
        """What a variant adds to the critic's loss."""
        return LossOutput(jnp.zeros(()))

    def _generator_term(
        self, variables: Variables, on_fake: Judgement, z: Array, context: Array | None
    ) -> LossOutput:
        """What a variant adds to the generator's loss."""
        return LossOutput(jnp.zeros(()))

    def noise(self, key: Key, n: int) -> Array:
        """Draws of z, [n, latents]."""
        return sharded((self.prior or StandardNormal((self.latents,))).sample(key, n))

    def sample(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """G(z) in data units."""
        return self.decode(variables, self.noise(key, n), context)

    def decode(self, variables: Variables, z: Array, context: Array | None = None) -> Array:
        """G(z) of given latents, in data units."""
        z = rows("z", z)
        return to_data(self._generate(variables, z, context)[0], self.levels, -1.0, 1.0)

    def score(self, variables: Variables, x: Array, context: Array | None = None) -> Array:
        """The critic's score of rows in data units, [B / packing]."""
        return self._judge(variables["critic"], pack(self._scaled(x), self.packing), pack(context, self.packing))[0].score

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`score_gap`, E D(x) - E D(G(z)), for a Wasserstein critic its estimate of the distance; and `metrics` of as
        many samples as rows.
        """
        context = batch.get("context")
        fake = self.sample(variables, key, len(batch["x"]), context)
        gap = self.score(variables, batch["x"], context).mean() - self.score(variables, fake, context).mean()
        return {"score_gap": gap, **self.metrics(batch["x"], fake)}

    def _scaled(self, x: Array) -> Array:
        return from_data(x, self.event_shape, self.levels, -1.0, 1.0)

    def _seen(self, x: Array, key: Key, clock: Clock) -> Array:
        """Rows as the critic sees them in training."""
        for i, transform in enumerate(self.transforms):
            x = transform(x, jax.random.fold_in(key, i), clock.phase_step)
        return pack(x, self.packing)

    def _generate(
        self, variables: Variables, z: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        """G(z) on the networks' scale, and the state that a training pass leaves."""
        mine = {name: value for name, value in variables["generator"].items() if name != "previous"}
        return forward(self._generator, mine, (z, context), key=key)

    def _judge(
        self, critic: Collections, x: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Judgement, Mapping[str, Any]]:
        """On what the critic sees, and the state that a training pass leaves."""
        return forward(self._critic, critic, (x, context), key=key)

    def _judge_for_generator(self, critic: Collections, x: Array, context: Array | None, key: Key) -> Judgement:
        return self._judge(critic, x, context, key)[0]

    def _penalty(
        self, variables: Variables, real: Array, fake: Array, context: Array | None, key: Key, clock: Clock
    ) -> Array:
        judge_key, *keys = jax.random.split(key, len(self.penalties) + 1)

        def critic(x: Array) -> Array:
            return self._judge(variables["critic"], x, context, judge_key)[0].score

        penalties = (penalty(critic, real, fake, k, clock) for penalty, k in zip(self.penalties, keys, strict=True))
        return sum(penalties, start=jnp.zeros(()))
