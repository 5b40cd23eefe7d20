"""UNIT (Liu et al. 2017, "Unsupervised Image-to-Image Translation Networks").

Each domain d has a VAE with the posterior q_d(z|x) = N(m_d(x), I), a decoder G_d with a Laplace likelihood of unit
scale (up to a constant the L1 distance), and a critic. The domains share their latent space: the last layers of the
encoders and the first layers of the decoders are the same. A translation from a to b is G_b(z), z from q_a(z|x_a). With
KL the divergence from N(0, I), each domain adds to the VAEs' loss, here a,

    l0 GAN(G_a(z_b))  +  l1 KL(q_a(z|x_a))  +  l2 |x_a - G_a(z_a)|
    +  l3 [KL(q_a(z|x_a)) + KL(q_b(z|x_ab))]  +  l4 |x_a - G_a(z_ab)|,

with the translation x_ab = G_b(z_a) and its code z_ab from q_b(z|x_ab). The critics minimise l0 times their own loss.
Divergences and distances are means over coordinates, as in both of the authors' programs.
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

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.elbo import kl_per_dimension
from jaxgen.metrics.distances import sample_distances
from jaxgen.models.forward import forward
from jaxgen.models.gans.adversarial_losses import AdversarialLoss, NonSaturating
from jaxgen.models.translation.domain import OTHER, Domain, check_domains, other
from jaxgen.models.translation.networks import Translator
from jaxgen.models.translation.unit_passes import AUTOENCODER, Passes


@dataclasses.dataclass(frozen=True)
class UNITWeights:
    """Weights of the terms of the VAEs' loss. The defaults are the paper's, table 1.

    Attributes:
        adversarial: l0.
        kl: of the divergence of an example's code, l1 + l3 in nats per coordinate: the paper counts it twice.
        reconstruction: l2.
        cycle_kl: of the divergence of a translation's code, l3.
        cycle: l4.
    """

    adversarial: float = 10.0
    kl: float = 0.2
    reconstruction: float = 100.0
    cycle_kl: float = 0.1
    cycle: float = 100.0

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            check_number(name, value, 0)


RELEASED_WEIGHTS = UNITWeights(adversarial=2.0, kl=0.02, reconstruction=10.0, cycle_kl=0.02, cycle=10.0)
"""Those of the authors' later program, for `LeastSquares`.

