"""Boundary-seeking GAN for discrete data (Hjelm et al. 2018, arXiv:1702.08431).

The defaults are those of the paper's binary MNIST: M = 20 samples of each z, 64 latents, Adam at 1e-4 (0.5), batches of
64, one critic update per generator update, no batch normalisation; there for 100 epochs, with pictures as its result.

Results of `experiments.studies.boundary_seeking --data binarized_mnist.npz --labelled mnist.npz --bits 2 --judge-steps
3000 --steps 20000`, 25 minutes of a core: strings from three seeds, and binary MNIST of 14x14 pixels from one. A
classifier is confident of 95 % of the test examples; of the weights' samples it is after 6,000 steps of 73 %.

                         strings                             MNIST
                         KL(p||g), nats     JS               confident    rarest class    1-NN
    weights of each z    0.061 +- 0.005     0.013            0.793        0.064           0.595
    equal weights        6.5 +- 1.9         0.59             0.000        0.000           1.000
    log-ratio as reward  0.091 +- 0.012     0.017            0.812        0.056           0.580
    D as reward          0.110 +- 0.014     0.018            0.828        0.071           0.584
    independent bits     2.668              0.429

On strings the paper's weights are better than rewards with a baseline, on MNIST they are not.

`--data bit_patterns`, ten bits whose probabilities are known, gives exact divergences: with the noise as signs, the
generator's own distribution is a sum over all z. `--bits 2` makes images bits of half the resolution, and `--extractor
FOLDER`, a run of `experiments.gans.feature_extractor` with the same `--bits`, classifies the samples. `--objective
equal` is the control without a signal, `reinforce` rewards samples by their log-ratio, `reinforce_probability` by D.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from experiments.config import Config, Experiment
from experiments.run import main
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.data import Splits, bits
from jaxgen.distributions import Signs
from jaxgen.metrics import class_histogram_divergence, one_nearest_neighbour
from jaxgen.models.sequences import BoundarySeekingGAN, DensityRatioWeights, EqualWeights, Reinforce
from jaxgen.nets import MLP, DCGANCritic, DCGANGenerator
from jaxgen.nets.decoders import halved, halvings
from jaxgen.training import TrainedModel
from jaxgen.training.extractor import Extractor, load_extractor
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative

OBJECTIVES = {
    "weights": DensityRatioWeights(),
    "equal": EqualWeights(),
    "reinforce": Reinforce(),
    "reinforce_probability": Reinforce("probability"),
}
CONFIDENT = 0.9


@dataclass(frozen=True, kw_only=True)
class BoundarySeekingConfig(Config):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {
            "network": "dense", "width": 128, "learning_rate": 1e-3, "critic_rate": 1e-3, "critic_samples": 5,
            "steps": 4_000, "eval_every": 1_000,
        },
    }  # fmt: skip

    preset: Literal["paper", "small"] = "paper"
    """Defaults: the paper's, or dense networks for a few minutes of a CPU."""
    data: str = "bit_patterns"
    """`bit_patterns`, symbols, or images."""
    bits: Natural = 0
    """k: images become bits, each of a square of k x k pixels; 0: they stay as they are."""
    steps: Count = 78_000
    batch_size: Count = 64
    eval_every: Count = 1_000
    eval_batch: Count = 1_000
    objective: Literal["weights", "equal", "reinforce", "reinforce_probability"] = "weights"
    """The generator's loss: the paper's weights, equal weights, or rewards."""
    samples: Count = 20
    """Samples of each z in the generator's loss."""
    critic_samples: Natural = 0
    """Samples of each z in the critic's loss; 0: as many as in the generator's."""
    network: Literal["dcgan", "dense"] = "dcgan"
    """Networks of images; those of other data are dense."""
    width: Count = 64
    """Channels at the highest resolution (DCGAN), or units of a dense layer."""
    latents: Count = 64
    """Dimension of the noise; for `bit_patterns` ten signs."""
    learning_rate: NonNegative = 1e-4
    """Learning rate of the generator's Adam."""
    critic_rate: NonNegative = 1e-4
    """Learning rate of the critic's Adam."""
    b1: Fraction = 0.5
    """Adam's beta_1, for both players."""
    extractor: Path | None = None
    """Run folder of a classifier of the same bits; adds metrics of its classes."""
    measured: Count = 2_000
    """Number of test examples and of samples for those metrics."""


