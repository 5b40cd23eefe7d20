"""The VQGAN (Esser et al. 2021, "Taming Transformers for High-Resolution Image Synthesis", arXiv:2012.09841).

The paper's models of 256x256 pixels have an rFID of 7.94 (1,024 codes) and 4.98 (16,384 codes) on ImageNet's validation
split, and class-conditional samples an FID of 15.98, 5.20 with rejection. Frechet distances here are in the features of
a small classifier (`--extractor FOLDER`, a run of `experiments.gans.feature_extractor`), and compare with each other.

Result on 20,000 images of CIFAR-10, 8x8 codes of 256, seed 0, 600 steps of the autoencoder and 800 of the prior, 13
minutes of a shared core: `--data cifar10.npz --conditional --preset small --trunk vgg.npz --adversarial-start 233`.
Beside the same without the critic, and the VQ-VAE: squared error 0.0100 (0.0072, 0.0068), Frechet distance of
reconstructions 2.77 (3.05, 5.23), of samples 15.0 (15.6, 17.7). All codes are in use; 7.08 bits per code of the test
split, 7.86 by the codes' frequencies, 8 if uniform; images of independently drawn codes have a Frechet distance of
36.0. The classifier recognises the class of 16 % of the samples, 58 % of the data. `experiments.studies.vqgan` makes
the table; the trunk measured is HED's VGG-16, fine-tuned for edges.

`--system` names the autoencoder: `vqgan`; `perceptual`, without the critic; `vq_vae`, with the squared error alone. The
perceptual term takes the features of a trunk, `--trunk FILE` (`jaxgen.nets.load_vgg`), without one those of a small
random network. The prior is class-conditional with `--conditional`:
`jaxgen.load(run).sample(key, 10, jax.nn.one_hot(labels, 10), temperature=0.9, top_k=100)`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.config import Config, Experiment
from experiments.run import main
from jaxgen import plotting
from jaxgen.data import Splits
from jaxgen.losses import perplexity
from jaxgen.metrics import frechet_distance
from jaxgen.models.codebook import Codebook
from jaxgen.models.hybrids import TAMING, VQGAN, CodePrior, QuantizedAutoencoder
from jaxgen.nets import VGG, PatchCritic, TokenTransformer, VQGANDecoder, VQGANEncoder, load_vgg, normalize_activations
from jaxgen.nets.decoders import halvings
from jaxgen.training import TrainedModel
from jaxgen.training.chunks import in_chunks
from jaxgen.training.extractor import load_extractor
from jaxgen.training.latents import codes
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative, Probability

COLUMNS = 10
"""Images in a row of a plot."""
PART = 500
"""Images that are decoded at a time."""
VARIANTS = {"paper": {}, "taming": TAMING}


@dataclass(frozen=True, kw_only=True)
class VQGANConfig(Config):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {
            "steps": 1400, "batch_size": 16, "width": 24, "factors": (1, 2, 2), "blocks": 1, "attention": (),
            "features": 48, "codes": 256, "dimension": 32, "codebook": "averages", "learning_rate": 1e-3,
            "layer": "relu2_2", "critic_width": 32, "receptive_field": 16, "adversarial_start": 250,
            "adversarial_weight": 0.5, "prior_fraction": 0.571, "prior_width": 96, "prior_layers": 3, "prior_heads": 4,
            "prior_learning_rate": 2e-3, "eval_every": 700, "checkpoint_every": 700,
        },
    }  # fmt: skip

    preset: Literal["paper", "small"] = "paper"
    """Defaults: the paper's for 256x256 pixels, or those for images of 32 to 64 pixels on a CPU."""
    system: Literal["vqgan", "perceptual", "vq_vae"] = "vqgan"
    """The VQGAN, the same without a critic, or with the squared error alone."""
    variant: Literal["paper", "taming"] = "paper"
    """The paper's losses, or those of the authors' code: hinge losses, and a critic that begins late."""
    steps: Count = 500_000
    """Batches to train on: first the autoencoder, then the prior."""
    batch_size: Count = 12
    ema: Fraction = 0.0
    """Decay of the moving averages; 0, because the prior learns codes of the current variables."""
    eval_every: Count = 5_000
    eval_batch: Count = 250
    checkpoint_every: Count = 5_000
    log_every: Count = 50
    width: Count = 128
    """Channels at the highest resolution."""
    factors: tuple[Count, ...] = (1, 1, 2, 2, 4)
    """Channels of each level, in multiples of `width`; each level halves the resolution."""
    blocks: Count = 2
    """Residual blocks of each level of the encoder; the decoder has one more."""
    attention: tuple[Count, ...] = (16,)
    """Resolutions with attention."""
    features: Count = 256
    """Channels between the networks and the codes."""
    codes: Count = 1024
    """Number of codes."""
    dimension: Count = 256
    """Dimension of a code."""
    codebook: Literal["gradient", "averages"] = "gradient"
    """Codebook learning: the codebook loss, or moving averages with restarts."""
    commitment: NonNegative = 0.25
    """Weight of the commitment loss."""
    learning_rate: NonNegative = 5.4e-5
    """Of the Adam of autoencoder and critic; the paper's is 4.5e-6 per example of a batch."""
    trunk: Path | None = None
    """A .npz file of a VGG for the perceptual term; None: a small network with random weights."""
    layer: Literal["relu1_2", "relu2_2", "relu3_3", "relu4_1"] = "relu4_1"
    """The perceptual term compares this layer of the trunk and the last ones of the blocks before it."""
    perceptual_weight: NonNegative = 1.0
    """Weight of the perceptual term."""
    critic_width: Count = 64
    """Channels of the critic's first layer."""
    receptive_field: Literal[16, 34, 70] = 70
    """Side of the critic's patches."""
    adversarial_weight: NonNegative | None = None
    """Weight of the adversarial term beside the adaptive one; None: the variant's, 1 or 0.8."""
    adversarial_start: Natural | None = None
    """First step of the adversarial term; None: the variant's, 0 or 10,000."""
    prior_fraction: Fraction = 0.5
    """Fraction of the steps that train the prior; 0: no prior."""
    prior_width: Count = 1024
    """Features of the prior."""
    prior_layers: Count = 24
    """Layers of the prior."""
    prior_heads: Count = 16
    """Attention heads of the prior."""
    prior_dropout: Fraction = 0.0
    """Dropout rate of the prior."""
    prior_keep: Probability = 1.0
    """Fraction of the prior's inputs that are not replaced by random codes in training."""
    prior_learning_rate: NonNegative = 5.4e-5
    """Of the prior's AdamW; falls to zero like a cosine in `small`."""
    extractor: Path | None = None
    """Run folder of a classifier, in whose features reconstructions and samples are compared with the data."""
    measured: Count = 2_000
    """Number of test examples, of samples, and of training examples for frequencies of codes."""


