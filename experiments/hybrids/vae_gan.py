"""The VAE-GAN (Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric", arXiv:1512.09300).

Result on digits of 8x8 pixels, one seed, 1,200 steps in 45 seconds of one core: `--variant authors --preset small
--width 8 --latents 16 --steps 1200`, beside the VAE. Feature distance of reconstructions 0.085 (VAE 0.119), sharpness
0.77 (0.38), of samples 1.02 (0.35), pixel error 0.0255 (0.0308), but 16.0 nats of divergence (3.0).

On MNIST, `experiments.studies.hybrids --digits mnist.npz`, at the same width and steps with 32 latents, three seeds,
reconstructions are sharp (0.92 +- 0.03, VAE 0.28) at a larger pixel error (0.0153, VAE 0.0134), but no nearer to the
data in the classifier's features: 0.034 +- 0.003, VAE 0.028 +- 0.003, both of the right class in 95.6 %. With a `gamma`
of 1e-3 in place of 1e-2 the distance is 0.079 and samples are noise (sharpness 4.9). With 0.1 and `--kl-weight 4` the
divergence is the VAE's (28 nats, 25), the distance 0.041 and the sharpness 0.56, one seed.

`--system vae` trains the control: a VAE of the pixels with the same encoder and decoder. With `--extractor FOLDER`, a
run of `experiments.gans.feature_extractor` on the same data, reconstructions are compared in the features of that
independent classifier too. The paper reports no such metric.

The defaults are the paper's for 64x64 faces: `--preset small` is for 28 to 32 pixels on a CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import numpy as np
import optax

from experiments.autoencoding import COLUMNS, NetworksConfig, experiment, likelihood
from experiments.config import Experiment
from experiments.run import main
from jaxgen import plotting
from jaxgen.data import Splits
from jaxgen.losses import minimax_generator, non_saturating_generator
from jaxgen.metrics import laplacian_energy
from jaxgen.models.hybrids import VAEGAN, Gate, waiting
from jaxgen.models.hybrids.vae_gan import AUTHORS
from jaxgen.models.vaes import ELBO, VAE
from jaxgen.nets import DCGANGenerator, StridedConvs, StridedScore
from jaxgen.nets.decoders import halved, halvings
from jaxgen.training import TrainedModel
from jaxgen.training.extractor import load_extractor
from jaxgen.training.ranges import Count, NonNegative

VARIANTS = {"paper": {}, "authors": AUTHORS, "authors_celeba": {"fakes": ("samples",), "gate": Gate()}}
MEASURED = 2000
"""Test examples whose reconstructions are measured."""


@dataclass(frozen=True, kw_only=True)
class VAEGANConfig(NetworksConfig):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {
            "width": 16, "latents": 32, "kernel_size": 4, "gamma": 1e-2, "learning_rate": 5e-4, "normalize": True,
        },
    }  # fmt: skip

    preset: Literal["paper", "small"] = "paper"
    """Defaults: the paper's, or those for images of 28 to 32 pixels."""
    system: Literal["vae_gan", "vae"] = "vae_gan"
    """The VAE-GAN, or a VAE with the same encoder and decoder and the likelihood of pixels."""
    batch_size: Count = 64
    network: Literal["strided"] = "strided"
    """Convolutions with batch normalisation, the paper's."""
    width: Count = 64
    """Channels of the encoder's first convolution."""
    kernel_size: Count = 5
    """Of the encoder's and the critic's convolutions; 4 takes half the time on a CPU."""
    latents: Count = 128
    learning_rate: NonNegative = 3e-4
    """RMSProp's learning rate, for all players."""
    gamma: NonNegative = 1e-5
    """Weight of the reconstruction in the decoder's loss."""
    kl_weight: NonNegative = 1.0
    """Weight of the divergence in the encoder's loss, beside a sum over features: the paper's are 16,384."""
    generator_loss: Literal["minimax", "non_saturating"] = "minimax"
    """The decoder's loss of the critic's scores."""
    variant: Literal["paper", "authors", "authors_celeba"] = "paper"
    """The paper's game, that of the authors' code (equal weights, and a gate decides whether critic and decoder move),
    or that of its first script for CelebA, which also shows the critic samples alone."""
    normalize: bool = False
    """Normalise the critic's features before they are compared, so that their scale does not drift."""
    extractor: Path | None = None
    """Run folder of a classifier in whose features reconstructions are compared."""


