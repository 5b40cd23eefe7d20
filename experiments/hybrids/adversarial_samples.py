"""Adversarial samples of a classifier of images, and adversarial training against them.

Result on MNIST, one seed, by `--data mnist.npz --widths 16 32 --ema 0.99 --steps 1500 --pgd-steps 20`, with 500 images
attacked and 20 searched (50 with `--training fgsm`), five minutes on a shared core; with `--training fgsm` six:

                                                        plain    fgsm
    accuracy                                            0.990   0.989
    fgsm error at 0.1 / 0.2 / 0.3                0.29 0.86 0.97    0.02 0.08 0.19
    random signs error at 0.3                           0.022   0.026
    pgd error at 0.1 / 0.2 / 0.3                 0.41 0.98 0.99    0.04 0.29 0.97
    pgd error in l2 at 2                                 0.82    0.65
    universal fooling rate at 0.3 (random signs)  0.43 (0.02)    0.04 (0.02)
    local search: success, pixels, queries      0.20 11.6 % 1500    1.00 2.8 % 404
    the same, scored by changes                  1.00 2.3 % 339

With 1,000 images attacked and 200 searched, local search scored by the value succeeds in 0.32 (plain), 1.00 (fgsm) and
1.00 (`--training pgd`, accuracy 0.987), scored by changes in all, by 2.3, 1.9 and 1.5 % of the pixels; projected
gradient at 0.3 has an error of 0.99, 0.96 and 0.28.

So adversarial training with one step protects against the perturbations that it was trained on and smaller ones, not
against projected gradient at 0.3 nor against large changes of few pixels. Pixels of digits are black or white, where
the value by which the paper scores a pixel lies on the other side of it than its change
(`jaxgen.attacks.local_search`); scored by their changes, pixels are as few as the paper's.

The attacks on the test split, in fractions of the range of grey levels: the fast gradient sign (Goodfellow et al. 2015,
arXiv:1412.6572; on MNIST 89.4 % errors at epsilon 0.25, after adversarial training 17.9 %), projected gradient in l_inf
and l2 (Madry et al. 2018, arXiv:1706.06083), a universal perturbation (Moosavi-Dezfooli et al. 2017, arXiv:1610.08401)
made from training images and measured on test images, and local search, which changes few pixels and sees only
probabilities (Narodytska and Kasiviswanathan 2016, arXiv:1612.06299; on MNIST 91 to 93 % errors by 2.2 % of the
pixels). The controls are random signs of the same size. `--training fgsm` and `--training pgd` train on adversarial
samples.

Errors are fractions of the test images; the attacks move away from the predicted label. Local search is given images
that are classified correctly, and their labels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config import Experiment
from experiments.gans import feature_extractor
from experiments.gans.feature_extractor import FeatureExtractorConfig
from experiments.run import main
from jaxgen import attacks, plotting
from jaxgen.data import Splits
from jaxgen.data.sources import Arrays
from jaxgen.models.adversarial_training import AdversarialTraining
from jaxgen.models.scaling import to_data
from jaxgen.training import TrainedModel
from jaxgen.training.chunks import in_chunks
from jaxgen.training.ranges import Between, Count, Natural, NonNegative, Probability

LOWER, UPPER = -1.0, 1.0
"""The range of the classifier's inputs."""
ROWS = 500
"""Images attacked at once."""
SHOWN = 10
"""Images of a plot."""
PGD_STEPS = 7
"""Of adversarial training with projected gradient."""


@dataclass(frozen=True, kw_only=True)
class AdversarialSamplesConfig(FeatureExtractorConfig):
    training: Literal["plain", "fgsm", "pgd"] = "plain"
    """On the images alone, or on adversarial samples too."""
    training_epsilon: Probability = 0.25
    """Of adversarial training."""
    epsilons: tuple[Probability, ...] = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
    """Of the fast gradient sign and the random signs."""
    pgd_epsilons: tuple[Probability, ...] = (0.1, 0.2, 0.3)
    """Of projected gradient in l_inf."""
    l2_epsilon: NonNegative = 2.0
    """Of projected gradient in l2: for grey levels in [0, 1], the root of the sum of squares."""
    pgd_steps: Count = 40
    attacked: Count = 1000
    """Test images for the fast gradient sign and projected gradient."""
    universal_radius: Annotated[float, Between(0, 1, above=True)] = 0.3
    universal_images: Natural = 2000
    """Training images that the universal perturbation is made from; 0: none is made."""
    searched: Natural = 200
    """Test images for local search, of those classified correctly; 0: none."""
    search_rounds: Count = 150
    search_candidates: Natural = 128
    """Pixels scored in a round of local search; 0: all candidates, as in the paper."""


