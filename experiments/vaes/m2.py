"""The semi-supervised VAE M2 (Kingma et al. 2014, arXiv:1406.5298, section 4.1 and table 1).

`--labels` training examples keep their labels, the same number of each class, chosen by the seed; the others are
unlabelled. On MNIST with 100 labels the paper reports an error of 11.97 % for M2, and of 3.33 % for M2 on the latents
of a pretrained VAE (M1 + M2, not implemented here): accuracies of 0.8803 and 0.9667. Its networks have 500 softplus
units a layer and 50 latents, its Adam 3e-4: `--data mnist.npz --width 500 --learning-rate 3e-4 --steps 300000`. The
baselines are a nearest neighbour and a support vector machine trained on the labelled examples only. In the plot, each
row has the latents of its first image, and the columns are the classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import optax
from flax import linen as nn

from experiments.autoencoding import COLUMNS, NetworksConfig, autoencoder
from experiments.config import Experiment, Published
from experiments.run import main
from jaxgen import plotting
from jaxgen.data import Splits
from jaxgen.data.baselines import classifiers
from jaxgen.data.labels import semi_supervised
from jaxgen.models.vaes import M2
from jaxgen.nets import MLP
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count, Natural, NonNegative

PUBLISHED = {
    data: Published("accuracy", 0.8803, "Kingma et al. 2014, table 1: M2, 100 labels, an error of 11.97 %")
    for data in ("tfds:mnist", "mnist.npz")
}


@dataclass(frozen=True, kw_only=True)
class M2Config(NetworksConfig):
    steps: Count = 3_000
    batch_size: Count = 100
    """Examples per batch from each source, labelled and unlabelled."""
    labels: Natural = 100
    """Training examples that keep their labels."""
    learning_rate: NonNegative = 1e-3
    """Adam's learning rate."""
    alpha: NonNegative = 0.1
    """Weight of the classification loss, times the number of examples."""


def build(config: M2Config, data: Splits) -> Experiment:
    vae = autoencoder(config, data, nn.softplus)
    train = semi_supervised(data.train, config.labels, config.seed)
    classifier = vae.encoder if config.network != "dense" else MLP((config.width,) * 2, nn.softplus)
    model = M2(
        vae, classifier, num_classes=data.train.num_classes, labelled_fraction=config.labels / len(data.train),
        alpha=config.alpha,
    )  # fmt: skip

    def analogies(trained: TrainedModel) -> Any:
        x = data.test.head(COLUMNS)["x"]
        z, each = np.asarray(trained.encode(x)), np.eye(model.num_classes, dtype=np.float32)
        rows = [np.asarray(trained.decode(np.repeat(z[i : i + 1], model.num_classes, 0), each)) for i in range(len(x))]
        shown = {str(i + 1): np.concatenate([x[i : i + 1], row]) for i, row in enumerate(rows)}
        return plotting.rows(shown, "an image, and its latents under every class")

    drawable = plotting.drawable(data.test.head(1)["x"]) and len(vae.event_shape) == 3
    return Experiment(
        model, optimizers=dict.fromkeys(model.plays(), optax.adam(config.learning_rate)),
        plots={"analogies": analogies} if drawable else {}, data=data._replace(train=train),
        baselines=classifiers(train.sources["labelled"], data.test),
    )  # fmt: skip


if __name__ == "__main__":
    main(M2Config, build, PUBLISHED)
