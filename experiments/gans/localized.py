"""The localized GAN (Qi et al. 2018, arXiv:1711.06020): a chart of the data near each row.

The generator is given a row and a few numbers, and draws a neighbour of the row; its tangents at the row are held to be
orthonormal. `rank` is how many of them do not vanish. In the picture each row has an image and its neighbours along the
first of them. The paper's figures are of semi-supervised classification, which is not done here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from experiments.adversarial import COLUMNS, AdversarialConfig, experiment, fields, networks
from experiments.shell import Experiment, main
from jaxgen import plotting
from jaxgen.data import Source, Splits
from jaxgen.models.gans import LocalizedGAN
from jaxgen.models.scaling import from_data
from jaxgen.training import TrainedModel


@dataclass(frozen=True, kw_only=True)
class LocalizedConfig(AdversarialConfig):
    network: Literal["dense"] = "dense"
    """Dense: the tangents are forward derivatives, which convolutions here do not have."""
    width: int = 256
    latents: int = 4
    """Dimension of the charts."""
    origin_weight: float = 1.0
    """Of the squared distance between a row and its own chart's origin."""
    orthonormality_weight: float = 0.1
    """Of the squared distance of the tangents from orthonormal ones."""


def build(config: LocalizedConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: `conditional`, as the rows are the condition.
    """
    if config.conditional:
        raise ValueError("conditional=True: the condition of the localized GAN is the row itself")
    data = Splits(*(with_rows(split) for split in data))
    model = LocalizedGAN(*networks(config, data), **fields(config, data), origin_weight=config.origin_weight)
    model = replace(model, orthonormality_weight=config.orthonormality_weight)

    def charts(bound: TrainedModel) -> Any:
        some, steps = data.test.head(COLUMNS), np.linspace(-3, 3, COLUMNS)
        z = np.zeros((COLUMNS, config.latents), np.float32)
        z[:, 0] = steps
        rows = {
            str(i): np.concatenate([some["x"][i : i + 1], bound.decode(z, np.tile(some["context"][i], (COLUMNS, 1)))])
            for i in range(COLUMNS)
        }
        return plotting.rows(rows, "an image, and its neighbours along one tangent")

    drawable = plotting.drawable(data.test.head(1)["x"]) and len(data.train.event_shape) == 3
    return experiment(config, data, model, data=data, pictures={"charts": charts} if drawable else {})


def with_rows(split: Source) -> Source:
    """A split whose context are its rows, on the networks' scale and flattened."""

    def context(rows: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.asarray(from_data(rows["x"], split.event_shape, split.levels, -1.0, 1.0)).reshape(len(rows["x"]), -1)

    return split.with_context(context)


if __name__ == "__main__":
    main(LocalizedConfig, build)