def build(config: BoundarySeekingConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: real-valued data.
    """
    data = bits.binarized(data, config.bits) if config.bits else data
    if data.train.levels is None:
        raise ValueError(f"`data` must be integers with a number of levels, got {config.data!r}")
    known = config.data == "bit_patterns"
    model = BoundarySeekingGAN(
        *networks(config, data.train.event_shape), data.train.event_shape, levels=data.train.levels,
        latent_dim=config.latents, samples=config.samples, critic_samples=config.critic_samples or None,
        prior=Signs((data.train.event_shape[0],)) if known else None, objective=OBJECTIVES[config.objective],
        monitor=("kl", "min") if known else ("sliced_wasserstein", "min"),
    )  # fmt: skip
    rates = {"critic": config.critic_rate, "generator": config.learning_rate}
    optimizers = {name: optax.adam(rate, b1=config.b1) for name, rate in rates.items()}
    fields = {"optimizers": optimizers, "draws": 1, "data": data}
    if known:
        p = bits.log_prob_of_bit_patterns(bits.all_strings(data.train.event_shape[0]))

        def exact(variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
            return divergences(model, variables)

        fields |= {"metrics": exact, "validation_metrics": exact, "baselines": baselines(p), "headline": ("kl", "js")}
    if config.extractor is not None:
        extractor, test = load_extractor(config.extractor), data.test.head(config.measured)["x"]

        def classified(trained: TrainedModel) -> dict[str, float]:
            samples = np.asarray(trained.sample(jax.random.key(config.seed), len(test)))
            return class_metrics(extractor, test, samples)

        fields |= {"final_metrics": classified, "headline": ("confident", "rarest class", "nn_accuracy")}
    return Experiment(model, **fields)


def networks(config: BoundarySeekingConfig, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """The configured generator and critic, without their last layers."""
    if config.network == "dense" or len(shape) != 3:
        return MLP((config.width,) * 2, nn.leaky_relu), MLP((config.width,) * 2, nn.leaky_relu)
    doublings = halvings(shape)
    widths = tuple(config.width << i for i in range(doublings + 1))
    return (
        DCGANGenerator(halved(shape, doublings), widths[::-1], norm=None),
        DCGANCritic(widths[: max(doublings, 1)], norm=None),
    )


def divergences(model: BoundarySeekingGAN, variables: Variables) -> dict[str, Array]:
    """Exact divergences in nats of the generator from `bit_patterns`: `kl`, KL(p||g), `reverse_kl`, KL(g||p), and `js`.
    """
    strings = bits.all_strings(model.event_shape[0])
    return _divergences(bits.log_prob_of_bit_patterns(strings), model.log_prob(variables, strings))


def _divergences(log_p: Any, log_q: Any) -> dict[str, Array]:
    log_p, log_q = jnp.asarray(log_p, jnp.float32), jnp.asarray(log_q, jnp.float32)
    log_m = jnp.logaddexp(log_p, log_q) - jnp.log(2)
    kl, reverse_kl = (jnp.exp(log_p) * (log_p - log_q)).sum(), (jnp.exp(log_q) * (log_q - log_p)).sum()
    js = ((jnp.exp(log_p) * (log_p - log_m)).sum() + (jnp.exp(log_q) * (log_q - log_m)).sum()) / 2
    return {"kl": kl, "reverse_kl": reverse_kl, "js": js}


def baselines(log_p: np.ndarray) -> dict[str, float]:
    """Divergences of independent bits with the right probabilities, and of uniform strings."""
    strings = bits.all_strings(bits.PATTERNS.shape[1])
    marginals = np.exp(log_p) @ strings
    independent = np.log(np.where(strings, marginals, 1 - marginals)).sum(1)
    known = {"independent bits": independent, "uniform strings": np.full(len(strings), -np.log(len(strings)))}
    return {
        f"{metric} of {name}": float(_divergences(log_p, log_q)[metric])
        for name, log_q in known.items()
        for metric in ("kl", "js")
    }


def class_metrics(extractor: Extractor, test: np.ndarray, samples: np.ndarray) -> dict[str, float]:
    """What a classifier says of samples, and of as many test examples.

    Returns:
        `confident`, the fraction whose class has a probability above 0.9, and that of test examples; `rarest class`,
        the smallest fraction of a class; `class_histogram_divergence` of the classes; `nn_accuracy`, and on each set,
        of the bits, `one_nearest_neighbour`.
    """
    logits, of_test = extractor.logits(samples), extractor.logits(test)
    fractions = np.bincount(logits.argmax(-1), minlength=logits.shape[-1]) / len(samples)
    neighbours = one_nearest_neighbour(test.astype(np.float32), samples.astype(np.float32))
    return {
        "confident": _confident(logits),
        "confident test examples": _confident(of_test),
        "rarest class": float(fractions.min()),
        "class_histogram_divergence": float(class_histogram_divergence(of_test, logits)),
        **{name: float(value) for name, value in neighbours.items()},
    }


def _confident(logits: np.ndarray) -> float:
    return float((np.asarray(jax.nn.softmax(logits)).max(-1) > CONFIDENT).mean())


if __name__ == "__main__":
    main(BoundarySeekingConfig, build)