It has E (D - 1)^2, of which `LeastSquares` has half, and 0.01 mean(m^2), where the divergence is 1/2 mean(m^2).
"""


@dataclasses.dataclass(frozen=True)
class UNIT:
    """Players `encoder_a`, `decoder_a`, `critic_a`, the same of b, `latent_encoder` and `latent_decoder`.

    The play `critics` moves the critics, the play `autoencoders` all others. Networks have no batch statistics.

    Attributes:
        encoder: any network from images to features, one for each domain.
        latent_encoder: any network from features to the mean of the code, [B, ...].
        latent_decoder: any network from codes to features.
        decoder: any network from features to features of an image, one for each domain; the model adds the last layer,
            and a tanh for integer data.
        critic: any network from images to scores of any shape, or to a tuple of them, one for each domain.
        a, b: the domains.
        shared: whether the domains share the latent networks. If not, as in the authors' later program,
            `latent_encoder_a` and `latent_encoder_b` are two players, and so are the latent decoders.
        weights: of the terms.
        adversarial_loss: the critics' and the decoders' loss of scores; summed over scales.
    """

    encoder: nn.Module
    latent_encoder: nn.Module
    latent_decoder: nn.Module
    decoder: nn.Module
    critic: nn.Module
    a: Domain
    b: Domain
    _: dataclasses.KW_ONLY
    shared: bool = True
    weights: UNITWeights = UNITWeights()
    adversarial_loss: AdversarialLoss = NonSaturating()
    monitor: tuple[str, str] = ("sliced_wasserstein", "min")
    critics: ClassVar[tuple[str, ...]] = ("critic",)

    def _domain(self, name: str) -> Domain:
        """Raises:
        ValueError: neither "a" nor "b".
        """
        return getattr(self, other(other(name)))

    def network(self, role: str, domain: str) -> tuple[nn.Module, str]:
        """The network with this role in a domain, and its player."""
        network = getattr(self, role)
        if role == "decoder":
            to = self._domain(domain)
            network = Translator(network, to.event_shape, to.bounded)
        return network, role if self.shared and role.startswith("latent") else f"{role}_{domain}"

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: a batch without the two domains; data of another shape or type; networks with batch statistics.
        """
        check_domains(batch)
        variables: dict[str, Any] = {}
        for i, domain in enumerate(OTHER):
            x = h = self._domain(domain).scaled(batch[domain]["x"])
            for j, role in enumerate((*AUTOENCODER, *self.critics)):
                h = x if role == "critic" else h
                network, player = self.network(role, domain)
                if player not in variables:
                    variables[player] = network.init(jax.random.fold_in(key, 10 * i + j), h)
                if "batch_stats" in variables[player]:
                    raise ValueError(f"`{role}` must not have batch statistics; use instance or layer normalisation")
                h = forward(network, variables[player], h)[0]
        return variables

    def plays(self) -> Mapping[str, Play]:
        means, adam = self.adversarial_loss.accumulates, optax.adam(1e-4, b1=0.5)
        critics, autoencoders = self._players(self.critics), self._players(AUTOENCODER)
        return {
            "critics": Play(critics, self.critic_loss, adam, accumulates="critic" in means),
            "autoencoders": Play(autoencoders, self.autoencoder_loss, adam, accumulates="generator" in means),
        }

    def _players(self, roles: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.network(role, domain)[1] for domain in OTHER for role in roles))

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the mean scores `real` and `fake`, over domains and scales."""
        passes = Passes(self, variables, key)
        x = self._scaled(batch)
        z = {d: passes.sample(passes.code(x[d], d)) for d in OTHER}
        fake = {d: lax.stop_gradient(passes.decode(z[OTHER[d]], d)) for d in OTHER}
        pairs = [pair for d in OTHER for pair in zip(passes.scores(x[d], d), passes.scores(fake[d], d), strict=True)]
        value = sum(self.adversarial_loss.critic(*pair) for pair in pairs)
        metrics = {name: sum(pair[i].mean() for pair in pairs) / len(pairs) for i, name in enumerate(("real", "fake"))}
        return LossOutput(self.weights.adversarial * value, metrics, passes.updates(self._players(self.critics)))

    def autoencoder_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the terms without their weights, means over the two domains."""
        passes, weights = Passes(self, variables, key), self.weights
        x = self._scaled(batch)
        codes = {d: passes.code(x[d], d) for d in OTHER}
        z = {d: passes.sample(codes[d]) for d in OTHER}
        translations = {d: passes.decode(z[d], OTHER[d]) for d in OTHER}
        terms = {
            "adversarial": [
                sum(map(self.adversarial_loss.generator, passes.scores(y, OTHER[d]))) for d, y in translations.items()
            ],
            "kl": [unit_kl(codes[d]) for d in OTHER],
            "reconstruction": [_distance(x[d], passes.decode(z[d], d)) for d in OTHER],
        }
        if weights.cycle_kl or weights.cycle:
            second = {d: passes.code(translations[d], OTHER[d]) for d in OTHER}
            terms["cycle_kl"] = [unit_kl(second[d]) for d in OTHER]
            terms["cycle"] = [_distance(x[d], passes.decode(passes.sample(second[d]), d)) for d in OTHER]
        value = sum(getattr(weights, name) * sum(both) for name, both in terms.items())
        metrics = {name: sum(both) / 2 for name, both in terms.items()}
        return LossOutput(value, metrics, passes.updates(self._players(AUTOENCODER)))

    def encode(self, variables: Variables, x: Array, domain: str = "a", key: Key | None = None) -> Array:
        """The mean of the code of examples in data units, or with a key a sample of the code, [B, ...]."""
        passes = Passes(self, variables)
        mean = passes.code(self._domain(domain).scaled(x), domain)
        return mean if key is None else mean + jax.random.normal(key, mean.shape, mean.dtype)

    def decode(self, variables: Variables, z: Array, domain: str = "a") -> Array:
        """Examples of a domain in data units from codes [B, ...]."""
        return self._domain(domain).data(Passes(self, variables).decode(z, domain))

    def translate(
        self, variables: Variables, x: Array, to: str = "b", key: Key | None = None, samples: int | None = None
    ) -> Array:
        """Translations of examples in data units to a domain, in its data units: from the mean code, [B, ...].

        Args:
            key: translate samples of the code instead.
            samples: with a key, the number of translations of each example: [samples, B, ...].

        Raises:
            ValueError: `samples` without a key.
        """
        self._domain(to)
        if samples is None:
            return self.decode(variables, self.encode(variables, x, OTHER[to], key), to)
        check_counts(samples=samples)
        if key is None:
            raise ValueError("`key` must be given for several samples: the translation of the mean code is unique")
        mean = self.encode(variables, x, OTHER[to])
        z = mean + jax.random.normal(key, (samples, *mean.shape), mean.dtype)
        y = self.decode(variables, z.reshape(-1, *mean.shape[1:]), to)
        return y.reshape(samples, -1, *y.shape[1:])

    def reconstruct(self, variables: Variables, x: Array, domain: str = "a", key: Key | None = None) -> Array:
        """Examples of a domain, encoded and decoded in it, in data units."""
        return self.decode(variables, self.encode(variables, x, domain, key), domain)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Means over both domains, with integer data scaled to [0, 1] and mean codes.

        `reconstruction` and `cycle` are L1 distances, `kl` the divergence of the codes in nats per coordinate,
        `sliced_wasserstein` the distance between translations and examples of their domain.
        """
        metrics: dict[str, list[Array]] = {}
        for d, other in OTHER.items():
            domain, target, x = self._domain(d), self._domain(other), batch[d]["x"]
            y = self.translate(variables, x, other)
            values = {
                "reconstruction": _distance(domain.fraction(x), domain.fraction(self.reconstruct(variables, x, d))),
                "cycle": _distance(domain.fraction(x), domain.fraction(self.translate(variables, y, d))),
                "kl": unit_kl(self.encode(variables, x, d)),
                **sample_distances(target.fraction(batch[other]["x"]), target.fraction(y)),
            }
            for name, value in values.items():
                metrics.setdefault(name, []).append(value)
        return {name: sum(values) / 2 for name, values in metrics.items()}

    def scores(self, passes: Passes, x: Array, domain: str) -> tuple[Array, ...]:
        scores = passes.apply("critic", domain, x)
        return scores if isinstance(scores, tuple) else (scores,)

    def _scaled(self, batch: Batch) -> dict[str, Array]:
        return {d: self._domain(d).scaled(batch[d]["x"]) for d in OTHER}


def unit_kl(mean: Array) -> Array:
    """KL(N(mean, I) || N(0, I)) = 1/2 mean^2 in nats, its mean over coordinates and examples, a scalar."""
    return kl_per_dimension(mean, jnp.zeros_like(mean)).mean()


def _distance(x: Array, y: Array) -> Array:
    """The mean L1 distance, up to a constant the negative log-likelihood per coordinate of a unit Laplace density."""
    return jnp.abs(x - y).mean()
