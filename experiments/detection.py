"""Shared by experiments on anomaly detection: which examples are anomalies, metrics and plots of scores, baselines."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.config import Config
from jaxgen import plotting
from jaxgen.contracts import Array
from jaxgen.data import Source, Splits
from jaxgen.data.splits import split_array
from jaxgen.metrics import best_f1_threshold, roc_auc, roc_curve
from jaxgen.metrics.anomalies import anomaly_baselines, detection_metrics
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count, Natural


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectionConfig(Config):
    """The fields of an experiment on anomaly detection."""

    held_out: Natural | None = None
    """The anomalous class; by default the last one (attacks in records with labels 0 and 1)."""
    normal: Natural | None = None
    """The only normal class, in place of `held_out`: all others are anomalous."""
    train_examples: Count | None = None
    """Normal examples to train on, the first ones; by default all."""
    baselines: bool = True
    """Measure an isolation forest and principal components too."""


class Task(NamedTuple):
    """Which examples are anomalies.

    Attributes:
        normal: the splits without anomalies: training examples, and those that choose a checkpoint.
        valid, test: booleans of the validation and of the test examples, [N] and [M].
        labels: the classes of the test examples, [M].
        kinds: the anomalous classes, if there are several.
    """

    normal: Splits
    valid: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    kinds: tuple[int, ...]


class Anomalies(NamedTuple):
    """`label -> whether it is an anomaly`: those of a class, or those of all others.

    Attributes:
        chosen: the class.
        normal: whether it is the only normal one.
    """

    chosen: int
    normal: bool

    @classmethod
    def of(cls, config: DetectionConfig, data: Splits) -> Anomalies:
        """Raises:
        ValueError: a conditional model; data without classes; a class that the data do not have; both fields.
        """
        config.check_unconditional("the model predicts the label")
        classes = data.train.num_classes
        if classes is None:
            raise ValueError(f"`data` must have labels of a known number of classes, got {config.data!r}")
        if config.held_out is not None and config.normal is not None:
            raise ValueError(f"`held_out` must be None if `normal` is given, got {config.held_out} and {config.normal}")
        name = "held_out" if config.normal is None else "normal"
        chosen = getattr(config, name)
        chosen = classes - 1 if chosen is None else chosen
        if chosen >= classes:
            raise ValueError(f"`{name}` must be below the {classes} classes of data={config.data!r}, got {chosen}")
        return cls(chosen, name == "normal")

    def __call__(self, label: np.ndarray) -> np.ndarray:
        return (label == self.chosen) != self.normal


def detection_task(config: DetectionConfig, data: Splits) -> Task:
    """Raises:
    ValueError: as `Anomalies.of`; no normal examples in a split, or no anomalies in the test split.
    """
    anomalous = Anomalies.of(config, data)
    masks = [anomalous(split_array(split, "label")) for split in data]
    if any(mask.all() for mask in masks) or not masks[2].any():
        raise ValueError(
            f"`data` must have normal examples in each split and anomalies in the test split, got {config.data!r} with "
            f"{'normal' if anomalous.normal else 'anomalous'} class {anomalous.chosen}"
        )
    indices = [np.flatnonzero(~mask) for mask in masks]
    indices[0] = indices[0][: config.train_examples]
    normal = Splits(*(split.subset(chosen) for split, chosen in zip(data, indices, strict=True)))
    labels = split_array(data.test, "label")
    kinds = tuple(np.unique(labels[masks[2]]).tolist())
    return Task(normal, masks[1], masks[2], labels, kinds if len(kinds) > 1 else ())


def detection_fields(
    config: DetectionConfig, data: Splits, task: Task, methods: Sequence[str],
    score: Callable[[TrainedModel, Source, str], Array],
) -> dict[str, Any]:  # fmt: skip
    """Fields of an `Experiment`: metrics of anomaly scores, plots and baselines. Nothing of the model depends on them.

    Args:
        data: all examples, in the model's units.
        methods: names of scores, the first one for the headline.
        score: `(trained, source, method) -> [N]`, greater for anomalies.
    """

    @functools.cache
    def scores(trained: TrainedModel) -> Mapping[str, tuple[Array, Array]]:
        """The scores of the validation and the test examples, by method."""
        return {by: tuple(score(trained, split, by) for split in (data.valid, data.test)) for by in methods}

    def final_metrics(trained: TrainedModel) -> dict[str, float]:
        metrics = {}
        for by, (valid_scores, test_scores) in scores(trained).items():
            metrics |= detection_metrics(by, valid_scores, test_scores, task.valid, task.test)
            for kind in task.kinds:
                among = ~task.test | (task.labels == kind)
                metrics[f"AUC, {by}, class {kind}"] = float(
                    roc_auc(test_scores[jnp.asarray(among)], jnp.asarray(task.test[among]))
                )
        return metrics

    def histograms(trained: TrainedModel) -> Any:
        groups = {by: {"normal": s[~task.test], "anomalous": s[task.test]} for by, (_, s) in scores(trained).items()}
        thresholds = None
        if task.valid.any():
            thresholds = {by: float(best_f1_threshold(s, task.valid)) for by, (s, _) in scores(trained).items()}
        return plotting.histograms(groups, "score", thresholds)

    def roc(trained: TrainedModel) -> Any:
        curves = {by: roc_curve(s, task.test) for by, (_, s) in scores(trained).items()}
        return plotting.lines(curves, "false positive rate", "true positive rate", whole=True)

    baselines = {}
    if config.baselines:
        arrays = (split_array(split, "x") for split in (task.normal.train, data.valid, data.test))
        baselines = anomaly_baselines(*arrays, task.valid, task.test, config.seed)
    return {
        "final_metrics": final_metrics,
        "plots": {"scores": histograms, "roc": roc},
        "baselines": baselines,
        "headline": tuple(f"AUC, {by}" for by in methods[:2]),
        "data": task.normal,
    }