def networks(config: VAEGANConfig, data: Splits) -> dict[str, Any]:
    """Encoder, decoder, critic and its head for images of any size; the paper's for 64x64 at width 64."""
    width, stages = config.width, max(1, min(3, halvings(data.train.event_shape)))
    top = width << (stages - 1)
    critic = tuple(min(2 * width << i, 4 * width) for i in range(stages))
    return {
        "encoder": StridedConvs(tuple(width << i for i in range(stages)), 0, 32 * width, config.kernel_size),
        "decoder": DCGANGenerator(
            halved(data.train.event_shape, stages),
            (top, *(top >> i for i in range(stages - 1)), max(1, width // 2)),
        ),
        "critic": StridedConvs(critic, max(1, width // 2), None, config.kernel_size, config.normalize),
        "critic_head": StridedScore(8 * width),
    }  # fmt: skip


def build(config: VAEGANConfig, data: Splits) -> Experiment:
    shape, fields = data.train.event_shape, networks(config, data)
    fields |= {"event_shape": shape, "latent_dim": config.latents, "levels": data.train.levels}
    fields |= {"likelihood": likelihood(config, data), "binarize": False, "objective": ELBO(config.kl_weight)}
    rmsprop = optax.rmsprop(config.learning_rate)
    if config.system == "vae":
        model = VAE(**{name: value for name, value in fields.items() if not name.startswith("critic")})
        optimizers = {"elbo": rmsprop}
    else:
        loss = {"minimax": minimax_generator, "non_saturating": non_saturating_generator}[config.generator_loss]
        fields |= {"gamma": config.gamma, "generator_loss": loss}
        model = VAEGAN(**fields, **VARIANTS[config.variant])
        optimizers = {"critic": waiting(rmsprop), "encoder": rmsprop, "decoder": waiting(rmsprop)}
    measured = partial(measure_reconstructions, config=config, data=data)
    plots = {"compared": partial(plot_reconstructions, data=data)} if plotting.drawable(data.test.head(1)["x"]) else {}
    return experiment(config, data, model, optimizers, final_metrics=measured, plots=plots, metrics=None, draws=1)


def measure_reconstructions(trained: TrainedModel, config: VAEGANConfig, data: Splits) -> dict[str, float]:
    """Squared error and sharpness of reconstructions from the means of q(z|x), and the sharpness of samples, both over
    that of the data; by the extractor the squared distance of features, over that of two examples, and how often the
    class is the same.
    """
    head = data.test.head(MEASURED)
    x, context = head["x"], head.get("context")
    again = np.asarray(trained.reconstruct(x, None, context))
    scale = 1.0 if data.train.levels is None else data.train.levels - 1.0
    metrics = {"pixel error": float((((np.float32(x) - again) / scale) ** 2).mean())}
    if min(x.shape[1:3]) >= 3:
        fakes = {"reconstructions": again, "samples": sampled(trained, len(x), context)}
        real = np.asarray(laplacian_energy(x)).mean()
        for name, fake in fakes.items():
            metrics[f"sharpness of {name}"] = float(np.asarray(laplacian_energy(fake)).mean() / real)
    if config.extractor is not None:
        extractor = load_extractor(config.extractor)
        features, reconstructed = extractor.features(x), extractor.features(again)
        pairs = ((features - np.roll(features, 1, 0)) ** 2).sum(-1).mean()
        metrics["feature distance"] = float(((features - reconstructed) ** 2).sum(-1).mean() / pairs)
        same = extractor.logits(x).argmax(-1) == extractor.logits(again).argmax(-1)
        metrics["same class"] = float(same.mean())
    return metrics


def sampled(trained: TrainedModel, n: int, context: Any) -> np.ndarray:
    return np.asarray(trained.decode(trained.sample_prior(jax.random.key(0), n, context), context))


def plot_reconstructions(trained: TrainedModel, data: Splits) -> Any:
    """Test examples, their reconstructions, and samples."""
    head = data.test.head(COLUMNS)
    x, context = head["x"], head.get("context")
    again = np.asarray(trained.reconstruct(x, None, context))
    return plotting.rows({"data": x, "reconstructions": again, "samples": sampled(trained, len(x), context)})


if __name__ == "__main__":
    main(VAEGANConfig, build)
