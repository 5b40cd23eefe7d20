"""The recurrent conditional GAN (Esteban et al. 2017, "Real-valued (Medical) Time Series Generation with Recurrent
Conditional GANs", arXiv:1706.02633).

Result on two classes of daily power curves, `--data time_series.npz --series italy_power --pooled --preset small`,
three minutes of a shared core a seed: TSTR 0.962, 0.888 and 0.962 with seeds 0 to 2, 0.938 +- 0.025, within five points
of the TRTR of 0.966; of a linear support vector machine 0.788, 0.861 and 0.888, TRTR 0.975. After 8,000 steps in place
of 12,000 it is 0.930, 0.959 and 0.746: the third seed's critic fell behind (loss 1.376 of at most 1.386 after 3,500
steps) and recovers. With Flax's initial weights in the dense layers, 3,000 steps gave a TSTR of 0.62; with the
authors', 4,000 steps gave 0.86. With classes unrelated to the series (`--shuffled`): 0.650 +- 0.132, linear 0.629 +-
0.041.

TSTR is the test accuracy of classifiers trained on as many samples as there are training series, TRTR that of the same
classifiers trained on the series. Unrelated classes do not make every TSTR one half: a classifier learns the least
difference between the samples of two contexts, and so finds the classes, or their opposites. Only the expectation over
seeds is one half.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import numpy as np
import optax

from experiments.config import Config, Experiment
from experiments.run import main
from experiments.sequences.scores import classifier_accuracies, series_scores, untrained_scores
from experiments.sequences.time_gan import DRAWN, plot_correlations, plot_series
from jaxgen import plotting
from jaxgen.data import Splits, time_series
from jaxgen.data.splits import split_array
from jaxgen.metrics.probes import linear_svm_accuracy
from jaxgen.models.sequences import rc_gan
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count, Fraction, NonNegative

JUDGES, CLASSIFIER_STEPS = (0, 1, 2), 500
"""Seeds of the classifiers, and batches that each is trained on."""


@dataclass(frozen=True, kw_only=True)
class RCGANConfig(Config):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {"steps": 12_000, "width": 50, "critic_steps": 1, "eval_every": 500, "checkpoint_every": 1_000},
    }

    preset: Literal["paper", "small"] = "paper"
    """Defaults: the paper's for sines, or those of series with classes and a CPU."""
    data: str = "rc_gan_sines"
    """`rc_gan_sines`, or a .npz file with `--series`."""
    series: str | None = None
    """The array of a .npz file: a set of short series with classes, or a long one that is cut into windows."""
    window: Count = 24
    blocks: Count = 6
    """Blocks of a long series (`jaxgen.data.time_series`)."""
    pooled: bool = False
    """Join the splits of a set of short series and split it anew, half of it for training."""
    shuffled: bool = False
    """Control: permute the classes of the training series (`unrelated`)."""
    steps: Count = 50_000
    """Batches, each with a move of the critic: 100 epochs of 14,000 series in the paper."""
    batch_size: Count = 28
    width: Count = 100
    """Units of the LSTMs."""
    latents: Count = 5
    """Dimension of the noise at a step."""
    critic_steps: Count = 5
    """Moves of the critic per move of the generator; the authors' settings for series with classes have 1 or less."""
    learning_rate: NonNegative = 1e-3
    """Learning rate of the generator's Adam."""
    critic_rate: NonNegative = 0.1
    """Learning rate of the critic's gradient descent."""
    ema: Fraction = 0.0
    eval_every: Count = 5_000
    eval_batch: Count = 1_000
    checkpoint_every: Count = 5_000
    log_every: Count = 500
    steps_per_call: Count = 500
    judge_steps: NonNegative = 1.0
    """A factor of the steps of the judges' training."""

    def open(self) -> Splits:
        """The series, on [-1, 1] by the training split; the context is the class, if the series have one."""
        splits = time_series(
            self.data, self.series, data_dir=self.data_dir, window=self.window, blocks=self.blocks, pooled=self.pooled,
            interval=(-1.0, 1.0),
        )  # fmt: skip
        if splits.train.num_classes is None:
            if self.shuffled:
                got = f"data={self.data!r}, series={self.series!r}"
                raise ValueError(f"`shuffled` must be False for series without classes, got {got}")
            return splits
        if self.shuffled:
            splits.train.arrays["label"] = unrelated(splits.train.arrays["label"])
        return Splits(*(split.conditional() for split in splits))


