"""Domain adaptation by translation: a classifier of translated labelled examples, tested in the other domain."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
import optax

from jaxgen.contracts import Array
from jaxgen.data import ArraySource, DataError, Source, Splits, Zipped
from jaxgen.models.classifier import Classifier
from jaxgen.models.translation.domain import other
from jaxgen.nets.features import ConvFeatures
from jaxgen.training import Settings, TrainedModel, fit
from jaxgen.training.chunks import in_chunks

EXAMPLES = 20_000
"""Labelled examples that are translated, at most."""
CHUNK = 500
"""Examples that are translated or classified at a time."""
STEPS = 800
"""Training steps of the classifier, of 128 examples each."""


WAYS = {"b": "a_to_b", "a": "b_to_a"}
"""Names of the two translations, by their target."""


def resized(data: Splits, size: int) -> Splits:
    """Two domains with square images [size, size, C], by linear interpolation with a filter against aliasing."""
    return Splits(*(Zipped({name: _resized(s, size) for name, s in split.sources.items()}) for split in data))


def _resized(source: Source, size: int) -> Source:
    if source.event_shape[:2] == (size, size):
        return source
    if not source.resident or len(source.event_shape) != 3 or source.levels is None:
        raise DataError(f"{source.name} must hold images [H, W, C] in memory to be resized, got {source.event_shape}")

    @jax.jit
    def resize(x: Array) -> Array:
        shape = (x.shape[0], size, size, x.shape[-1])
        y = jax.image.resize(x.astype(np.float32), shape, "linear")
        return y.round().clip(0, source.levels - 1).astype(x.dtype)

    x = source.arrays["x"]
    x = in_chunks(resize, x, size=10_000)
    return ArraySource(
        {**source.arrays, "x": x}, levels=source.levels, name=source.name, num_classes=source.num_classes
    )


def check_adaptation(data: Splits) -> None:
    """Raises:
    DataError: unlabelled data, or domains of different shapes, of which one classifier cannot see both.
    """
    if None in data.train.num_classes.values():
        raise DataError(f"`adaptation` requires labelled data in both domains, got {data.train.name}")
    shapes = [source.event_shape for source in data.train.sources.values()]
    if shapes[0] != shapes[1]:
        raise DataError(f"`adaptation` requires domains of one shape, got {shapes[0]} and {shapes[1]}")


def adaptation_accuracy(
    train: Source, test: Source, translate: Callable[[Array], Array] | None = None, seed: int = 0
) -> float:
    """The accuracy on `test` of a classifier trained on translations of labelled examples of another domain.

    The labels of the target domain are not used in training, nor to choose among steps: the classifier is a small
    convolutional network with dropout, taken after a fixed number of steps.

    Args:
        train: labelled examples of the other domain.
        test: labelled examples of the target domain.
        translate: from examples of `train` to the target domain, both in data units; None: none (source only).
        seed: of the classifier.

    Raises:
        DataError: examples without labels.
    """
    for source in (train, test):
        if source.num_classes is None or not source.resident:
            raise DataError(f"{source.name} must be labelled, in memory, to train or test a classifier")
    x, label = (train.arrays[name][:EXAMPLES] for name in ("x", "label"))
    if translate is not None:
        x = in_chunks(translate, x, size=CHUNK)
    network = ConvFeatures((32, 64), 128, dropout=0.3)
    classifier = Classifier(network, test.event_shape, test.num_classes, test.levels)
    adam = {"classifier": optax.adam(optax.cosine_decay_schedule(1e-3, STEPS))}
    settings = Settings(steps=STEPS, batch_size=128, seed=seed, ema=0.0, steps_per_call=50)
    data = ArraySource({"x": x, "label": label}, levels=test.levels, num_classes=test.num_classes, name="translations")
    trained = fit(classifier, Splits(data), settings, optimizers=adam, progress=False)
    predicted = in_chunks(lambda y: trained.logits(y).argmax(-1), test.arrays["x"], size=CHUNK)
    return float((predicted == test.arrays["label"]).mean())


def adaptation_metrics(data: Splits, trained: TrainedModel, seed: int) -> dict[str, float]:
    """`accuracy_a_to_b`: on b, of a classifier trained on translated examples of a; `source_only_a_to_b`: of one
    trained on the examples themselves; and the same of b to a.
    """
    metrics = {}
    for to, way in WAYS.items():
        train, test = data.train.sources[other(to)], data.test.sources[to]
        for name, translate in (("accuracy", partial(trained.translate, to=to)), ("source_only", None)):
            metrics[f"{name}_{way}"] = adaptation_accuracy(train, test, translate, seed)
    return metrics
