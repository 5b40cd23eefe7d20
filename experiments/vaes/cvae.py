"""The conditional VAE (Sohn et al. 2015, "Learning Structured Output Representation using Deep Conditional Generative
Models"): images given their labels, their mean grey value (`ink`), or both.

By default the prior is a network of the condition, as in the paper; `--prior standard` makes the latents independent of
it. The plot `classes` decodes the same noise, in each column, with every class. The bound with the condition of another
example of the batch shows how much the model uses the condition.

The paper conditions on a quadrant of the MNIST image, so its results are not comparable.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from experiments.autoencoding import COLUMNS, AutoencoderConfig, autoencoder, experiment
from experiments.config import Experiment
from experiments.run import main
from jaxgen import plotting
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.data import Splits, attributes
from jaxgen.data.sources import Arrays
from jaxgen.models.vaes import conditional_vae
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count

INK_EXAMPLES = 10_000
"""Training examples for the mean and standard deviation of the ink."""


@dataclass(frozen=True, kw_only=True)
class CVAEConfig(AutoencoderConfig):
    batch_size: Count = 64
    latents: Count = 10
    attributes: tuple[Literal["label", "ink"], ...] = ("label",)
    """Conditions: `label` one-hot; `ink`, the mean grey value, standardised on the training split."""
    prior: Literal["conditional", "standard"] = "conditional"
    """Prior of the latents: a network of the condition, or standard normal."""


def ink(batch: Arrays) -> np.ndarray:
    """The mean grey value of each example."""
    return batch["x"].reshape(len(batch["x"]), -1).mean(-1)


def with_attributes(config: CVAEConfig, data: Splits) -> Splits:
    """The splits with a context of the configured attributes."""
    if "label" in config.attributes and data.train.num_classes is None:
        raise ValueError(f"`attributes` needs labels of a known number of classes, got data={config.data!r}")
    classes = {name: data.train.num_classes if name == "label" else None for name in config.attributes}
    inks = ink(data.train.head(INK_EXAMPLES))
    scale = inks.std() if np.ptp(inks) else 1.0

    def make(batch: Arrays) -> np.ndarray:
        return attributes({**batch, "ink": (ink(batch) - inks.mean()) / scale}, classes)

    return data.with_context(make)


def build(config: CVAEConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: `conditional`, which `attributes` replaces; attributes that the data do not have.
    """
    if config.conditional:
        raise ValueError("`conditional` must be False: `attributes` sets the condition")
    data = with_attributes(config, data)
    prior_widths = (config.width,) * 2 if config.prior == "conditional" else None
    model = conditional_vae(autoencoder(config, data), prior_widths)
    plots = {}
    if "label" in config.attributes and plotting.drawable(data.test.head(1)["x"]):
        column, key = config.attributes.index("label"), jax.random.key(config.seed)
        plots["classes"] = partial(plot_classes, data=data, first=column, key=key)
    shared = experiment(config, data, model, data=data, plots=plots)

    def metrics(variables: Variables, batch: Batch, key: Key) -> dict[str, Array]:
        swapped = {**batch, "context": jnp.roll(batch["context"], 1, axis=0)}
        swapped_elbo = model.evaluate(variables, swapped, key)["elbo"]
        return {**shared.metrics(variables, batch, key), "elbo with another example's condition": swapped_elbo}

    return shared._replace(metrics=metrics)


def plot_classes(trained: TrainedModel, data: Splits, first: int, key: Key) -> Any:
    """Samples of each class with the same noise in each column; other attributes are at their mean.

    Args:
        first: the column of the context that holds the first class.
    """
    rows, width = {}, data.train.head(1)["context"].shape[1]
    for label in range(data.train.num_classes):
        context = jnp.zeros((COLUMNS, width)).at[:, first + label].set(1)
        rows[str(label)] = np.asarray(trained.decode(trained.sample_prior(key, COLUMNS, context), context))
    return plotting.rows(rows, "the same noise for every class")


if __name__ == "__main__":
    main(CVAEConfig, build)