def build(config: AdversarialSamplesConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: data other than labelled integer images; no epsilon.
    """
    if not config.epsilons or not config.pgd_epsilons:
        raise ValueError(
            f"`epsilons` and `pgd_epsilons` must have a number, got {config.epsilons}, {config.pgd_epsilons}"
        )
    experiment = feature_extractor.build(config, data)
    data = experiment.data or data  # with `bits`, others than those of the file
    if data.train.levels is None:
        raise ValueError(f"`data` must hold integer images, whose range is known, got {config.data!r}")
    model = experiment.model
    if config.training != "plain":
        fields = {"steps": PGD_STEPS, "random_start": True} if config.training == "pgd" else {}
        model = replace(
            model, adversarial=AdversarialTraining((UPPER - LOWER) * config.training_epsilon, LOWER, UPPER, **fields)
        )
    attack = _OnceForEach(partial(attack_all, config=config, data=data))

    def measured(trained: TrainedModel) -> dict[str, float]:
        return {**experiment.final_metrics(trained), **attack(trained)[0]}

    plots = {
        "adversarial": lambda trained: attack(trained)[1],
        "errors": lambda trained: plot_errors(attack(trained)[0]),
    }
    if not plotting.drawable(data.test.head(1)["x"]):
        plots.pop("adversarial")
    return experiment._replace(
        model=model, final_metrics=measured, plots=plots,
        headline=(
            "accuracy", f"fgsm error, epsilon {config.epsilons[-1]}", f"pgd error, epsilon {config.pgd_epsilons[-1]}",
        ),
    )  # fmt: skip


class _OnceForEach:
    """Calls a function of a trained model once and remembers the result, for metrics and plots."""

    def __init__(self, function: Callable[[TrainedModel], Any]):
        self.function, self.model, self.result = function, None, None

    def __call__(self, trained: TrainedModel) -> Any:
        if self.model is not trained:
            self.model, self.result = trained, self.function(trained)
        return self.result


def attack_all(trained: TrainedModel, config: AdversarialSamplesConfig, data: Splits) -> tuple[dict[str, float], Any]:
    """All metrics, and a plot of images with their adversarial samples."""
    key = jax.random.key(config.seed)
    classifier, limits = trained.scaled_logits, {"lower": LOWER, "upper": UPPER}
    test, span = data.test.head(len(data.test)), UPPER - LOWER
    x = trained.scaled(test["x"])
    part, label = x[: config.attacked], test["label"][: config.attacked]
    metrics, shown = {}, {"image": x[:SHOWN]}

    pgd = partial(attacks.projected_gradient, classifier, steps=config.pgd_steps, **limits)
    sized = {
        "fgsm": (config.epsilons, lambda x, size, key: attacks.fgsm(classifier, x, size, **limits)),
        "random signs": (config.epsilons, random_signs),
        "pgd": (config.pgd_epsilons, pgd),
        "pgd l2": ((config.l2_epsilon,), partial(pgd, norm="l2")),
    }
    for name, (epsilons, attack) in sized.items():
        compiled = jax.jit(attack)  # once for all sizes
        for epsilon in epsilons:
            y = by_parts(lambda x, key, size=span * epsilon, f=compiled: f(x, size, key), part, key)
            error, confidence = error_of(classifier, y, label)
            metrics[f"{name} error, epsilon {epsilon}"] = error
            metrics[f"{name} confidence, epsilon {epsilon}"] = confidence
            shown[f"{name} {epsilon}"] = y[:SHOWN]
    kept = ("image", f"fgsm {config.epsilons[-1]}", f"pgd {config.pgd_epsilons[-1]}", f"pgd l2 {config.l2_epsilon}")
    shown = {name: shown[name] for name in kept}
    if config.universal_images:
        source = trained.scaled(data.train.head(config.universal_images)["x"])
        found, v = universal(classifier, source, x, span * config.universal_radius, key)
        metrics |= found
        shown["universal"] = jnp.clip(x[:SHOWN] + v, LOWER, UPPER)
        # around the middle grey, in the last row
        shown["the universal one"] = jnp.broadcast_to(v, (SHOWN, *v.shape))
    if config.searched:
        for probe in ("extreme", "change"):
            found, y = searched(classifier, x, test, config, key, probe)
            metrics |= {f"local search by {probe}, {name}": value for name, value in found.items()}
            if len(y):  # of images that are classified correctly
                shown[f"local search by {probe}"] = y[:SHOWN]
    images = {name: np.asarray(to_data(row, data.test.levels, LOWER, UPPER)) for name, row in shown.items()}
    count = min(map(len, images.values()))
    figure = None
    if plotting.drawable(test["x"]):
        figure = plotting.rows({name: row[:count] for name, row in images.items()}, "adversarial samples")
    return metrics, figure


def by_parts(attack: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array, key: jax.Array) -> jax.Array:
    parts = range(0, len(x), ROWS)
    return jnp.concatenate([attack(x[i : i + ROWS], jax.random.fold_in(key, i)) for i in parts])


def error_of(classifier: Callable[[jax.Array], jax.Array], x: jax.Array, label: np.ndarray) -> tuple[float, float]:
    """The fraction of images not classified as their label, and the mean probability of their predictions; zero if all
    are classified correctly.
    """
    logits = in_chunks(classifier, x, size=ROWS)
    wrong = logits.argmax(-1) != label
    probability = np.asarray(jax.nn.softmax(logits)).max(-1)
    return float(wrong.mean()), float(probability[wrong].mean()) if wrong.any() else 0.0


def random_signs(x: jax.Array, size: Any, key: jax.Array) -> jax.Array:
    """Each value moved by `size` up or down, clipped: the control."""
    return jnp.clip(x + size * jax.random.rademacher(key, x.shape, x.dtype), LOWER, UPPER)


def universal(
    classifier: Callable[[jax.Array], jax.Array], source: jax.Array, held_out: jax.Array, radius: float, key: jax.Array
) -> tuple[dict[str, float], jax.Array]:
    """Fooling rates of the universal perturbation and of one of random signs; the perturbation."""
    limits = {"lower": LOWER, "upper": UPPER}
    make = jax.jit(lambda x, key: attacks.universal_perturbation(classifier, x, radius, key, **limits))
    found = make(source, key)
    rate = jax.jit(lambda x, v: attacks.fooling_rate(classifier, x, v, **limits))
    signs = radius * jax.random.rademacher(key, held_out.shape[1:], held_out.dtype)
    return {
        "universal fooling rate, its own images": float(found.fooling_rate),
        "universal fooling rate": float(rate(held_out, found.perturbation)),
        "universal fooling rate, random signs": float(rate(held_out, signs)),
        "universal passes": float(found.passes),
    }, found.perturbation


def searched(
    classifier: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    test: Arrays,
    config: AdversarialSamplesConfig,
    key: Any,
    probe: str,
) -> tuple[dict[str, float], jax.Array]:
    """Local search on the first images that are classified correctly."""
    head = x[: 2 * config.searched]
    right = np.flatnonzero(np.asarray(classifier(head)).argmax(-1) == test["label"][: len(head)])[: config.searched]
    if not len(right):
        return {}, x[:0]
    search = jax.jit(
        lambda x, label, key: attacks.local_search(
            classifier, x, key, lower=LOWER, upper=UPPER, labels=label, max_rounds=config.search_rounds,
            max_candidates=config.search_candidates or None, probe=probe,
        )
    )  # fmt: skip
    found = search(head[right], test["label"][right], key)
    success = np.asarray(found.success)
    change = np.abs(found.x - head[right])[success] / (UPPER - LOWER)
    places = x.shape[1] * x.shape[2]
    metrics = {"success": float(success.mean())}
    if success.any():
        metrics |= {
            "pixels": float(np.asarray(found.pixels)[success].mean()),
            "fraction of pixels": float(np.asarray(found.pixels)[success].mean() / places),
            "mean change": float(change[change > 0].mean()),
            "median queries": float(np.median(np.asarray(found.queries)[success])),
            "queries": float(np.asarray(found.queries)[success].mean()),
        }
    return metrics, found.x


def plot_errors(metrics: Mapping[str, float]) -> Any:
    """Errors over epsilon."""
    curves = {}
    for attack in ("fgsm", "pgd", "random signs"):
        start = f"{attack} error, epsilon "
        points = sorted((float(name.removeprefix(start)), v) for name, v in metrics.items() if name.startswith(start))
        curves[attack] = tuple(np.transpose(points))
    return plotting.lines(curves, "epsilon, as a fraction of the range", "error", whole=True)


if __name__ == "__main__":
    main(AdversarialSamplesConfig, build)