def build(config: VQGANConfig, data: Splits) -> Experiment:
    shape = data.train.event_shape
    levels = halvings(shape, 2) + 1
    widths = tuple(config.width * factor for factor in config.factors)[:levels]
    fields = {"blocks": config.blocks, "attention": config.attention, "features": config.features}
    height, width = (side >> (len(widths) - 1) for side in shape[:2])
    network = TokenTransformer(
        config.codes, height * width, config.prior_width, config.prior_layers, config.prior_heads, config.prior_dropout
    )
    features, start = (None, None) if config.system == "vq_vae" else fixed_features(config, data)
    model = QuantizedAutoencoder(
        shape,
        encoder=VQGANEncoder(widths, **fields),
        decoder=VQGANDecoder(widths, **fields),
        codebook=Codebook(
            num_codes=config.codes, code_dim=config.dimension, commitment=config.commitment,
            decay=0.99 if config.codebook == "averages" else None,
        ),
        levels=data.train.levels,
        features=features,
        layers=compared(features),
        pixel_loss="squared" if config.system == "vq_vae" else "absolute",
        perceptual_weight=config.perceptual_weight,
        prior=CodePrior(network, config.prior_keep) if config.prior_fraction else None,
        prior_fraction=config.prior_fraction,
    )  # fmt: skip
    if config.system == "vqgan":
        given = {name: getattr(config, name) for name in ("adversarial_weight", "adversarial_start")}
        given = {name: value for name, value in given.items() if value is not None}
        fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
        critic = PatchCritic.with_receptive_field(config.receptive_field, config.critic_width)
        model = VQGAN(**fields, critic=critic, **{**VARIANTS[config.variant], **given})
    optimizers = dict.fromkeys(model.plays(), optax.adam(config.learning_rate, b1=0.5, b2=0.9))
    if model.prior is not None:
        rate = config.prior_learning_rate
        if config.preset == "small":
            rate = optax.cosine_decay_schedule(rate, model.phases(config.steps)[-1].steps)
        optimizers["prior"] = model.prior.optimizer(rate)
    plots = {"compared": partial(plot_compared, data=data)} if plotting.drawable(data.test.head(1)["x"]) else {}
    headline = ("squared_error", "fraction of codes in use", *(("bits_per_code",) if model.prior else ()))
    return Experiment(
        model, optimizers=optimizers, start=start, plots=plots, draws=1, headline=headline,
        final_metrics=partial(measure, config=config, data=data),
    )  # fmt: skip


