"""DiscoGAN (Kim et al. 2017, "Learning to Discover Cross-Domain Relations with Generative Adversarial Networks").

Two generators G_B: A -> B and G_A: B -> A, and two critics D_A, D_B learn from unpaired examples:

    generators:  L_GAN_B + L_const_A  +  L_GAN_A + L_const_B                                      (equation 7)
    critics:     L_D_A + L_D_B                                                                    (equation 8)

    L_GAN_B = -E log D_B(G_B(x_A)),    L_const_A = E |G_A(G_B(x_A)) - x_A|^2 / dimensions

The authors' code (SKTBrain/DiscoGAN) plays another game, here `replace(model, **AUTHORS_CODE)`: with FM_B the squared
distance between the mean features of data and of translations, averaged over each critic layer and summed over layers,

    generators:  (1 - r) (0.1 L_GAN_B + 0.9 FM_B) + r L_const_A  +  the same for the other direction

with r = 0.01 in the first 10,000 steps and 0.5 afterwards; the critics move alone in every third step, the generators
in the others. The paper's ablations are `replace(model, **GAN)` and `replace(model, **RECONSTRUCTION_GAN)`: the
translation from A to B alone, without or with the reconstruction of A.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.arguments import check_counts, check_number, freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.auxiliary import layerwise_feature_matching
from jaxgen.metrics.distances import sample_distances
from jaxgen.models.forward import forward
from jaxgen.models.gans.adversarial_losses import AdversarialLoss, NonSaturating
from jaxgen.models.gans.networks import Generator
from jaxgen.models.translation.balance import Balance, Curriculum, Turn
from jaxgen.models.translation.domain import OTHER, Domain, check_domains, other
from jaxgen.nets.conditioning import Unconditional
from jaxgen.nets.heads import ScalarHead
from jaxgen.nets.stages import FeatureCritic

AUTHORS_CODE: Mapping[str, Any] = dict(balance=Curriculum(), critic_every=3, critic_weight=0.5, weight_decay=1e-5)
"""The fields that differ in the authors' code."""
GAN: Mapping[str, Any] = {"judged": ("b",), "reconstructed": ()}
"""The fields of the paper's first ablation, a GAN whose generator translates A to B."""
RECONSTRUCTION_GAN: Mapping[str, Any] = {"judged": ("b",), "reconstructed": ("a",)}
"""The fields of the second, which also reconstructs A."""


