"""The conditional VAE (Sohn et al. 2015, "Learning Structured Output Representation using Deep Conditional Generative
Models"): images given their labels, how much ink they have, or both.

By default the prior is a network of the condition, as in the paper; `--prior standard` makes the latents independent of
it. The picture `classes` shows the same noise, in each column, as every class. That the condition is used shows in what
the bound loses when every image gets the condition of its neighbour in the batch.

The paper's own condition on MNIST is a quadrant of the image, so that its figures are of other tasks.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from experiments.autoencoding import COLUMNS, AutoencoderConfig, autoencoder, experiment
from experiments.shell import Experiment, main
from jaxgen import plotting
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.data import Splits, attributes
from jaxgen.data.sources import Arrays
from jaxgen.models.vaes import conditional_vae
from jaxgen.training import TrainedModel

INK_ROWS = 10_000
"""Training rows that the mean and the deviation of the ink are of."""


@dataclass(frozen=True, kw_only=True)
class CVAEConfig(AutoencoderConfig):
    batch_size: int = 64
    latents: int = 10
    attributes: tuple[Literal["label", "ink"], ...] = ("label",)
    """What is conditioned on: `label` one-hot, `ink` the mean grey value, in standard deviations over training rows."""
    prior: Literal["conditional", "standard"] = "conditional"
    """Whether the prior of the latents is a network of the condition."""


def ink(rows: Arrays) -> np.ndarray:
    """The mean value of each row."""
    return rows["x"].reshape(len(rows["x"]), -1).mean(-1)


def with_attributes(config: CVAEConfig, data: Splits) -> Splits:
    """The splits with a context of the configured attributes."""
    if "label" in config.attributes and data.train.classes is None:
        raise ValueError(f"attributes={config.attributes}: data={config.data!r} has no labels of a known number of classes")
    classes = {name: data.train.classes if name == "label" else None for name in config.attributes}
    some = ink(data.train.head(INK_ROWS))
    scale = some.std() if np.ptp(some) else 1.0

    def make(rows: Arrays) -> np.ndarray:
        return attributes({**rows, "ink": (ink(rows) - some.mean()) / scale}, classes)

    return data.with_context(make)


def build(config: CVAEConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: `conditional`, which this experiment is anyway; attributes that the data do not have.
    """
    if config.conditional:
        raise ValueError("conditional=True: this experiment is so by construction, on what attributes says")
    data = with_attributes(config, data)
    model = autoencoder(config, data)
    model = conditional_vae(model, (config.width,) * 2 if config.prior == "conditional" else None)
    shared = experiment(config, data, model)

    def figures(variables: Variables, batch: Batch, key: Key) -> dict[str, Array]:
        swapped = {**batch, "context": jnp.roll(batch["context"], 1, axis=0)}
        of_another = model.evaluate(variables, swapped, key)["elbo"]
        return {**shared.figures(variables, batch, key), "elbo, each row with another's condition": of_another}

    pictures = dict(shared.pictures)
    if "label" in config.attributes and plotting.drawable(data.test.head(1)["x"]):
        pictures["classes"] = partial(
            of_every_class, data=data, first=config.attributes.index("label"), key=jax.random.key(config.seed)
        )
    return shared._replace(data=data, figures=figures, pictures=pictures)


def of_every_class(bound: TrainedModel, data: Splits, first: int, key: Key) -> Any:
    """Every class's images of the same noise, one draw a column; other attributes are at their mean.

    Args:
        first: the context's column of the first class.
    """
    rows, width = {}, data.train.head(1)["context"].shape[1]
    for label in range(data.train.classes):
        context = jnp.zeros((COLUMNS, width)).at[:, first + label].set(1)
        rows[str(label)] = np.asarray(bound.decode(bound.sample_prior(key, COLUMNS, context), context))
    return plotting.rows(rows, "the same noise as every class")


if __name__ == "__main__":
    main(CVAEConfig, build)