def unrelated(label: np.ndarray) -> np.ndarray:
    """A permutation of classes [N] that says nothing of them: within each class the new ones are as frequent as in all.

    A random permutation of a few hundred keeps a correlation of some hundredths, from which a classifier may learn the
    classes, or their opposites, nearly perfectly.
    """
    order = np.lexsort((np.random.default_rng(0).random(len(label)), label))
    even = np.arange(len(label)) * (5**0.5 - 1) / 2 % 1  # evenly distributed along any part of it
    permuted = np.empty_like(label)
    permuted[order] = np.sort(label)[np.argsort(np.argsort(even))]
    return permuted


def build(config: RCGANConfig, data: Splits) -> Experiment:
    model = rc_gan(data.train.event_shape, config.width, config.latents, critic_steps=config.critic_steps)
    plots = {"compared": partial(plot_series, data=data), "autocorrelation": partial(plot_correlations, data=data)}
    headline = ("discriminative", "autocorrelation_error")
    if data.train.num_classes is not None:
        plots["compared"] = partial(plot_classes, data=data)
        headline = ("TSTR", "TRTR")
    return Experiment(
        model, plots=plots, draws=1, headline=headline,
        optimizers={"critic": optax.sgd(config.critic_rate), "generator": optax.adam(config.learning_rate)},
        final_metrics=partial(final_metrics, data=data, config=config),
    )  # fmt: skip


def final_metrics(trained: TrainedModel, data: Splits, config: RCGANConfig) -> dict[str, float]:
    """`series_scores` on [0, 1]; with classes `untrained_scores`, and the test accuracy of classifiers trained on
    generated series (TSTR) and on real ones (TRTR): a GRU, and a linear support vector machine.
    """
    parts = (data.train, data.test)
    train, test = ((1 + split_array(split, "x")) / 2 for split in parts)
    contexts = None if data.train.num_classes is None else np.concatenate([split_array(s, "context") for s in parts])
    fake = np.asarray(trained.sample(jax.random.key(config.seed), len(train) + len(test), contexts))
    fake = (1 + fake) / 2
    if contexts is None:
        return series_scores(train, test, fake, steps=config.judge_steps)
    real = replace(config, shuffled=False).open().train
    labels, own = split_array(real, "label"), split_array(data.train, "label")
    scores = untrained_scores(train, test, fake)
    return scores | accuracies(train, labels, fake[: len(train)], own, data, config.judge_steps)


def accuracies(
    train: np.ndarray, labels: np.ndarray, fake: np.ndarray, fake_labels: np.ndarray, data: Splits, steps: float = 1.0
) -> dict[str, float]:
    """TSTR and TRTR, of series on [0, 1]."""
    test, test_labels = (1 + split_array(data.test, "x")) / 2, split_array(data.test, "label")
    found = {}
    for name, x, y in (("TSTR", fake, fake_labels), ("TRTR", train, labels)):
        given = x, y, test, test_labels
        count = max(1, round(CLASSIFIER_STEPS * steps))
        judged = classifier_accuracies(*given, data.test.num_classes, JUDGES, steps=count)
        found |= {name: float(judged.mean()), f"{name}, linear": linear_svm_accuracy(*given)}
    return found


def plot_classes(trained: TrainedModel, data: Splits) -> Any:
    """Test series and generated ones of each class."""
    groups, num_classes = {}, data.test.num_classes
    x, label = (split_array(data.test, name) for name in ("x", "label"))
    for c in range(num_classes):
        context = np.eye(num_classes, dtype=np.float32)[np.full(DRAWN, c)]
        groups[f"data {c}"] = x[label == c][:DRAWN]
        groups[f"generated {c}"] = np.asarray(trained.sample(jax.random.key(c), DRAWN, context))
    return plotting.series(groups)


if __name__ == "__main__":
    main(RCGANConfig, build)
