"""A segmenter, a classifier of pixels: pictures of domain b to the label maps of domain a, by cross-entropy.

It is pix2pix's opposite direction where the output is discrete, and it judges translations from label maps to pictures
(`jaxgen.metrics.segmentation_scores`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxgen.arguments import freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.auxiliary import class_loss
from jaxgen.metrics.segmentation import nearest_colours
from jaxgen.models.forward import forward
from jaxgen.models.translation.domain import Domain, check_domains
from jaxgen.models.translation.networks import Translator
from jaxgen.nets.augmentation import Jitter
from jaxgen.nets.u_net import UNet


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segmenter:
    """Player `segmenter`, trained by the play of its name on batches of pairs `{"a", "b"}`.

    Attributes:
        a, b: the domains of label maps and of pictures, of the same resolution.
        palette: the colours of the classes in a's data units, [K, C].
        network: any network from pictures to features; the model adds the logits of the classes. A judge should not
            normalise by a picture's own statistics (`InstanceNorm`), which hides a lack of contrast.
        jitter: applied in training to both parts of a pair, with their channels concatenated; None: none. It must not
            interpolate the colours of label maps.
    """

    a: Domain
    b: Domain
    palette: tuple[tuple[float, ...], ...]
    network: nn.Module = UNet(32)
    jitter: Callable[[Array, Key, Array], Array] | None = Jitter(scale=1.0)
    monitor: tuple[str, str] = ("cross_entropy", "min")

    def __post_init__(self):
        freeze_fields(self)
        shape = np.shape(self.palette)
        if len(shape) != 2 or shape[0] < 2 or shape[1:] != self.a.event_shape[-1:]:
            raise ValueError(
                f"`palette` must be at least two colours of {self.a.event_shape[-1]} channels, got shape {shape}"
            )
        if self.a.event_shape[:-1] != self.b.event_shape[:-1]:
            shapes = f"{self.a.event_shape} and {self.b.event_shape}"
            raise ValueError(f"`a` and `b` must have images of the same resolution, got {shapes}")

    @property
    def num_classes(self) -> int:
        return len(self.palette)

    @property
    def _network(self) -> nn.Module:
        return Translator(self.network, (*self.b.event_shape[:-1], self.num_classes), bounded=False)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of other shapes or types, or without the two domains.
        """
        check_domains(batch)
        self.labels(batch["a"]["x"])
        return {"segmenter": self._network.init(key, self.b.scaled(batch["b"]["x"]))}

    def plays(self) -> Mapping[str, Play]:
        return {"segmenter": Play(("segmenter",), self.loss, optax.adam(1e-3))}

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The mean cross-entropy of pixels in nats; the metric is the accuracy on the batch."""
        check_domains(batch)
        jitter_key, key = jax.random.split(key)
        labels, x = self.labels(batch["a"]["x"]), self.b.scaled(batch["b"]["x"])
        if self.jitter is not None:
            both = jnp.concatenate([labels[..., None].astype(x.dtype), x], -1)
            both = self.jitter(both, jitter_key, clock.phase_step)
            labels, x = both[..., 0].astype(labels.dtype), both[..., 1:]
        logits, statistics = forward(self._network, variables["segmenter"], x, key=key)
        metrics = {"pixel_accuracy": _accuracy(logits, labels)}
        return LossOutput(_cross_entropy(logits, labels), metrics, {"segmenter": statistics})

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`cross_entropy` in nats and `pixel_accuracy`; other `segmentation_scores` are no means over examples."""
        check_domains(batch)
        logits, labels = self.logits(variables, batch["b"]["x"]), self.labels(batch["a"]["x"])
        return {"cross_entropy": _cross_entropy(logits, labels), "pixel_accuracy": _accuracy(logits, labels)}

    def labels(self, x: Array) -> Array:
        """The classes of label maps in data units, [B, H, W]: those of the nearest colours."""
        self.a.scaled(x)
        return nearest_colours(x, np.asarray(self.palette, np.float32))

    def logits(self, variables: Variables, x: Array) -> Array:
        """The logits of the classes of pictures in data units, [B, H, W, K]."""
        return forward(self._network, variables["segmenter"], self.b.scaled(x))[0]

    def translate(self, variables: Variables, x: Array, to: str = "a") -> Array:
        """The label maps of pictures, both in data units: the colour of the most probable class of each pixel.

        Raises:
            ValueError: `to` is not `"a"`; x of another shape or type.
        """
        if to != "a":
            raise ValueError(f"`to` must be 'a': a segmenter translates one way, got {to!r}")
        palette = np.asarray(self.palette, np.uint8 if self.a.levels and self.a.levels <= 256 else None)
        return jnp.asarray(palette)[self.logits(variables, x).argmax(-1)]


def _cross_entropy(logits: Array, labels: Array) -> Array:
    return class_loss(logits.reshape(-1, logits.shape[-1]), labels.ravel())


def _accuracy(logits: Array, labels: Array) -> Array:
    return (logits.argmax(-1) == labels).mean()
