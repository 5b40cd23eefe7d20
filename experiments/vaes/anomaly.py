"""Anomaly detection by a variational autoencoder that has seen normal rows only (An and Cho 2015, "Variational
Autoencoder based Anomaly Detection using Reconstruction Probability").

One class is the anomaly: it is left out of the training rows, and test rows of all classes are scored by minus their
reconstruction probability E_q[log p(x|z)], by minus the bound on log p(x), and by minus a tighter one by importance
sampling. Beside them stand an isolation forest and the reconstruction error of principal components on the very same
rows. A checkpoint is chosen by its bound on normal validation rows; what is called an anomaly, by the best F1 on
validation rows of both kinds. Validation rows are training rows that nothing is trained on, and no test row is looked
at before the end.

    python -m experiments.vaes.anomaly --data digits --held-out 4
    python -m experiments.vaes.anomaly --data records.npz --floor 0.1

The second is of records such as those of network traffic, in a file as `jaxgen.data.files.load` describes it, with labels
of 1 for attacks: numeric columns get one scale, heavy tails a logarithm, categorical columns are one-hot, all as the
normal training rows have them. The paper's own sets are MNIST, each digit held out in turn, and the records of KDD Cup
1999; its likelihood is a Gaussian whose variance the decoder gives for each coordinate. Such a variance needs a floor,
here `floor` on the standard deviation: without it a coordinate that hardly varies outweighs all others.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from experiments.autoencoding import AutoencoderConfig, autoencoder, experiment, in_batches, latent_map
from experiments.shell import Experiment, main
from jaxgen import plotting
from jaxgen.contracts import Array
from jaxgen.data import ArraySource, Source, Splits
from jaxgen.data.tables import Columns
from jaxgen.distributions.likelihoods import Gaussian
from jaxgen.metrics import average_precision, best_f1_threshold, precision_recall, roc_auc, roc_curve
from jaxgen.training import TrainedModel

METHODS = ("reconstruction", "elbo", "log_prob")
"""Of `VAE.anomaly_score`."""
COMPONENTS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Numbers of principal components, of which the AUC on validation rows chooses one."""
ROWS = 4096
"""Rows that are read at once."""


@dataclass(frozen=True, kw_only=True)
class AnomalyConfig(AutoencoderConfig):
    steps: int = 4000
    batch_size: int = 128
    likelihood: Literal["bernoulli", "gaussian", "discretized_logistic"] = "gaussian"
    """`gaussian` is of integer images scaled to [0, 1], and the only one for records."""
    latents: int = 8
    """Dimension of the latent space."""
    importance_samples: int = 100
    held_out: int | None = None
    """The class that is the anomaly; by default the last one, which is the attacks of records with labels 0 and 1."""
    score_samples: int = 20
    """Draws of the latents for each score."""
    std: float | None = None
    """Of the Gaussian likelihood; by default it is learned, for each coordinate, as the decoder's second output."""
    floor: float = 0.2
    """Learned ones stay above it."""
    limit: float = 5.0
    """Of numeric columns of records, in standard deviations."""


def build(config: AnomalyConfig, data: Splits) -> Experiment:
    held_out = _held_out(config, data)
    data = _one_scale(config, data, held_out)
    train, valid, test = (in_batches(lambda batch: batch["label"], split, ROWS) == held_out for split in data)
    if not (valid.any() and test.any()) or train.all():
        raise ValueError(f"data={config.data!r} lacks rows of class {held_out}, or of others, in one of its splits")
    normal = Splits(*(
        split.subset(np.flatnonzero(~anomalous)) for split, anomalous in zip(data, (train, valid, test), strict=True)
    ))
    model = autoencoder(config, normal)
    if config.likelihood == "gaussian":
        model = dataclasses.replace(model, likelihood=Gaussian(config.std, config.floor))
    base = experiment(config, normal, model)

    @functools.cache
    def scored(bound: TrainedModel) -> dict[str, tuple[Array, Array]]:
        """By method, the scores of the validation and of the test rows."""
        return {by: tuple(_scores(config, bound, split, by) for split in (data.valid, data.test)) for by in METHODS}

    def report(bound: TrainedModel) -> dict[str, float]:
        found = dict(base.report(bound))
        for by, scores in scored(bound).items():
            found |= detection(by, *scores, valid, test)
        return found

    def histograms(bound: TrainedModel) -> Any:
        groups = {by: {"normal": s[~test], "anomalous": s[test]} for by, (_, s) in scored(bound).items()}
        thresholds = {by: float(best_f1_threshold(s, valid)) for by, (s, _) in scored(bound).items()}
        return plotting.histograms(groups, "score in nats", thresholds)

    def roc(bound: TrainedModel) -> Any:
        curves = {by: roc_curve(s, test) for by, (_, s) in scored(bound).items()}
        return plotting.lines(curves, "share of normal rows called anomalous", "share of anomalies found", whole=True)

    def latents(bound: TrainedModel) -> Any:
        return latent_map(bound, data, config.eval_batch)

    pictures = {**base.pictures, "latents": latents, "scores": histograms, "roc": roc}
    baselines = _baselines(config, normal.train, data, valid, test)
    return base._replace(report=report, pictures=pictures, baselines=baselines, data=normal)


