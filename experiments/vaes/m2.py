"""The semi-supervised VAE M2 (Kingma et al. 2014, arXiv:1406.5298, section 4.1 and table 1).

Of the training rows `--labels` keep their labels, as many of each class, chosen by the seed; the others are unlabelled.
On MNIST with 100 labels the paper reports an error of 11.97 % for M2, and of 3.33 % for M2 on the latents of a VAE
that was trained before (M1 + M2, which is not this one): accuracies of 0.8803 and 0.9667. Its networks have 500
softplus units a layer and 50 latents, its Adam 3e-4: `--data mnist.npz --width 500 --learning-rate 3e-4 --steps
300000`. The baselines are a nearest neighbour and a support vector machine that see the labelled rows alone. In the
picture, each row has the latents of its first image, and the columns are the classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import optax
from flax import linen as nn

from experiments.autoencoding import COLUMNS, NetworksConfig, autoencoder
from experiments.shell import Experiment, Published, main
from jaxgen import plotting
from jaxgen.data import Source, Splits, Zipped
from jaxgen.models.vaes import M2
from jaxgen.nets import MLP
from jaxgen.training import TrainedModel

PUBLISHED = {
    data: Published("accuracy", 0.8803, "Kingma et al. 2014, table 1: M2, 100 labels, an error of 11.97 %")
    for data in ("tfds:mnist", "mnist.npz")
}


@dataclass(frozen=True, kw_only=True)
class M2Config(NetworksConfig):
    steps: int = 3_000
    batch_size: int = 100
    """Rows of each source: labelled and unlabelled."""
    labels: int = 100
    """Training rows that keep their labels."""
    learning_rate: float = 1e-3
    """Of Adam."""
    alpha: float = 0.1
    """Weight of the classification, times the number of rows."""


def build(config: M2Config, data: Splits) -> Experiment:
    vae = autoencoder(config, data, nn.softplus)
    sources = semi_supervised(data.train, config.labels, config.seed)
    classifier = vae.encoder if config.network != "dense" else MLP((config.width,) * 2, nn.softplus)
    model = M2(
        vae, classifier, num_classes=data.train.classes, labelled_fraction=config.labels / len(data.train),
        alpha=config.alpha,
    )  # fmt: skip
    plays = {name: play._replace(optimizer=optax.adam(config.learning_rate)) for name, play in model.plays().items()}

    def analogies(bound: TrainedModel) -> Any:
        x = data.test.head(COLUMNS)["x"]
        z, each = np.asarray(bound.encode(x)), np.eye(model.num_classes, dtype=np.float32)
        rows = [np.asarray(bound.decode(np.repeat(z[i : i + 1], model.num_classes, 0), each)) for i in range(len(x))]
        drawn = {str(i + 1): np.concatenate([x[i : i + 1], row]) for i, row in enumerate(rows)}
        return plotting.rows(drawn, "an image, and its latents under every class")

    drawable = plotting.drawable(data.test.head(1)["x"]) and len(vae.event_shape) == 3
    return Experiment(
        model, plays, pictures={"analogies": analogies} if drawable else {},
        baselines=from_labels_alone(sources, data.test), data=data._replace(train=sources),
    )


def semi_supervised(train: Source, labels: int, seed: int) -> Zipped:
    """Sources `labelled`, as many rows of each class, and `unlabelled`, the others without their labels.

    Raises:
        ValueError: rows without labels; a number of labels that cannot be divided over the classes or is too large.
    """
    rows = train.head(len(train))
    if "label" not in rows or train.classes is None:
        raise ValueError(f"{train.name} has no labels of a known number of classes: semi-supervised learning needs some")
    each, rest = divmod(labels, train.classes)
    if rest or not each:
        raise ValueError(f"labels={labels} was given; it has to be a multiple of the {train.classes} classes")
    order = np.random.default_rng(seed).permutation(len(train))
    of_class = [order[rows["label"][order] == c] for c in range(train.classes)]
    if min(map(len, of_class)) <= each:
        raise ValueError(f"labels={labels} was given; the smallest class has {min(map(len, of_class))} rows")
    chosen = np.concatenate([members[:each] for members in of_class])
    others = np.concatenate([members[each:] for members in of_class])
    return Zipped({"labelled": train.subset(chosen), "unlabelled": train.subset(others)})


def from_labels_alone(sources: Zipped, test: Source) -> dict[str, float]:
    """The accuracy of two classifiers of scikit-learn that are fitted to the labelled rows."""
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    def flat(rows):
        return rows["x"].reshape(len(rows["x"]), -1).astype(np.float32)

    labelled, unseen = sources.sources["labelled"].head(len(sources.sources["labelled"])), test.head(len(test))
    kinds = {"nearest neighbour": KNeighborsClassifier(1), "support vector machine": SVC()}
    return {
        f"{name} on the labelled rows, accuracy": float(
            kind.fit(flat(labelled), labelled["label"]).score(flat(unseen), unseen["label"])
        )
        for name, kind in kinds.items()
    }


if __name__ == "__main__":
    main(M2Config, build, PUBLISHED)
