"""The CVAE-GAN (Bao et al. 2017, "CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training",
arXiv:1703.10155).

Result on Extended Yale B, 38 people of 32x32 pixels, three seeds, 1,200 steps in a minute and a half of one core each:
`experiments.studies.hybrids --faces yaleb32.npz`. An independent classifier finds the class in 91.7 +- 1.2 % of samples
(of examples in 96.8 %), 78.9 +- 11.9 % of a conditional VAE's, 21.1 +- 1.6 % of a conditional GAN's: in the published
order. The swap error is 0.0765 (conditional VAE 0.0698, log-additive baseline 0.0616, copy 0.1143). A classifier
trained on 8 pictures a person gains nothing by 50 samples a person of the model trained on the same pictures: 48.4 +-
1.3 %, without them 49.5 +- 0.5 %. With the paper's weights of 0.001, one seed, 77.4 % and 0.0780.

On FaceScrub the paper's classifier assigns 97.8 % of its samples to the right person, 62.0 % of a conditional GAN's and
8.1 % of a conditional VAE's. `--system cvae` and `--system cgan` train these two with the same networks.

With `--extractor FOLDER`, a run of `experiments.gans.feature_extractor` on the same data, an independent classifier
rates samples of uniform classes, and interpolations. Data with a second factor, such as the light on a face, are scored
by swaps: an example is encoded, decoded with another class, and compared with the true example of that class and
factor: `--data yaleb32.npz --arrays label subject factor light`. The baselines are that example unchanged (copy), and
the training mean of the other class, and a model that adds class and factor in logarithms, which is told the factor.

The defaults are the paper's weights, for large images; `--preset small` is for 28 to 32 pixels on a CPU.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import numpy as np
import optax

from experiments.autoencoding import COLUMNS, NetworksConfig, likelihood
from experiments.autoencoding import experiment as with_latent_plots
from experiments.config import Experiment
from experiments.run import main
from jaxgen import plotting
from jaxgen.data import Source, Splits
from jaxgen.data.sources import Arrays, one_hot
from jaxgen.models.gans import GAN
from jaxgen.models.hybrids import CVAEGAN
from jaxgen.models.vaes import ELBO, VAE
from jaxgen.nets import DCGANGenerator, StridedConvs
from jaxgen.nets.decoders import halved, halvings
from jaxgen.training import TrainedModel
from jaxgen.training.chunks import in_chunks
from jaxgen.training.extractor import load_extractor
from jaxgen.training.ranges import Count, Fraction, NonNegative, Probability

UNKNOWN = 255
"""A factor that is not known."""
ROWS = 1000
"""Examples decoded at once."""
PAIRS = 200
"""Test examples between which lines are measured."""
SHOWN = 6
"""Classes in a row or column of a plot."""


@dataclass(frozen=True, kw_only=True)
class CVAEGANConfig(NetworksConfig):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {
            "width": 16, "latents": 16, "kernel_size": 4, "kl_weight": 0.1, "learning_rate": 5e-4,
            "critic_matching": 0.03, "class_matching": 0.03,
        },
    }  # fmt: skip

    preset: Literal["paper", "small"] = "paper"
    """Defaults: the paper's weights, or those for images of 28 to 32 pixels."""
    system: Literal["cvae_gan", "cvae", "cgan"] = "cvae_gan"
    """The CVAE-GAN, or a conditional VAE or GAN with the same networks."""
    conditional: bool = True
    batch_size: Count = 64
    network: Literal["strided"] = "strided"
    """Convolutions with batch normalisation."""
    width: Count = 64
    """Channels of the first convolution of encoder, critic and classifier."""
    kernel_size: Count = 5
    """Of these networks; 4 takes half the time on a CPU."""
    latents: Count = 256
    learning_rate: NonNegative = 2e-4
    """Adam's learning rate, for all players."""
    b1: Fraction = 0.5
    """Adam's beta_1, for all players."""
    kl_weight: NonNegative = 3.0
    """lambda_1; the weight of the reconstruction is 1, and sums over pixels grow with the image."""
    critic_matching: NonNegative = 1e-3
    """lambda_3, of the mean features of the critic."""
    class_matching: NonNegative = 1e-3
    """lambda_4, of the mean features of each class."""
    decay: Probability = 0.9
    """Of the moving averages of features."""
    extractor: Path | None = None
    """Run folder of a classifier that rates samples."""
    measured: Count = 2000
    """Samples that it rates."""


