"""Autoencoders of images with a codebook and a perceptual loss, and a transformer that generates their codes.

A VQ-VAE (`jaxgen.models.vaes.vq_vae`) with distances in place of a likelihood. With images x in [-1, 1], their
reconstructions x', means |.| over pixels, and codes e of the encoder's vectors z_e:

    L_rec = |x - x'| + perceptual(x, x')    L_VQ = |sg[z_e] - e|^2 + beta |z_e - sg[e]|^2
    autoencoder:  L_rec + L_VQ              prior:  -log p(codes|context)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import check_number, freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Phase, Play, Variables
from jaxgen.losses.adaptive_weight import with_gradient
from jaxgen.losses.perceptual import unit_feature_distance
from jaxgen.models.codebook import PLAYER, Codebook, Quantized
from jaxgen.models.forward import forward
from jaxgen.models.hybrids.code_prior import CodePrior, bits_per_code
from jaxgen.models.scaling import from_data, to_data
from jaxgen.nets.heads import EventHead, Headed, HeadedWithInput
from jaxgen.nets.vgg import VGG
from jaxgen.nets.vqgan import VQGANDecoder, VQGANEncoder

PixelLoss = Literal["absolute", "squared"]


@dataclasses.dataclass(frozen=True)
class QuantizedAutoencoder:
    """Players `encoder`, `codebook`, `decoder`, and if there are any `features` and `prior`.

    The play `autoencoder` moves the first three in a first phase, the play `prior` the prior in a second. No play moves
    `features`: bring trained variables with `fit(start={"features": variables})`.

    Attributes:
        event_shape: shape of the data, without the batch.
        encoder: any network from images to features [B, h, w, C]; the model adds a 1x1 convolution to the codes' size.
        decoder: any network from [B, h, w, code_dim] to features; the model adds the last layer.
        codebook: the codes, and how they learn.
        levels: the data are integers 0..levels-1, scaled to [-1, 1]; None: floats, in [-1, 1] for `features`.
        features: any network from RGB images in [0, 1] to `{layer: [B, H, W, C]}`; None: no perceptual term.
        layers: of `features`, that the perceptual term compares (`unit_feature_distance`).
        pixel_loss: of x - x', the mean over pixels.
        perceptual_weight, codebook_weight: of the perceptual term, and of L_VQ as a mean over positions and dimensions.
        prior: p(codes|context), with the context of a batch; None: codes are uniform.
        prior_fraction: the fraction of a run's steps that train the prior.

    Raises:
        ValueError: a number out of range; a prior with another number of codes.
    """

    event_shape: tuple[int, ...]
    _: dataclasses.KW_ONLY
    encoder: nn.Module = VQGANEncoder()
    decoder: nn.Module = VQGANDecoder()
    codebook: Codebook = Codebook(num_codes=1024, code_dim=256)
    levels: int | None = 256
    features: nn.Module | None = VGG()
    layers: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_3", "relu4_1")
    pixel_loss: PixelLoss = "absolute"
    perceptual_weight: float = 1.0
    codebook_weight: float = 1.0
    prior: CodePrior | None = None
    prior_fraction: float = 0.5

    def __post_init__(self):
        freeze_fields(self)
        check_number("perceptual_weight", self.perceptual_weight, 0)
        check_number("codebook_weight", self.codebook_weight, 0)
        if not 0 <= self.prior_fraction < 1:
            raise ValueError(f"`prior_fraction` must be at least 0 and below 1, got {self.prior_fraction}")
        if self.pixel_loss not in get_args(PixelLoss):
            raise ValueError(f"`pixel_loss` must be one of {get_args(PixelLoss)}, got {self.pixel_loss!r}")
        if self.prior is not None and self.prior.network.num_tokens != self.codebook.num_codes:
            expected = f"num_tokens={self.codebook.num_codes}, as the codebook"
            raise ValueError(f"`prior` must have {expected}, got {self.prior.network.num_tokens}")

    @property
    def monitor(self) -> tuple[str, str]:
        return ("reconstruction" if self.prior is None else "bits_per_code"), "min"

    @property
    def _encoder(self) -> nn.Module:
        return Headed(self.encoder, nn.Dense(self.codebook.code_dim))

    @property
    def _decoder(self) -> nn.Module:
        return HeadedWithInput(self.decoder, EventHead(self.event_shape))

    def init(self, key: Key, batch: Batch) -> Variables:
        """The codes start at k-means centres of the encoder's vectors of the batch.

        Raises:
            ValueError: data of another shape or type; an encoder whose features are not a grid; a missing layer.
        """
        encoder_key, codebook_key, decoder_key, features_key, prior_key = jax.random.split(key, 5)
        seen = self.scaled(batch["x"])
        z_e, encoder = self._encoder.init_with_output(encoder_key, seen)
        if z_e.ndim != 4:
            raise ValueError(f"`encoder` must return a grid [B, h, w, C], got shape {(*z_e.shape[:-1], 'C')}")
        codebook = self.codebook.init(codebook_key, z_e)
        quantized = self.codebook.quantize(codebook, z_e)
        variables = {"encoder": encoder, PLAYER: codebook, "decoder": self._decoder.init(decoder_key, quantized.codes)}
        if self.features is not None:
            of_x, variables["features"] = self.features.init_with_output(features_key, as_rgb(seen[:1]))
            if missing := set(self.layers) - set(of_x):
                raise ValueError(f"`features` must have the layers {sorted(missing)}, got {sorted(of_x)}")
        if self.prior is not None:
            variables["prior"] = self.prior.init(prior_key, quantized.indices, batch.get("context"))
        return variables

    def plays(self) -> Mapping[str, Play]:
        adam = optax.adam(4.5e-6 * 12, b1=0.5, b2=0.9)  # the authors' rate per example, for their batch of 12
        plays = {"autoencoder": Play(("encoder", *self.codebook.players, "decoder"), self.loss, adam)}
        if self.prior is not None:
            plays["prior"] = Play(("prior",), self.prior_loss, self.prior.optimizer(), accumulates=True)
        return plays

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """The autoencoder's phase, then the prior's, each with the best variables by its own loss."""
        plays = dict(self.plays())
        prior = plays.pop("prior", None)
        prior_steps = 0 if prior is None else int(self.prior_fraction * steps)
        phases = (Phase(plays, steps - prior_steps, monitor=("reconstruction", "min")),)
        if prior_steps:
            phases += (Phase({"prior": prior}, prior_steps, monitor=("bits_per_code", "min")),)
        return phases

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: `reconstruction`, which is L_rec, its parts `pixel` and `perceptual`, those of `further_terms` and
        of the codebook (`Codebook.loss`).
        """
        model_key, further_key, codebook_key = jax.random.split(key, 3)
        seen = self.scaled(batch["x"])
        quantized, h, x, statistics = self.autoencode(variables, seen, model_key)
        fixed = lax.stop_gradient(x)
        of_x = jax.value_and_grad(lambda x: self.reconstruction(variables, seen, x), has_aux=True)
        (value, parts), gradient = of_x(fixed)
        # the gradient in x is computed once, for further terms and for the one backward pass to decoder and encoder
        further = self.further_terms(variables, fixed, lax.stop_gradient(h), gradient, further_key, clock)
        quantization = self.codebook.loss(variables[PLAYER], quantized, codebook_key)
        mean = self.codebook_weight / math.prod(quantized.z_e.shape[1:])
        return LossOutput(
            with_gradient(value + further[0], x, gradient + further[1]) + mean * quantization.value,
            {"reconstruction": value, **parts, **further[2], **quantization.metrics},
            {**statistics, **quantization.statistics},
        )

    def further_terms(
        self, variables: Variables, x: Array, h: Array, gradient: Array, key: Key, clock: Clock
    ) -> tuple[Array | float, Array | float, dict[str, Array]]:
        """What else the autoencoder minimises, a function of reconstructions x: value, gradient in x, metrics.

        Args:
            h: the input of the decoder's last layer.
            gradient: that of L_rec in x.
        """
        return 0.0, 0.0, {}

    def prior_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """-log p(codes|context) in nats, summed over the grid; the metric is in bits per code."""
        return self.prior.loss(variables["prior"], self.encode(variables, batch["x"]), batch.get("context"), key)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """L_rec and its parts as `reconstruction`, `pixel` and `perceptual`; `squared_error`, the mean over coordinates
        of integers on [0, 1]; `bits_per_code`, -log2 p(codes|context) per code.
        """
        seen = self.scaled(batch["x"])
        quantized, _, x, _ = self.autoencode(variables, seen)
        value, parts = self.reconstruction(variables, seen, x)
        scale = 1.0 if self.levels is None else 0.5
        metrics = {"reconstruction": value, **parts, "squared_error": ((scale * (x - seen)) ** 2).mean()}
        if self.prior is not None:
            log_prob = self.prior.log_prob(variables["prior"], quantized.indices, batch.get("context"))
            metrics["bits_per_code"] = bits_per_code(log_prob, quantized.indices)
        return metrics

    def sample(
        self, variables: Variables, key: Key, n: int, context: Array | None = None, temperature: float | Array = 1.0,
        top_k: int | None = None,
    ) -> Array:  # fmt: skip
        """Decoded codes ~ p(codes|context), in data units; `temperature` and `top_k` as in `sample_tokens`."""
        return self.decode(variables, self.sample_prior(variables, key, n, context, temperature, top_k))

    def sample_prior(
        self, variables: Variables, key: Key, n: int, context: Array | None = None, temperature: float | Array = 1.0,
        top_k: int | None = None,
    ) -> Array:  # fmt: skip
        """Indices of codes ~ p(codes|context): int32 [n, h, w]."""
        x = jax.ShapeDtypeStruct((n, *self.event_shape), jnp.float32 if self.levels is None else jnp.uint8)
        shape = jax.eval_shape(lambda x: self.encode(variables, x), x).shape
        if self.prior is None:
            return jax.random.randint(key, shape, 0, self.codebook.num_codes)
        return self.prior.sample(variables["prior"], key, shape, context, temperature, top_k)

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """The indices of the codes, int32 [B, h, w]. Deterministic; key and context are ignored."""
        z_e, _ = forward(self._encoder, variables["encoder"], self.scaled(x))
        return self.codebook.quantize(variables[PLAYER], z_e).indices

    def decode(self, variables: Variables, codes: Array, context: Array | None = None) -> Array:
        """Images in data units of indices of codes [B, h, w]; the context is ignored."""
        (_, x), _ = forward(self._decoder, variables["decoder"], self.codebook.codes(variables[PLAYER])[codes])
        return to_data(x[..., 0], self.levels, -1.0, 1.0)

    def reconstruct(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """The decoded codes of x. Deterministic; key and context are ignored."""
        return self.decode(variables, self.encode(variables, x))

    def scaled(self, x: Array) -> Array:
        """Images in data units on [-1, 1]."""
        return from_data(x, self.event_shape, self.levels, -1.0, 1.0)

    def autoencode(
        self, variables: Variables, seen: Array, key: Key | None = None
    ) -> tuple[Quantized, Array, Array, dict[str, Any]]:
        """The codes of images in [-1, 1], the last layer's inputs, reconstructions, and updated statistics."""
        encoder_key, decoder_key = (None, None) if key is None else jax.random.split(key)
        z_e, of_encoder = forward(self._encoder, variables["encoder"], seen, key=encoder_key)
        quantized = self.codebook.quantize(variables[PLAYER], z_e)
        e = quantized.straight_through
        (h, x), of_decoder = forward(self._decoder, variables["decoder"], e, key=decoder_key)
        return quantized, h, x[..., 0], {"encoder": of_encoder, "decoder": of_decoder}

    def reconstruction(self, variables: Variables, seen: Array, x: Array) -> tuple[Array, dict[str, Array]]:
        """L_rec of images and their reconstructions x, both in [-1, 1], and its parts without their weights."""
        difference = seen - x
        pixel = jnp.abs(difference).mean() if self.pixel_loss == "absolute" else (difference**2).mean()
        if self.features is None:
            return pixel, {"pixel": pixel}
        of_both = [forward(self.features, variables["features"], as_rgb(each))[0] for each in (seen, x)]
        perceptual = unit_feature_distance(*of_both, dict.fromkeys(self.layers, 1.0))
        return pixel + self.perceptual_weight * perceptual, {"pixel": pixel, "perceptual": perceptual}


def as_rgb(x: Array) -> Array:
    """Images in [-1, 1] as RGB in [0, 1]."""
    return (jnp.broadcast_to(x, (*x.shape[:-1], 3)) + 1) / 2