@dataclasses.dataclass(frozen=True)
class DiscoGAN:
    """Players `to_a` and `to_b`, trained by the play `generator`, and `critic_a` and `critic_b`, trained by `critic`.

    Events are images or vectors. An ablation has fewer players, and ignores the others' networks.

    Attributes:
        to_a, to_b: from an example of the other domain to features; the model adds the last layer, and a tanh for
            integer data.
        critic_a, critic_b: from an example to the features of each layer, a tuple (`jaxgen.nets.Stages`); the model
            adds `critic_head`.
        a, b: the domains.
        adversarial_loss: the critics' and the generators' loss, functions of the scores.
        balance: the weights of a generator's losses, by the clock.
        judged: domains whose translations a critic judges.
        reconstructed: domains whose examples are translated there and back.
        unmatched: layers of a critic, from the first, whose features are not matched: in the authors' code one of four,
            two in that for angles.
        critic_every: the critics move alone on the first of so many steps; None: critics and generators in each step.
        critic_weight: factor of the critics' loss, which matters beside the weight decay.
        learning_rate, weight_decay: of Adam; the decay is added to the gradient, as the gradient of an L2 penalty.
        critic_head: the critics' last layer, from features to a score.
        metrics: `(real, fake) -> {name: scalar}`, integers as fractions; reported by `evaluate` for each judged domain.
        monitor: the metric of `evaluate` that chooses the best checkpoint, and its direction.
    """

    to_a: nn.Module
    to_b: nn.Module
    critic_a: nn.Module
    critic_b: nn.Module
    a: Domain
    b: Domain
    _: dataclasses.KW_ONLY
    adversarial_loss: AdversarialLoss = NonSaturating()
    balance: Balance | Curriculum = Balance()
    judged: tuple[str, ...] = ("a", "b")
    reconstructed: tuple[str, ...] = ("a", "b")
    unmatched: int = 1
    critic_every: int | None = None
    critic_weight: float = 1.0
    learning_rate: float = 2e-4
    weight_decay: float = 1e-4
    critic_head: nn.Module = ScalarHead()
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances
    monitor: tuple[str, str] = ("sliced_wasserstein_b", "min")

    def __post_init__(self):
        freeze_fields(self)
        for name, least in (("judged", 1), ("reconstructed", 0)):
            if len(value := getattr(self, name)) < least or not set(value) <= set(OTHER):
                raise ValueError(f"`{name}` must hold at least {least} of the domains 'a' and 'b', got {value!r}")
        check_counts(0, unmatched=self.unmatched)
        check_counts(2, critic_every=2 if self.critic_every is None else self.critic_every)
        for name in ("critic_weight", "learning_rate", "weight_decay"):
            check_number(name, getattr(self, name), 0)

    @property
    def generators(self) -> tuple[str, ...]:
        """The domains that the game translates to."""
        return tuple(name for name in ("a", "b") if name in self.judged or self.reconstructed)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: a batch without the domains, or examples that do not fit them.
        """
        check_domains(batch)
        x = {name: self._scaled(batch, name) for name in OTHER}
        keys = dict(zip(("to_a", "to_b", "critic_a", "critic_b"), jax.random.split(key, 4), strict=True))
        to = {f"to_{to}": self._generator(to).init(keys[f"to_{to}"], (x[OTHER[to]], None)) for to in self.generators}
        return to | {f"critic_{on}": self._critic(on).init(keys[f"critic_{on}"], x[on]) for on in self.judged}

    def plays(self) -> dict[str, Play]:
        adam = optax.adam(self.learning_rate, b1=0.5, b2=0.999)
        optimizer = optax.chain(optax.add_decayed_weights(self.weight_decay), adam) if self.weight_decay else adam
        n, means = self.critic_every, self.adversarial_loss.accumulates
        turns = (None, None) if n is None else (Turn(n, first=True), Turn(n, first=False))
        critics, generators = tuple(f"critic_{on}" for on in self.judged), tuple(f"to_{to}" for to in self.generators)
        mean = "generator" in means and not self.balance.features
        critic = Play(critics, self.critic_loss, optimizer, turns[0], "critic" in means)
        return {"critic": critic, "generator": Play(generators, self.generator_loss, optimizer, turns[1], mean)}

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: for each judged domain the mean scores `real` and `fake`."""
        value, metrics, statistics = jnp.zeros(()), {}, {}
        for i, on in enumerate(self.judged):
            fake_key, on_real_key, on_fake_key = jax.random.split(jax.random.fold_in(key, i), 3)
            fake, _ = self._translate(variables, self._scaled(batch, OTHER[on]), on, fake_key)
            (on_real, _), new = self._criticize(variables, self._scaled(batch, on), on, on_real_key)
            (on_fake, _), new = self._criticize(_updated(variables, new), jax.lax.stop_gradient(fake), on, on_fake_key)
            statistics |= new
            value += self.critic_weight * self.adversarial_loss.critic(on_real, on_fake)
            metrics |= {f"real_{on}": on_real.mean(), f"fake_{on}": on_fake.mean()}
        return LossOutput(value, metrics, statistics)

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics, unweighted: for each judged domain `adversarial` and, if they are matched, `features`; for each
        reconstructed domain `reconstruction`.
        """
        balance, metrics, statistics = self.balance.at(clock), {}, {}
        for i, (to, origin) in enumerate(OTHER.items()):
            if to not in self.judged and origin not in self.reconstructed:
                continue
            there_key, back_key, fake_key, real_key = jax.random.split(jax.random.fold_in(key, i), 4)
            x = self._scaled(batch, origin)
            y, new = self._translate(_updated(variables, statistics), x, to, there_key)
            statistics |= new
            if to in self.judged:
                (score, fake_features), _ = self._criticize(variables, y, to, fake_key)
                metrics[f"adversarial_{to}"] = self.adversarial_loss.generator(score)
            if to in self.judged and self.balance.features > 0:
                (_, features), _ = self._criticize(variables, self._scaled(batch, to), to, real_key)
                matched = features[self.unmatched :], fake_features[self.unmatched :]
                metrics[f"features_{to}"] = layerwise_feature_matching(*matched)
            if origin in self.reconstructed:
                back, new = self._translate(_updated(variables, statistics), y, origin, back_key)
                statistics |= new
                unit = 0.5 if getattr(self, origin).bounded else 1.0  # the authors' images are in [0, 1]
                metrics[f"reconstruction_{origin}"] = ((unit * (back - x)) ** 2).mean()
        value = sum(getattr(balance, name.partition("_")[0]) * metric for name, metric in metrics.items())
        return LossOutput(value, metrics, statistics)

    def translate(self, variables: Variables, x: Array, to: str = "b", key: Key | None = None) -> Array:
        """Translations of examples of the other domain, in data units; `key` is for networks with noise.

        Raises:
            ValueError: the game does not translate to this domain.
        """
        self._check("to", to, self.generators)
        x = getattr(self, other(to)).scaled(x)
        return getattr(self, to).data(self._translate(variables, x, to, key, train=False)[0])

    def reconstruct(self, variables: Variables, x: Array, domain: str = "a", key: Key | None = None) -> Array:
        """Examples of a domain, translated to the other one and back, in data units.

        Raises:
            ValueError: the game does not translate in both directions.
        """
        self._check("domain", domain, ("a", "b") if len(self.generators) == 2 else ())
        y = getattr(self, domain).scaled(x)
        for i, to in enumerate((other(domain), domain)):
            y, _ = self._translate(variables, y, to, key if key is None else jax.random.fold_in(key, i), train=False)
        return getattr(self, domain).data(y)

    def score(self, variables: Variables, x: Array, domain: str = "b") -> Array:
        """The critic's score of examples of its domain in data units, [B]: a logit for the default loss.

        Raises:
            ValueError: the domain has no critic.
        """
        self._check("domain", domain, self.judged)
        return self._criticize(variables, getattr(self, domain).scaled(x), domain)[0][0]

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`metrics` of the translations to each judged domain, and in games that translate both ways `reconstruction`,
        the mean absolute error of examples translated there and back; integers as fractions.
        """
        metrics = {}
        for to, origin in OTHER.items():
            x, start, end = batch[origin]["x"], getattr(self, origin), getattr(self, to)
            if to in self.judged:
                real, fake = end.fraction(batch[to]["x"]), end.fraction(self.translate(variables, x, to))
                metrics |= {f"{name}_{to}": value for name, value in self.metrics(real, fake).items()}
            if len(self.generators) == 2:
                error = start.fraction(self.reconstruct(variables, x, origin)) - start.fraction(x)
                metrics[f"reconstruction_{origin}"] = jnp.abs(error).mean()
        return metrics

    def _check(self, name: str, value: str, possible: tuple[str, ...]) -> None:
        if value not in possible:
            raise ValueError(f"`{name}` must be one of {possible} in this game, got {value!r}")

    def _scaled(self, batch: Batch, name: str) -> Array:
        return getattr(self, name).scaled(batch[name]["x"])

    def _generator(self, to: str) -> nn.Module:
        domain = getattr(self, to)
        return Generator(getattr(self, f"to_{to}"), Unconditional(), domain.event_shape, domain.bounded)

    def _critic(self, on: str) -> nn.Module:
        return FeatureCritic(getattr(self, f"critic_{on}"), self.critic_head)

    def _translate(
        self, variables: Variables, x: Array, to: str, key: Key | None = None, train: bool = True
    ) -> tuple[Array, Mapping]:
        """The translation, scaled, and by player the statistics that a training pass updates."""
        y, statistics = forward(self._generator(to), variables[f"to_{to}"], (x, None), train=train, key=key)
        return y, {f"to_{to}": statistics} if statistics else {}

    def _criticize(self, variables: Variables, x: Array, on: str, key: Key | None = None) -> tuple[Any, Mapping]:
        """The score and the features, and by player the statistics that a pass with a key updates."""
        output, statistics = forward(self._critic(on), variables[f"critic_{on}"], x, key=key)
        return output, {f"critic_{on}": statistics} if statistics else {}


def _updated(variables: Variables, statistics: Mapping[str, Mapping[str, Any]]) -> Variables:
    """The variables with new statistics of some players."""
    return {**variables, **{player: {**variables[player], **new} for player, new in statistics.items()}}
