"""SinGAN (Shaham et al. 2019, "SinGAN: Learning a Generative Model from a Single Natural Image", arXiv:1905.01164).

A generator G_n and a critic D_n of patches for each scale n of one picture x, here from coarse, n = 0, to fine, n = N:

    y_n   = up(x'_(n-1)),  y_0 = 0,      x'_n   = G_n(s_n z_n, y_n) = tanh(convolutions(s_n z_n + y_n)) + y_n
    yr_n  = up(xr_(n-1)),  yr_0 = 0,     xr_n = G_n(s_n z*_n, yr_n),  z*_0 fixed noise, z*_n = 0 above

    critic:     E D_n(x'_n) - D_n(x_n) + lambda penalty      D_n(x): the mean of the patches' scores
    generator:  -E D_n(x'_n) + alpha mean (xr_n - x_n)^2

Scales are trained one after another, each while the coarser ones are fixed; s_0 = 1 and s_n = noise_weight times the
root mean squared difference of yr_n and x_n, found when the scale begins. It begins with the weights of the one below
if both are as wide. An iteration has `critic_steps` steps of the critic and `generator_steps` of the generator.

What the authors' code does differently is `AUTHORS`: z*_0 is drawn anew in each iteration, and the generator's steps of
an iteration share their noise (there even the image, of the first step). The penalty is the code's, of the gradient in
each pixel. To the letter the paper's, "WGAN-GP" with the mean as the score, is of the gradient in the whole picture,
`penalty="picture"`: it lets the critic be steeper by the root of the number of patches, and outweighs alpha.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Phase, Play, Variables
from jaxgen.losses.adversarial import wasserstein_critic, wasserstein_generator
from jaxgen.losses.penalties import gradient_penalty, pixel_gradient_penalty
from jaxgen.metrics.single_image import pixel_diversity
from jaxgen.models.forward import forward
from jaxgen.models.hybrids.pyramid import resize
from jaxgen.models.hybrids.scale_generators import ScaleGenerators

AUTHORS = {"redraw": True, "reuse_noise": True}
"""The fields of the authors' code: `dataclasses.replace(model, **AUTHORS)`."""


class Turn(NamedTuple):
    """Runs a play at the steps `start` <= i < `start + count` of each `cycle` steps of a phase."""

    start: int
    count: int
    cycle: int

    def __call__(self, clock: Clock) -> Array:
        i = clock.phase_step % self.cycle
        return (i >= self.start) & (i < self.start + self.count)


