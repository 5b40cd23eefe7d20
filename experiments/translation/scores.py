"""Scores of translations whose truth is known, of any method: distances to the truth, and judges of what they show."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgen.data import Splits
from jaxgen.data.splits import split_array
from jaxgen.metrics import frechet_distance, psnr, retrieval_accuracy, segmentation_scores
from jaxgen.nets.vgg import load_vgg
from jaxgen.training import TrainedModel, load
from jaxgen.training.chunks import in_chunks

LAYER = "relu2_1"
"""Of the trunk; the features of a position see 14x14 pixels."""
CHUNK = 64
"""Pictures whose features are computed at a time."""


class Judges(NamedTuple):
    """What judges translations beside their distance to the truth.

    Attributes:
        segmenter: a trained `Segmenter` of the same label maps; None: no label-back scores.
        trunk: path of the arrays of a VGG (`jaxgen.nets.vgg.load_vgg`); None: no distance of features.
    """

    segmenter: TrainedModel | None = None
    trunk: Path | None = None

    @classmethod
    def load(cls, segmenter: Path | None, trunk: Path | None) -> Judges:
        return cls(None if segmenter is None else load(segmenter), trunk)


def pairs(split: Any) -> tuple[np.ndarray, np.ndarray]:
    """All examples of a and of b."""
    return tuple(split_array(split.sources[name], "x") for name in ("a", "b"))


def paired_scores(x: Any, fake: Any, y: Any, judges: Judges = Judges()) -> dict[str, float]:
    """The metrics of all translations of a split, images with 256 levels.

    `l1` and `psnr`, in decibels, of pictures in [0, 1]; `retrieval`, the fraction whose nearest true picture is their
    own; `label_back_...`, the scores of a segmentation of the translation against the label map that it is of;
    `frechet_relu2_1`, the Frechet distance between the features of the trunk at all positions.

    Args:
        x, fake, y: inputs, translations and their truth, uint8 [N, H, W, C].
    """
    one, other = _fractions(fake), _fractions(y)
    metrics = {
        "l1": float(np.abs(one - other).mean()),
        "psnr": float(psnr(one, other, 1.0).mean()),
        "retrieval": float(retrieval_accuracy(one, other)),
    }
    if judges.segmenter is not None:
        metrics |= {f"label_back_{name}": value for name, value in label_scores(judges.segmenter, x, fake).items()}
    if judges.trunk is not None:
        metrics[f"frechet_{LAYER}"] = frechet_distance(*(trunk_features(judges.trunk, part) for part in (other, one)))
    return metrics


def label_scores(segmenter: TrainedModel, maps: Any, pictures: Any) -> dict[str, float]:
    """The `segmentation_scores` of pictures against the label maps that they show, both in data units.

    Of translations from these maps, this is the label-back score.
    """
    labels = segmenter.model.labels(maps)
    found = in_chunks(lambda part: segmenter.logits(part).argmax(-1), pictures, size=CHUNK)
    scores = segmentation_scores(found, labels, segmenter.model.num_classes)
    return {name: float(value) for name, value in scores.items()}


def trunk_features(path: Path, pictures: np.ndarray) -> np.ndarray:
    """Features of pictures in [0, 1] at all positions, [N H' W', C]."""
    coloured = np.broadcast_to(pictures, (*pictures.shape[:-1], 3))
    features = in_chunks(_trunk(path), coloured, size=CHUNK)
    return features.reshape(-1, features.shape[-1])


@functools.lru_cache(maxsize=1)
def _trunk(path: Path) -> Callable[[np.ndarray], Any]:
    """The compiled trunk, read once: translations and truth, of all methods, are its inputs."""
    network, variables = load_vgg(path, LAYER)
    return jax.jit(lambda x: network.apply(variables, x)[LAYER])


def baselines(data: Splits) -> Mapping[str, np.ndarray]:
    """Translations of the test split by simple methods.

    `mean picture` of the training split; `input`, where it has the shape of the output; `mean colour of each class`, of
    the training pictures, where the input is a label map, which has few colours.
    """
    (train_x, train_y), (x, y) = pairs(data.train), pairs(data.test)
    methods = {"mean picture": np.broadcast_to(_nearest(train_y.mean(0)), y.shape)}
    if x.shape == y.shape:
        methods["input"] = x
    colours, classes = np.unique(train_x.reshape(-1, train_x.shape[-1]), axis=0, return_inverse=True)
    if len(colours) <= 64:
        sums = np.zeros((len(colours), y.shape[-1]))
        np.add.at(sums, classes.ravel(), train_y.reshape(-1, y.shape[-1]))
        means = _nearest(sums / np.bincount(classes.ravel())[:, None])
        distances = ((x[..., None, :].astype(np.int32) - colours) ** 2).sum(-1)
        methods["mean colour of each class"] = means[distances.argmin(-1)]
    return methods


def baselines_l1(data: Splits) -> dict[str, float]:
    """The `l1` of `paired_scores`, of each of the `baselines`."""
    y = _fractions(pairs(data.test)[1])
    return {f"{name}, l1": float(np.abs(_fractions(fake) - y).mean()) for name, fake in baselines(data).items()}


def _fractions(pictures: Any) -> np.ndarray:
    return np.asarray(pictures, np.float32) / 255


def _nearest(values: np.ndarray) -> np.ndarray:
    return np.round(values).astype(np.uint8)