def build(config: CVAEGANConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: data without labels; `conditional` is off.
    """
    if not config.conditional:
        raise ValueError("`conditional` must be True: the class is a condition of all three systems")
    shape, width = data.train.event_shape, config.width
    stages = max(1, min(3, halvings(shape)))
    top = width << (stages - 1)
    decoder = DCGANGenerator(
        halved(shape, stages), (top, *(top >> i for i in range(stages - 1)), max(1, width // 2))
    )
    encoder = StridedConvs(tuple(width << i for i in range(stages)), 0, 8 * width, config.kernel_size)
    adam = optax.adam(config.learning_rate, config.b1)
    fields = {"latent_dim": config.latents, "levels": data.train.levels}
    if config.system == "cgan":
        model = GAN(decoder, encoder, shape, **fields)
    else:
        fields |= {"likelihood": likelihood(config, data), "binarize": False, "objective": ELBO(config.kl_weight)}
        if config.system == "cvae":
            model = VAE(encoder, decoder, shape, **fields)
        else:
            model = CVAEGAN(
                encoder, decoder, shape, critic=encoder, classifier=encoder, num_classes=data.train.num_classes,
                critic_matching=config.critic_matching, class_matching=config.class_matching, decay=config.decay,
                **fields,
            )  # fmt: skip
    optimizers, plots, baselines = dict.fromkeys(model.plays(), adam), {}, {}
    measured = partial(measure, config=config, data=data)
    if plotting.drawable(data.test.head(1)["x"]):
        plots["classes"] = partial(plot_classes, num_classes=data.train.num_classes)
    if config.system == "cgan":
        return Experiment(model, optimizers=optimizers, final_metrics=measured, plots=plots, draws=1)
    if plots:
        plots |= {"swaps": partial(plot_swaps, data=data), "interpolations": partial(plot_interpolations, data=data)}
    if "factor" in data.test.head(1):
        baselines = {f"{name}, {SWAP}": value for name, value in swap_baselines(data).items()}
    return with_latent_plots(
        config, data, model, optimizers, final_metrics=measured, plots=plots, metrics=None, baselines=baselines, draws=1
    )


SWAP = "swap error"
"""The mean absolute difference from the true example of the other class, in fractions of the range of grey levels."""


def measure(trained: TrainedModel, config: CVAEGANConfig, data: Splits) -> dict[str, float]:
    """The swap error, if there is a factor; with an extractor its agreement with samples, and interpolations."""
    metrics, classes = {}, data.train.num_classes
    if config.system != "cgan" and "factor" in data.test.head(1):
        metrics[SWAP] = swap_error(trained, data)
    if config.extractor is not None:
        extractor, labels = load_extractor(config.extractor), np.arange(config.measured) % classes
        x = samples(trained, one_hot(labels, classes), jax.random.key(config.seed))
        metrics["class accuracy of samples"] = float((extractor.logits(x).argmax(-1) == labels).mean())
        head = data.test.head(config.measured)
        metrics["class accuracy of examples"] = float((extractor.logits(head["x"]).argmax(-1) == head["label"]).mean())
        if config.system != "cgan":
            metrics |= interpolation_metrics(trained, extractor.logits, data, config.seed)
    return metrics


def interpolation_metrics(
    trained: TrainedModel, logits: Callable[[np.ndarray], np.ndarray], data: Splits, seed: int
) -> dict[str, float]:
    """By a classifier, on lines between test examples of different classes: how often points between the two z, with
    the first class, have that class; and how often the log-odds of the second class to the first rise from one point
    to the next between the two classes, at the first z.
    """
    test = data.test.head(PAIRS)
    second = np.random.default_rng(seed).permutation(len(test["x"]))
    first = np.flatnonzero(test["label"] != test["label"][second])
    second, along = second[first], np.linspace(0, 1, COLUMNS, dtype=np.float32)[:, None]
    z = np.asarray(trained.encode(test["x"], None, test["context"]))

    def line(ends: np.ndarray) -> np.ndarray:
        """[points, pairs, D]"""
        return (1 - along[..., None]) * ends[first] + along[..., None] * ends[second]

    def still(ends: np.ndarray) -> np.ndarray:
        return np.repeat(ends[first][None], COLUMNS, 0)

    def on_lines(z: np.ndarray, context: np.ndarray) -> np.ndarray:
        flat = decoded(trained, z.reshape(-1, z.shape[-1]), context.reshape(-1, context.shape[-1]))
        return np.asarray(logits(flat)).reshape(COLUMNS, len(first), -1)

    kept = on_lines(line(z), still(test["context"])).argmax(-1) == test["label"][first]
    by_class, pair = on_lines(still(z), line(test["context"])), np.arange(len(first))
    odds = by_class[:, pair, test["label"][second]] - by_class[:, pair, test["label"][first]]
    return {
        "class kept along z": float(kept.mean()), "rising along the class": float((np.diff(odds, axis=0) > 0).mean())
    }  # fmt: skip


def samples(trained: TrainedModel, context: np.ndarray, key: Any) -> np.ndarray:
    """E[x|z, c] in data units, z ~ p(z), for each context."""
    if hasattr(trained, "sample_prior"):
        z = trained.sample_prior(key, len(context), context)
    else:
        z = trained.noise(key, len(context))
    return decoded(trained, z, context)


def decoded(trained: TrainedModel, z: Any, context: np.ndarray) -> np.ndarray:
    return in_chunks(trained.decode, z, context, size=ROWS)


def pairs(data: Splits) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Test examples and the examples of other classes with the same factor: indices of the former, labels, factors and
    images of the latter, [M] each.
    """
    test, everything = data.test.head(len(data.test)), [split.head(len(split)) for split in data]
    label, factor, x = (np.concatenate([part[name] for part in everything]) for name in ("label", "factor", "x"))
    known = np.flatnonzero(test["factor"] != UNKNOWN)
    first, second = np.nonzero(
        (test["factor"][known][:, None] == factor) & (test["label"][known][:, None] != label)
    )
    return known[first], label[second], factor[second], x[second]


def scale(source: Source) -> float:
    return 1.0 if source.levels is None else source.levels - 1.0


def swap_error(trained: TrainedModel, data: Splits) -> float:
    index, label, _, truth = pairs(data)
    test = data.test.head(len(data.test))
    z = np.asarray(trained.encode(test["x"], None, test["context"]))
    swapped = decoded(trained, z[index], one_hot(label, data.train.num_classes))
    return float(np.abs(np.float32(swapped) - truth).mean() / scale(data.train))


def swap_baselines(data: Splits) -> dict[str, float]:
    index, label, factor, truth = pairs(data)
    train = data.train.head(len(data.train))
    means = np.stack([train["x"][train["label"] == c].mean(0) for c in range(data.train.num_classes)])
    guesses = {
        "copy": data.test.head(len(data.test))["x"][index],
        "mean of the class": means[label],
        "log-additive in class and factor": log_additive(train, label, factor),
    }
    return {name: float(np.abs(np.float32(x) - truth).mean() / scale(data.train)) for name, x in guesses.items()}


def log_additive(train: Arrays, label: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """log(1 + x) = a[class] + b[factor] for each pixel, by least squares: predictions for classes and factors [M].

    With reflectance times light it is a strong model of faces, and it is told the factor.
    """
    known = train["factor"] != UNKNOWN

    def design(label: np.ndarray, factor: np.ndarray) -> np.ndarray:
        return np.concatenate([one_hot(label, train["label"].max() + 1), one_hot(factor, UNKNOWN)], 1)

    pixels = np.log1p(train["x"][known].reshape(known.sum(), -1).astype(np.float64))
    weights = np.linalg.lstsq(design(train["label"][known], train["factor"][known]), pixels, rcond=None)[0]
    return np.expm1(design(label, factor) @ weights).reshape(-1, *train["x"].shape[1:])


def plot_classes(trained: TrainedModel, num_classes: int) -> Any:
    """Samples of classes, a row each, with the same noise in each column."""
    shown = np.linspace(0, num_classes - 1, min(COLUMNS, num_classes)).round().astype(int)
    rows = {}
    for label in shown:
        context = one_hot(np.full(COLUMNS, label), num_classes)
        rows[str(label)] = samples(trained, context, jax.random.key(0))
    return plotting.rows(rows, "the same noise for every class")


def plot_swaps(trained: TrainedModel, data: Splits) -> Any:
    """Test examples in the first column, each with its own class and with others."""
    head, classes = data.test.head(len(data.test)), data.train.num_classes
    chosen = np.linspace(0, len(data.test) - 1, SHOWN).round().astype(int)
    x, label, context = (head[name][chosen] for name in ("x", "label", "context"))
    z, rows = np.asarray(trained.encode(x, None, context)), {}
    others = np.linspace(0, classes - 1, SHOWN).round().astype(int)
    for i in range(SHOWN):
        targets = np.concatenate([label[i : i + 1], others])
        swapped = decoded(trained, np.repeat(z[i : i + 1], len(targets), 0), one_hot(targets, classes))
        rows[str(label[i])] = np.concatenate([x[i : i + 1], swapped])
    return plotting.rows(rows, "example, its own class, other classes")


def plot_interpolations(trained: TrainedModel, data: Splits) -> Any:
    """From one test example to another: z alone, the class alone, and both."""
    head = data.test.head(len(data.test))
    pair = np.array([0, len(data.test) // 2])
    z = np.asarray(trained.encode(head["x"][pair], None, head["context"][pair]))
    along = np.linspace(0, 1, COLUMNS, dtype=np.float32)[:, None]

    def line(ends: np.ndarray, moves: bool) -> np.ndarray:
        return (1 - along) * ends[0] + along * ends[1] if moves else np.repeat(ends[:1], COLUMNS, 0)

    rows = {
        name: decoded(trained, line(z, in_z), line(head["context"][pair], in_class))
        for name, in_z, in_class in (("z", True, False), ("class", False, True), ("both", True, True))
    }
    return plotting.rows(rows, "interpolations")


if __name__ == "__main__":
    main(CVAEGANConfig, build)
