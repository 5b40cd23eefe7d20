"""The localized GAN (Qi et al. 2018, arXiv:1711.06020): a chart of the data near each example.

The generator maps an example and a few latents to a neighbour of the example; a loss makes its tangents at the example
orthonormal. `rank` is the number of tangents that do not vanish. Each row of the plot has an image and its neighbours
along the first tangent. The paper's results on semi-supervised classification are not reproduced.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from experiments.adversarial import COLUMNS, AdversarialConfig, experiment, fields, networks
from experiments.config import Experiment
from experiments.run import main
from jaxgen import plotting
from jaxgen.data import Source, Splits
from jaxgen.models.gans import LocalizedGAN
from jaxgen.models.scaling import from_data
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count, NonNegative


@dataclass(frozen=True, kw_only=True)
class LocalizedConfig(AdversarialConfig):
    network: Literal["dense"] = "dense"
    """Tangents need forward-mode derivatives, which this package's convolutions lack."""
    width: Count = 256
    latents: Count = 4
    """Dimension of the charts."""
    origin_weight: NonNegative = 1.0
    """Weight of the squared distance between an example and its chart's origin."""
    orthonormality_weight: NonNegative = 0.1
    """Weight of the tangents' squared distance from orthonormality."""


def build(config: LocalizedConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: `conditional`; the condition is the example.
    """
    config.check_unconditional("the condition of the localized GAN is the example itself")
    data = Splits(*(with_examples(split) for split in data))
    model = LocalizedGAN(*networks(config, data), **fields(config, data), origin_weight=config.origin_weight)
    model = replace(model, orthonormality_weight=config.orthonormality_weight)

    def charts(trained: TrainedModel) -> Any:
        some, steps = data.test.head(COLUMNS), np.linspace(-3, 3, COLUMNS)
        z = np.zeros((COLUMNS, config.latents), np.float32)
        z[:, 0] = steps
        rows = {
            str(i): np.concatenate([some["x"][i : i + 1], trained.decode(z, np.tile(some["context"][i], (COLUMNS, 1)))])
            for i in range(COLUMNS)
        }
        return plotting.rows(rows, "an image and its neighbours along one tangent")

    drawable = plotting.drawable(data.test.head(1)["x"]) and len(data.train.event_shape) == 3
    return experiment(config, data, model, data=data, plots={"charts": charts} if drawable else {})


def with_examples(split: Source) -> Source:
    """A split whose context is each example itself, on the networks' scale and flattened."""

    def context(batch: Mapping[str, np.ndarray]) -> np.ndarray:
        x = np.asarray(from_data(batch["x"], split.event_shape, split.levels, -1.0, 1.0))
        return x.reshape(len(x), -1)

    return split.with_context(context)


if __name__ == "__main__":
    main(LocalizedConfig, build)
