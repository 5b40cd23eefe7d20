"""The semi-supervised VAE M2 (Kingma et al. 2014, "Semi-supervised Learning with Deep Generative Models", section 3).

Data have a class y, uniform over K, and a normal latent z: p(x|y, z). The bounds for examples with a class, and for
the others by enumeration of all classes under a classifier q(y|x) with entropy H:

    log p(x, y) >= -L(x, y) = E_q(z|x,y)[log p(x|y, z)] - KL(q(z|x, y) || p(z)) + log p(y)                (equation 6)
    log p(x)    >= -U(x)    = sum_y q(y|x) (-L(x, y)) + H(q(y|x))                                         (equation 7)

The loss is equation 9 divided by the number of examples N = N_l + N_u, with the paper's alpha of 0.1 N as 0.1:

    N_l / N E_labelled L(x, y) + N_u / N E_unlabelled U(x) + alpha E_labelled [-log q(y|x)]
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.elbo import elbo
from jaxgen.losses.semi_supervised import marginal_bound
from jaxgen.models.forward import forward
from jaxgen.models.scaling import from_data
from jaxgen.models.vaes.vae import VAE
from jaxgen.nets.heads import EventHead, Headed


@dataclasses.dataclass(frozen=True)
class M2:
    """Players `encoder`, `decoder` and `classifier`, moved together by the play `elbo`.

    It is trained on two sources, {"labelled": {"x", "label"}, "unlabelled": {"x"}}, and evaluated on labelled examples.

    Attributes:
        vae: p(x|y, z) and q(z|x, y): a VAE whose context is the class, one-hot. Its objective is not used.
        classifier: any network from data to features; the model adds the logits.
        num_classes: K.
        labelled_fraction: N_l / N; None: the batch's.
        alpha: weight of the classification loss.
    """

    vae: VAE
    classifier: nn.Module
    _: dataclasses.KW_ONLY
    num_classes: int = 10
    labelled_fraction: float | None = None
    alpha: float = 0.1
    monitor: ClassVar = ("accuracy", "max")

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.vae.event_shape

    @property
    def levels(self) -> int | None:
        return self.vae.levels

    @property
    def _classifier(self) -> nn.Module:
        return Headed(self.classifier, EventHead((self.num_classes,)))

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type; a batch without the two sources.
        """
        if set(batch) != {"labelled", "unlabelled"}:
            raise ValueError(f"M2 expects a batch with entries 'labelled' and 'unlabelled', got {sorted(batch)}")
        vae_key, classifier_key = jax.random.split(key)
        x, label = batch["labelled"]["x"], batch["labelled"]["label"]
        return {
            **self.vae.init(vae_key, {"x": x, "context": self._one_hot(label)}),
            "classifier": self._classifier.init(classifier_key, self._seen(x)),
        }

    def plays(self) -> Mapping[str, Play]:
        return {"elbo": Play((*self.vae.players, "classifier"), self.loss, optax.adam(3e-4))}

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """In nats; the metrics are both bounds, and the classifier's cross-entropy and accuracy on the labelled."""
        x_key, *keys = jax.random.split(key, 3)
        label, labelled_size = batch["labelled"]["label"], jnp.shape(batch["labelled"]["x"])[0]
        x = self.vae.observed(jnp.concatenate([batch["labelled"]["x"], batch["unlabelled"]["x"]]), x_key)
        log_classes, classifier_statistics = self._log_classes(variables, x, keys[0])
        # one pass over the labelled examples with their class and the others with each class
        repeated, all_classes = self._enumerate(x[labelled_size:])
        inputs, classes = jnp.concatenate([x[:labelled_size], repeated]), jnp.concatenate([label, all_classes])
        bounds, statistics = self._bounds(variables, inputs, classes, keys[1], training=True)
        labelled = bounds[:labelled_size].mean()
        by_class = bounds[labelled_size:].reshape(-1, self.num_classes)
        unlabelled = marginal_bound(log_classes[labelled_size:], by_class).mean()
        log_correct = jnp.take_along_axis(log_classes[:labelled_size], label[:, None], -1).mean()
        fraction = labelled_size / x.shape[0] if self.labelled_fraction is None else self.labelled_fraction
        return LossOutput(
            -fraction * labelled - (1 - fraction) * unlabelled - self.alpha * log_correct,
            {
                "labelled_bound": labelled,
                "unlabelled_bound": unlabelled,
                "cross_entropy": -log_correct,
                "labelled_accuracy": (log_classes[:labelled_size].argmax(-1) == label).mean(),
            },
            {**statistics, "classifier": classifier_statistics},
        )

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """On a batch {"x", "label"}: `elbo`, the bound -U on log p(x) in nats, and the classifier's `accuracy`."""
        x_key, z_key = jax.random.split(key)
        x = self.vae.observed(batch["x"], x_key)
        bounds, _ = self._bounds(variables, *self._enumerate(x), z_key)
        marginal = marginal_bound(self._log_classes(variables, x)[0], bounds.reshape(-1, self.num_classes))
        predicted = self.classify(variables, batch["x"]).argmax(-1)
        return {"elbo": marginal.mean(), "accuracy": (predicted == batch["label"]).mean()}

    def classify(self, variables: Variables, x: Array) -> Array:
        """log q(y|x), [B, num_classes]."""
        return self._log_classes(variables, x)[0]

    def sample(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """x ~ p(x|y, z), in data units, z ~ p(z), y the context, one-hot [n, num_classes], or uniform."""
        label_key, key = jax.random.split(key)
        if context is None:
            context = self._one_hot(jax.random.randint(label_key, (n,), 0, self.num_classes))
        return self.vae.sample(variables, key, n, context)

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """The mean of q(z|x, y), [B, L], or with a key a sample; y the context, one-hot, or the likeliest class."""
        return self.vae.encode(variables, x, key, self._class_of(variables, x, context))

    def decode(self, variables: Variables, z: Array, context: Array) -> Array:
        """E[x|y, z] in data units, y the context, one-hot [B, num_classes]."""
        return self.vae.decode(variables, z, context)

    def reconstruct(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """E[x|y, z] at z = `encode(x, key)`; y the context, one-hot, or the likeliest class."""
        return self.vae.reconstruct(variables, x, key, self._class_of(variables, x, context))

    def _one_hot(self, label: Array) -> Array:
        return jax.nn.one_hot(label, self.num_classes)

    def _seen(self, x: Array) -> Array:
        return from_data(x, self.event_shape, self.levels)

    def _class_of(self, variables: Variables, x: Array, context: Array | None) -> Array:
        return self._one_hot(self.classify(variables, x).argmax(-1)) if context is None else context

    def _log_classes(
        self, variables: Variables, x: Array, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        """log q(y|x) [B, K], and updated statistics."""
        logits, statistics = forward(self._classifier, variables["classifier"], self._seen(x), key=key)
        return jax.nn.log_softmax(logits[..., 0]), statistics

    def _enumerate(self, x: Array) -> tuple[Array, Array]:
        """Each example K times, [B K, ...], and all classes, [B K]."""
        return jnp.repeat(x, self.num_classes, 0), jnp.tile(jnp.arange(self.num_classes), x.shape[0])

    def _bounds(
        self, variables: Variables, x: Array, label: Array, key: Key, training: bool = False
    ) -> tuple[Array, Mapping[str, Mapping[str, Any]]]:
        """-L(x, y) [B], and updated statistics."""
        batch = {"x": x, "context": self._one_hot(label)}
        terms, statistics = self.vae.terms(variables, batch, key, training=training)
        return elbo(terms.reconstruction, terms.kl) - math.log(self.num_classes), statistics