def detection(method: str, valid_scores: Array, test_scores: Array, valid: Array, test: Array) -> dict[str, float]:
    """Figures of the test rows' scores; the threshold is the validation rows' best.

    Args:
        valid, test: which rows are anomalies.
    """
    threshold = best_f1_threshold(valid_scores, valid)
    precision, recall = precision_recall(test_scores, test, threshold)
    area, average = roc_auc(test_scores, test), average_precision(test_scores, test)
    figures = {"AUC": area, "average precision": average, "precision": precision, "recall": recall}
    return {f"{figure}, {method}": float(value) for figure, value in figures.items()}


def _held_out(config: AnomalyConfig, data: Splits) -> int:
    if config.conditional:
        raise ValueError("conditional=True gives the model the label that it is to find: it has to be False")
    if data.train.classes is None:
        raise ValueError(f"data={config.data!r} has no classes: labels 0, 1, ... are needed, one of them the anomaly")
    held_out = data.train.classes - 1 if config.held_out is None else config.held_out
    if not 0 <= held_out < data.train.classes:
        raise ValueError(f"held_out={held_out} is none of the {data.train.classes} classes of data={config.data!r}")
    return held_out


def _one_scale(config: AnomalyConfig, data: Splits, held_out: int) -> Splits:
    """Records as rows of numbers of one scale, learned from the normal training rows; other data as they are."""
    if "categories" not in data.train.head(1):
        return data
    if config.likelihood != "gaussian":
        raise ValueError(f"likelihood={config.likelihood!r} is of images, data={config.data!r} are records: 'gaussian' is needed")
    tables = [split.head(len(split)) for split in data]
    x, categories = (tables[0][name][tables[0]["label"] != held_out] for name in ("x", "categories"))
    columns = Columns.of(x, categories, config.limit)

    def scaled(split: Source, table: Mapping[str, np.ndarray]) -> Source:
        rows = {"x": columns(table["x"], table["categories"]), "label": table["label"]}
        return ArraySource(rows, name=split.name, classes=split.classes)

    return Splits(*(scaled(split, table) for split, table in zip(data, tables, strict=True)))


def _scores(config: AnomalyConfig, bound: TrainedModel, source: Source, by: str) -> Array:
    """[rows], a fresh key for each batch of them."""
    keys = iter(jax.random.split(jax.random.key(config.seed), -(-len(source) // config.eval_batch)))

    def score(batch: Mapping[str, np.ndarray]) -> Array:
        return bound.anomaly_score(batch["x"], next(keys), None, by, config.score_samples, config.chunk)

    return in_batches(score, source, config.eval_batch)


def _baselines(config: AnomalyConfig, train: Source, data: Splits, valid: Array, test: Array) -> dict[str, float]:
    """The same figures of two methods of scikit-learn."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import IsolationForest

    def flat(source: Source) -> np.ndarray:
        return np.asarray(in_batches(lambda batch: batch["x"].reshape(len(batch["x"]), -1), source, ROWS), np.float64)

    rows, valid_rows, test_rows = flat(train), flat(data.valid), flat(data.test)
    forest = IsolationForest(random_state=config.seed).fit(rows)
    figures = detection(
        "isolation forest", *(jnp.asarray(-forest.score_samples(x)) for x in (valid_rows, test_rows)), valid, test
    )
    pca = PCA(min(COMPONENTS[-1], *rows.shape)).fit(rows)

    def error(x: np.ndarray, components: int) -> Array:
        """The squared distance to the plane of so many components."""
        x = x - pca.mean_
        along = x @ pca.components_[:components].T
        return jnp.asarray(((x - along @ pca.components_[:components]) ** 2).sum(1))

    # no score is left where all components are there
    known = [components for components in COMPONENTS if components < min(rows.shape)]
    best = max(known, key=lambda components: roc_auc(error(valid_rows, components), valid))
    return figures | detection("PCA", error(valid_rows, best), error(test_rows, best), valid, test)


if __name__ == "__main__":
    main(AnomalyConfig, build)