@dataclasses.dataclass(frozen=True)
class SinGAN(ScaleGenerators):
    """The plays of each phase are `critic` and `generator`, each phase for the players of its scale.

    Attributes:
        alpha: weight of the reconstruction.
        penalty: `pixel_gradient_penalty`, or `gradient_penalty` of the mean score in the whole picture.
        penalty_weight: lambda.
        noise_weight: of the standard deviation of the noise at scales above the coarsest.
        critic_steps, generator_steps: of an iteration.
        redraw: draw z*_0 anew in each iteration.
        reuse_noise: the same noise for the generator's steps of an iteration.
        learning_rate: of Adam, for both; a tenth in the last fifth of each scale.
        monitor: the metric of `evaluate` that chooses the best checkpoint, and its direction.

    Raises:
        ValueError: as `ScaleGenerators`; a field outside its range.
    """

    _: dataclasses.KW_ONLY
    alpha: float = 10.0
    penalty: Literal["pixel", "picture"] = "pixel"
    penalty_weight: float = 0.1
    noise_weight: float = 0.1
    critic_steps: int = 3
    generator_steps: int = 3
    redraw: bool = False
    reuse_noise: bool = False
    learning_rate: float = 5e-4
    monitor: tuple[str, str] = ("reconstruction", "min")

    def __post_init__(self):
        super().__post_init__()
        check_counts(critic_steps=self.critic_steps, generator_steps=self.generator_steps)
        for name in ("alpha", "penalty_weight", "noise_weight", "learning_rate"):
            check_number(name, getattr(self, name), 0)
        if self.penalty not in ("picture", "pixel"):
            raise ValueError(f"`penalty` must be 'picture' or 'pixel', got {self.penalty!r}")

    def plays(self) -> Mapping[str, Play]:
        """The game of the finest scale."""
        return self._plays(len(self.sizes) - 1)

    def _plays(self, scale: int, steps: int | None = None) -> Mapping[str, Play]:
        cycle = self.critic_steps + self.generator_steps

        def play(name: str, loss: Callable, turn: Turn) -> Play:
            rate = self.learning_rate
            if steps is not None:
                rate = optax.piecewise_constant_schedule(rate, {int(0.8 * steps * turn.count / cycle): 0.1})
            return Play((f"{name}{scale}",), partial(loss, scale), optax.adam(rate, 0.5), turn)

        return {
            "critic": play("critic", self.critic_loss, Turn(0, self.critic_steps, cycle)),
            "generator": play("generator", self.generator_loss, Turn(self.critic_steps, self.generator_steps, cycle)),
        }

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """A phase for each scale, with equally many whole iterations; the last has the remaining steps too.

        Raises:
            ValueError: fewer than a step for each scale; when training begins, several pictures.
        """
        scales, cycle = len(self.sizes), self.critic_steps + self.generator_steps
        if steps < scales:
            raise ValueError(f"`steps` must be at least one for each of the {scales} scales, got {steps}")
        each = steps // scales
        each -= each % cycle if each >= cycle else 0
        counts = [each] * (scales - 1) + [steps - each * (scales - 1)]
        return tuple(
            Phase(self._plays(n, count), count, batch_size=1, enter=partial(self._enter, n) if n else self._begin)
            for n, count in enumerate(counts)
        )

    def _begin(self, variables: Variables, batch: Batch, key: Key) -> Variables:
        if len(batch["x"]) != 1:
            raise ValueError(f"a SinGAN learns from one picture, got {len(batch['x'])}")
        return variables

    def _enter(self, n: int, variables: Variables, batch: Batch, key: Key) -> Variables:
        """Begins scale n: its noise, the reconstruction below it, and weights from the scale below."""
        below = resize(self._climb(variables, self._anchor(variables), self.sizes[:n]), self.sizes[n])
        real = resize(self._scaled(batch["x"]), self.sizes[n])
        std = self.noise_weight * jnp.sqrt(((below - real) ** 2).mean())
        entered = dict(variables)
        for player in ("generator", "critic"):
            old, new = (self.network(player, k) for k in (n - 1, n))
            entered[f"{player}{n}"] = dict(variables[f"{player}{n - 1}" if old == new else f"{player}{n}"])
        scale = variables[f"generator{n}"]["scale"]
        entered[f"generator{n}"]["scale"] = {**scale, "std": std, "trained": jnp.bool_(True), "below": below[0]}
        return entered

    def critic_loss(self, n: int, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Of scale n. Metrics: the mean scores `real` and `fake`, and the `penalty`."""
        noise_key, penalty_key = jax.random.split(key)
        fake, statistics = self._fake(n, variables, noise_key)
        real = resize(self._scaled(batch["x"]), self.sizes[n])

        def patches(x: Array) -> Array:
            return forward(self.network("critic", n), variables[f"critic{n}"], x)[0]

        def score(x: Array) -> Array:
            return patches(x).mean((1, 2))

        on_real, on_fake = score(jnp.concatenate([real, fake]))[:, None]
        if self.penalty == "pixel":
            penalty = pixel_gradient_penalty(patches, real, fake, penalty_key, weight=self.penalty_weight)
        else:
            penalty = gradient_penalty(score, real, fake, penalty_key, weight=self.penalty_weight)
        metrics = {"real": on_real[0], "fake": on_fake[0], "penalty": penalty}
        value = wasserstein_critic(on_real, on_fake) + penalty
        return LossOutput(value, metrics, {f"generator{n}": statistics})

    def generator_loss(self, n: int, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Of scale n. Metrics: `adversarial`, and `reconstruction`, the mean squared difference of pixels on [-1,
        1]."""
        player, scale = f"generator{n}", variables[f"generator{n}"]["scale"]
        iteration = clock.phase_step // (self.critic_steps + self.generator_steps)
        shared_key, redraw_key = jax.random.split(jax.random.fold_in(jax.random.key(scale["seed"]), iteration))
        fake, statistics = self._fake(n, variables, shared_key if self.reuse_noise else key)
        scores = forward(self.network("critic", n), variables[f"critic{n}"], fake)[0]
        adversarial, memory = wasserstein_generator(scores.mean((1, 2))), {}
        if self.redraw and n == 0:
            scale = {**scale, "z": jax.random.normal(redraw_key, scale["z"].shape)}
            memory = {player: {"scale": scale}}
        noise = scale["std"] * jnp.broadcast_to(scale.get("z", 0.0), scale["below"].shape)
        generator = {**variables[player], **statistics}
        again, statistics = forward(
            self.network("generator", n), generator, noise[None], scale["below"][None], train=True
        )
        real = resize(self._scaled(batch["x"]), self.sizes[n])
        reconstruction = ((again - real) ** 2).mean()
        metrics = {"adversarial": adversarial, "reconstruction": reconstruction}
        return LossOutput(adversarial + self.alpha * reconstruction, metrics, {player: statistics}, memory)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`reconstruction`, the root mean squared error of the picture from z*, of data on [0, 1] if they are integers;
        `diversity` of 16 samples: the standard deviation of a pixel over that of the picture's, on average.

        Scales that have not begun pass the image on.
        """
        picture = jnp.asarray(batch["x"], jnp.float32)
        error = jnp.sqrt(((self.reconstruct(variables).astype(jnp.float32) - picture) ** 2).mean())
        samples = self.sample(variables, key, 16).astype(jnp.float32)
        return {
            "reconstruction": error / (1 if self.levels is None else self.levels - 1),
            "diversity": pixel_diversity(samples, picture[0]),
        }

    def _fake(self, n: int, variables: Variables, key: Key) -> tuple[Array, Mapping[str, Any]]:
        """A random image of scale n, and the generator's statistics."""
        noise = self._random(key, 1)
        generator, below = variables[f"generator{n}"], jnp.zeros((1, *self.sizes[0], self.event_shape[-1]))
        if n:
            below = resize(self._climb(variables, noise, self.sizes[:n]), self.sizes[n])
        z = jnp.broadcast_to(generator["scale"]["std"] * noise(n, self.sizes[n]), below.shape)
        return forward(self.network("generator", n), generator, z, below, train=True)
