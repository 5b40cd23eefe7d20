"""The semi-supervised GAN (Salimans et al. 2016, "Improved Techniques for Training GANs", section 5).

The critic is a classifier of K classes, and one more, samples, whose logit is held at zero. With Z = log sum_k exp(l_k)

    critic:     E_labelled [Z - l_y]  +  1/2 E_unlabelled [softplus(Z) - Z]  +  1/2 E softplus(Z(G(z)))
    generator:  |E f(x) - E f(G(z))|^2

the generator matches the mean features f of the critic on unlabelled data (section 3.1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
from flax import linen as nn
from jax import lax

from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.auxiliary import feature_matching
from jaxgen.losses.semi_supervised import k_plus_one_labelled, k_plus_one_unlabelled
from jaxgen.models.gans.gan import GAN
from jaxgen.models.gans.optimizers import Adam, Optimizer
from jaxgen.models.gans.players import Judgement, Pair
from jaxgen.models.players import forward
from jaxgen.nets.heads import VectorHead


class ClassifyingCritic(nn.Module):
    """An event to K logits [B, K] and the features that they are linear functions of."""

    network: nn.Module
    classes: int

    @nn.compact
    def __call__(self, pair: Pair) -> tuple[jax.Array, jax.Array]:
        features = self.network(pair[0])
        return VectorHead(self.classes, name="head")(features), features


@dataclasses.dataclass(frozen=True)
class SemiSupervisedGAN(GAN):
    """A `GAN` of batches `{"labelled": {"x", "label"}, "unlabelled": {"x"}}`, whose critic classifies.

    Its score of a row is Z, the logit of data against samples. Its losses are its own: `criterion`, `critic_head` and the
    conditions are not used.

    Attributes:
        classes: K.
        unlabelled_weight: of the second and third term of the critic's loss together.
    """

    classes: int = 10
    unlabelled_weight: float = 1.0
    critic_optimizer: Optimizer = Adam(3e-3)
    generator_optimizer: Optimizer = Adam(3e-3)
    monitor: tuple[str, str] = ("accuracy", "max")

    def __post_init__(self):
        super().__post_init__()
        if self.packing != 1 or self.penalties or self.proximal is not None:
            raise ValueError("the semi-supervised GAN packs no rows and takes no penalties and no proximal term")

    @property
    def _critic(self) -> nn.Module:
        return ClassifyingCritic(self.critic, self.classes)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: a batch without the two sources.
        """
        if "labelled" not in batch or "unlabelled" not in batch:
            raise ValueError("the semi-supervised GAN is of two sources, labelled and unlabelled")
        return super().init(key, {"x": batch["unlabelled"]["x"]})

    def plays(self) -> Mapping[str, Play]:
        plays = super().plays()
        return {**plays, "generator": plays["generator"]._replace(accumulates=False)}

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: its parts, and `labelled_accuracy`, on the labelled rows."""
        z_key, generator_key, real_key, fake_key, *keys = jax.random.split(key, 7)
        labelled, real = batch["labelled"], self._scaled(batch["unlabelled"]["x"])
        fake, _ = self._generate(variables, self.noise(z_key, real.shape[0]), None, generator_key)
        (logits, _), state = self._classified(variables["critic"], self._scaled(labelled["x"]), keys[0])
        (on_real, _), state = self._classified(
            {**variables["critic"], **state}, self._seen(real, real_key, clock), keys[1]
        )
        (on_fake, _), state = self._classified(
            {**variables["critic"], **state}, self._seen(lax.stop_gradient(fake), fake_key, clock), keys[2]
        )
        supervised = k_plus_one_labelled(logits, labelled["label"])
        unsupervised = k_plus_one_unlabelled(on_real, on_fake)
        accuracy = (logits.argmax(-1) == labelled["label"]).mean()
        figures = {"supervised": supervised, "unsupervised": unsupervised, "labelled_accuracy": accuracy}
        return LossOutput(supervised + self.unlabelled_weight * unsupervised, figures, {"critic": state})

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        z_key, generator_key, real_key, fake_key, *keys = jax.random.split(key, 6)
        real = self._scaled(batch["unlabelled"]["x"])
        fake, state = self._generate(variables, self.noise(z_key, real.shape[0]), None, generator_key)
        (_, of_real), _ = self._classified(variables["critic"], self._seen(real, real_key, clock), keys[0])
        (_, of_fake), _ = self._classified(variables["critic"], self._seen(fake, fake_key, clock), keys[1])
        return LossOutput(feature_matching(of_real, of_fake), statistics={"generator": state})

    def classify(self, variables: Variables, x: Array) -> Array:
        """log p(c|x, x is data) of rows in data units, [B, classes]."""
        return jax.nn.log_softmax(self._classified(variables["critic"], self._scaled(x))[0][0])

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Also the `accuracy` of `classify`."""
        accuracy = (self.classify(variables, batch["x"]).argmax(-1) == batch["label"]).mean()
        return {"accuracy": accuracy, **super().evaluate(variables, {"x": batch["x"]}, key)}

    def _classified(self, critic: Mapping, x: Array, key: Key | None = None) -> tuple[tuple[Array, Array], Mapping]:
        return forward(self._critic, critic, (x, None), key=key)

    def _judge(
        self, critic: Mapping, x: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Judgement, Mapping]:
        (logits, features), state = self._classified(critic, x, key)
        return Judgement(jax.nn.logsumexp(logits, -1), features), state
