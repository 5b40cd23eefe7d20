"""InfoGAN (Chen et al. 2016, arXiv:1606.03657): codes that a network recovers from the samples.

Result: category error 0.694 on MNIST after 1,500 of the paper's 5,000 steps, three minutes on two cores, by `python
-m experiments.studies.gans`.

On MNIST the paper uses a categorical code of ten values, two continuous codes and 62 noise dimensions, DCGAN's
networks, Adam at 1e-3 for the generator and 2e-4 for the critic, 5,000 updates of each at batches of 128, and its
categories match the digits with an error of 5 %: `--data mnist.npz`. Here the recognition network assigns each category
to its most frequent digit on validation data, and `category error` is measured on test data. In the plot the rows are
categories, the columns one continuous code from -1.5 to 1.5 with the same noise.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from experiments.adversarial import COLUMNS, AdversarialConfig, experiment, fields, networks
from experiments.config import Experiment, Published
from experiments.run import main
from jaxgen import plotting
from jaxgen.contracts import Array, Batch
from jaxgen.data import Source, Splits
from jaxgen.data.splits import split_array
from jaxgen.metrics.probes import category_error
from jaxgen.models.gans import GAN, Information
from jaxgen.nets import MLP
from jaxgen.training import TrainedModel
from jaxgen.training.latents import map_batches
from jaxgen.training.ranges import Count, Natural, NonNegative

PUBLISHED = {
    data: Published("category error", 0.05, "Chen et al. 2016, section 7.2", 5_000)
    for data in ("tfds:mnist", "mnist.npz")
}


@dataclass(frozen=True, kw_only=True)
class InfoGANConfig(AdversarialConfig):
    steps: Count = 5_000
    batch_size: Count = 128
    latents: Count = 62
    learning_rate: NonNegative = 1e-3
    values: Count = 10
    """Values of the categorical code."""
    numbers: Natural = 2
    """Number of continuous codes."""
    information_weight: NonNegative = 1.0
    """Weight of the mutual information of the categorical code."""
    number_weight: NonNegative = 0.1
    """Weight of the mutual information of the continuous codes."""
    shared: bool = True
    """The information loss also trains the layers that the recognition network shares with the critic."""


def build(config: InfoGANConfig, data: Splits) -> Experiment:
    term = Information(
        (config.values,), config.numbers, MLP((128,), nn.leaky_relu), config.information_weight, config.number_weight,
        config.shared,
    )  # fmt: skip
    model = GAN(*networks(config, data), **fields(config, data), terms=(term,))

    def final_metrics(trained: TrainedModel) -> dict[str, float]:
        if not data.train.num_classes:
            return {}
        valid, test = (recognised(term, trained, split) for split in (data.valid, data.test))
        return {"category error": category_error(*valid, *test, config.values)}

    def codes(trained: TrainedModel) -> Any:
        noise = np.asarray(trained.model.noise(jax.random.key(0), 1))[:, : config.latents]
        rows = {}
        for value in range(config.values):
            one_hot = np.eye(config.values)[value]
            z = np.tile(np.concatenate([noise[0], one_hot, np.zeros(config.numbers)]), (COLUMNS, 1))
            if config.numbers:
                z[:, config.latents + config.values] = np.linspace(-1.5, 1.5, COLUMNS)
            rows[str(value)] = np.asarray(trained.decode(np.float32(z)))
        return plotting.rows(rows, "each category, and the first number from -1.5 to 1.5")

    drawable = plotting.drawable(data.test.head(1)["x"]) and len(data.train.event_shape) == 3
    plots = {"codes": codes} if drawable and not config.conditional else {}
    return experiment(config, data, model, final_metrics=final_metrics, plots=plots)


def recognised(
    term: Information, trained: TrainedModel, source: Source, batch_size: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    """The most likely value of the first category of each example of a split, [N], and the labels, [N]."""

    def category(batch: Batch) -> Array:
        return term.recognize(trained.variables, trained.critic_output(batch["x"], batch.get("context")))[0][0]

    return np.asarray(map_batches(category, source, batch_size)).argmax(-1), split_array(source, "label")


if __name__ == "__main__":
    main(InfoGANConfig, build, PUBLISHED)