def fixed_features(config: VQGANConfig, data: Splits) -> tuple[VGG, Mapping[str, Any] | None]:
    """The perceptual term's network, and variables of the player `features` with which each layer has mean one."""
    if config.trunk is None:
        return VGG(config.layer, widths=(8, 12, 16, 24, 24)), None
    network, variables = load_vgg(config.trunk, config.layer)
    x = data.train.head(64)["x"]
    scale = 1.0 if data.train.levels is None else data.train.levels - 1.0
    x = jnp.broadcast_to(jnp.asarray(x, jnp.float32) / scale, (*x.shape[:-1], 3))
    return network, {"features": jax.jit(partial(normalize_activations, network, per="layer"))(variables, x)}


def compared(network: VGG | None) -> tuple[str, ...]:
    """The last layer of each block, as in LPIPS."""
    return () if network is None else tuple({name[:5]: name for name in network.layers}.values())


def measure(trained: TrainedModel, config: VQGANConfig, data: Splits) -> dict[str, float]:
    """Of the test split: the codes in use, `order-0 bits per code`, by the frequencies of training examples' codes, and
    Frechet distances, in the extractor's features, of reconstructions, of samples, and of images decoded from codes
    drawn independently by these frequencies.
    """
    used = np.asarray(codes(trained, data.test, config.eval_batch))
    counts = np.bincount(used.ravel(), minlength=config.codes)
    seen = in_chunks(trained.encode, data.train.head(config.measured)["x"], size=PART)
    frequencies = np.bincount(seen.ravel(), minlength=config.codes) + 1.0
    frequencies /= frequencies.sum()
    metrics = {
        "fraction of codes in use": float((counts > 0).mean()),
        "perplexity of codes": float(perplexity(jnp.asarray(counts))),
        "uniform bits per code": float(np.log2(config.codes)),
        "order-0 bits per code": float(-np.log2(frequencies)[used].mean()),
    }
    if config.extractor is None:
        return metrics
    extractor = load_extractor(config.extractor)
    head = data.test.head(config.measured)
    x, context = head["x"], head.get("context")
    n, real = len(x), extractor.features(x)
    fakes = {"reconstructions": in_chunks(trained.reconstruct, x, size=PART)}
    rng = np.random.default_rng(config.seed)
    independent = rng.choice(config.codes, (n, *used.shape[1:]), p=frequencies).astype(np.int32)
    fakes["independent codes"] = in_chunks(trained.decode, independent, size=PART)
    if trained.model.prior is not None:
        fakes["samples"] = sampled(trained, n, context)
    for name, fake in fakes.items():
        metrics[f"frechet distance of {name}"] = frechet_distance(real, extractor.features(fake))
    if "samples" in fakes and context is not None and "label" in head:
        same = extractor.logits(fakes["samples"]).argmax(-1) == head["label"]
        metrics["class accuracy of samples"] = float(same.mean())
        metrics["class accuracy of data"] = float((extractor.logits(x).argmax(-1) == head["label"]).mean())
    return metrics


def sampled(trained: TrainedModel, n: int, context: Any = None) -> np.ndarray:
    """n samples of the contexts, `PART` at a time."""
    parts = []
    for i in range(0, n, PART):
        part = None if context is None else context[i : i + PART]
        parts.append(np.asarray(trained.sample(jax.random.key(i), min(PART, n - i), part)))
    return np.concatenate(parts)


def plot_compared(trained: TrainedModel, data: Splits) -> Any:
    """Test examples, their reconstructions, and samples of the same classes."""
    head = data.test.head(COLUMNS)
    x = head["x"]
    rows = {"data": x, "reconstructions": np.asarray(trained.reconstruct(x))}
    return plotting.rows({**rows, "samples": sampled(trained, len(x), head.get("context"))})


if __name__ == "__main__":
    main(VQGANConfig, build)
