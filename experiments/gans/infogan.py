"""InfoGAN (Chen et al. 2016, arXiv:1606.03657): codes that a network reads off the samples.

On MNIST the paper has one category of ten values and two numbers beside 62 of noise, DCGAN's networks, Adam 1e-3 for
the generator and 2e-4 for the critic, 5,000 moves of each at batches of 128, and finds that the categories are the
digits but for an error of 5 %: `--data mnist.npz`. Here a category is matched to the digit that it is seen with most
often on validation data, by the recognition network, and `category error` is of test data. In the picture the rows are
categories, the columns one number from -1.5 to 1.5 at the same noise.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from experiments.adversarial import COLUMNS, AdversarialConfig, experiment, fields, networks
from experiments.shell import Experiment, Published, main
from jaxgen import plotting
from jaxgen.data import Source, Splits
from jaxgen.models.gans import GAN, Information
from jaxgen.nets import MLP
from jaxgen.training import TrainedModel

PUBLISHED = {
    data: Published("category error", 0.05, "Chen et al. 2016, section 7.2") for data in ("tfds:mnist", "mnist.npz")
}


@dataclass(frozen=True, kw_only=True)
class InfoGANConfig(AdversarialConfig):
    steps: int = 5_000
    batch_size: int = 128
    latents: int = 62
    learning_rate: float = 1e-3
    values: int = 10
    """Of the categorical code."""
    numbers: int = 2
    """Continuous codes."""
    information_weight: float = 1.0
    """Of the category's information."""
    number_weight: float = 0.1
    """Of that of the continuous codes."""
    shared: bool = True
    """The information moves the layers that the recognition network shares with the critic."""


def build(config: InfoGANConfig, data: Splits) -> Experiment:
    term = Information(
        (config.values,), config.numbers, MLP((128,), nn.leaky_relu), config.information_weight, config.number_weight,
        config.shared,
    )  # fmt: skip
    model = GAN(*networks(config, data), **fields(config, data), terms=(term,))
    made = experiment(config, data, model)

    def report(bound: TrainedModel) -> dict[str, float]:
        figures = {} if made.report is None else made.report(bound)
        return {**figures, **(category_error(term, bound, data) if data.train.classes else {})}

    def codes(bound: TrainedModel) -> Any:
        noise = np.asarray(bound.model.noise(jax.random.key(0), 1))[:, : config.latents]
        rows = {}
        for value in range(config.values):
            z = np.tile(np.concatenate([noise[0], np.eye(config.values)[value], np.zeros(config.numbers)]), (COLUMNS, 1))
            if config.numbers:
                z[:, config.latents + config.values] = np.linspace(-1.5, 1.5, COLUMNS)
            rows[str(value)] = np.asarray(bound.decode(np.float32(z)))
        return plotting.rows(rows, "each category, and the first number from -1.5 to 1.5")

    drawable = plotting.drawable(data.test.head(1)["x"]) and len(data.train.event_shape) == 3
    return made._replace(report=report, pictures={**made.pictures, **({"codes": codes} if drawable else {})})


def category_error(term: Information, bound: TrainedModel, data: Splits) -> dict[str, float]:
    """The share of test rows whose most likely category is of another class, each category being of the class that it
    is seen with most often on validation rows."""

    def categories(source: Source) -> tuple[np.ndarray, np.ndarray]:
        rows = source.head(len(source))
        outputs = (bound.critic_output(rows["x"][i : i + 1000]) for i in range(0, len(source), 1000))
        seen = [np.asarray(term.recognize(bound.variables, output)[0][0]).argmax(-1) for output in outputs]
        return np.concatenate(seen), rows["label"]

    seen, label = categories(data.valid)
    table = np.zeros((term.categories[0], data.train.classes))
    np.add.at(table, (seen, label), 1)
    seen, label = categories(data.test)
    return {"category error": float((table.argmax(1)[seen] != label).mean())}


if __name__ == "__main__":
    main(InfoGANConfig, build, PUBLISHED)
