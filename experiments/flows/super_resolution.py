"""Super-resolution as a conditional density, p(high | low) (Winkler et al. 2019, "Learning Likelihoods with Conditional
Normalizing Flows", arXiv:1912.00042; Lugmayr et al. 2020, "SRFlow", arXiv:2006.14200).

Result with `--temperature 0.9`, a minute and a half on one core: 1.483 bits/dim, and 19.18 dB for the mean of 16
samples (bicubic 13.50).

RealNVP over images whose context is their own low resolution, the means of 2 x 2 pixels, resized for every coupling and
prior; SRFlow's own network is `experiments.flows.sr_flow`. The defaults are those of a first run, 4 x 4 to 8 x 8
digits; `--data patches` goes from 16 x 16 to 32 x 32 in colour, as Winkler et al. do on ImageNet. The mean of several
samples estimates the conditional mean, which the peak signal-to-noise ratio (PSNR) rewards; a single sample is sharper
and scores lower. The baselines are bicubic up-sampling and linear regression. The PSNR of a sample's own low resolution
measures how well it agrees with its input, the standard deviation of a pixel over samples their diversity.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.flows import real_nvp
from experiments.likelihood import LikelihoodConfig, image_shape
from experiments.config import Experiment
from experiments.run import main
from jaxgen import plotting
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.data import Splits
from jaxgen.data.images import low_resolution
from jaxgen.metrics import psnr
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count, NonNegative

TEMPERATURES = (0.0, 0.7, 0.9, 1.0)
DRAWS = 16
"""Samples whose mean estimates the conditional mean."""
TEST_DRAWS = 4
"""Samples of the dequantization noise for test metrics: each comes with more than `DRAWS` samples of images."""
REGRESSION_EXAMPLES = 10_000
COLUMNS = 12


@dataclass(frozen=True, kw_only=True)
class ConditionalConfig(LikelihoodConfig):
    """The fields of every flow that is conditioned on a low resolution."""

    factor: Count = 2
    """Ratio of the resolutions."""
    temperature: NonNegative = 1.0
    """Scale of the latents of samples, in metrics that do not name another, and in plots."""


@dataclass(frozen=True, kw_only=True)
class SuperResolutionConfig(real_nvp.RealNVPConfig, ConditionalConfig):
    pass


def build(config: SuperResolutionConfig, data: Splits) -> Experiment:
    return super_resolution(config, data, real_nvp.build)


def super_resolution(
    config: ConditionalConfig, data: Splits, build: Callable[[Any, Splits], Experiment]
) -> Experiment:
    """The experiment that `build` makes of images with their low resolution as context, with metrics and plots."""
    shape, levels = image_shape(config, data)
    data = data.with_context(lambda batch: low_resolution(batch["x"], levels, config.factor))
    experiment = build(config, data)
    model, peak = experiment.model, levels - 1

    def greys(low: Array) -> Array:
        return (low + 1) / 2 * peak

    def bicubic(low: Array) -> Array:
        return jnp.clip(jax.image.resize(greys(low), (len(low), *shape), "cubic"), 0, peak)

    def decibels(x: Array, truth: Array) -> Array:
        return psnr(x, truth, peak).mean()

    def metrics(variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        x, low = batch["x"], batch["context"]

        def sample(key: Key, temperature: float = config.temperature) -> Array:
            return model.sample(variables, key, len(x), low, temperature)

        by_temperature = {f"psnr in dB, temperature {t}": decibels(sample(key, t), x) for t in TEMPERATURES}
        samples = jax.lax.map(sample, jax.random.split(key, DRAWS)).astype(jnp.float32)
        again = low_resolution(sample(key), levels, config.factor)
        return {
            **by_temperature,
            f"psnr in dB, mean of {DRAWS} samples": decibels(samples.mean(0), x),
            "psnr in dB, low resolution of a sample": psnr(again, low, 2).mean(),
            "diversity in grey levels": samples.std(0).mean(),
        }

    def regression() -> Callable[[Array], Array]:
        """Linear regression of the image on its low resolution, by least squares."""

        def inputs(low: Array) -> np.ndarray:
            return np.insert(np.reshape(low, (len(low), -1)), 0, 1, axis=1)

        batch = data.train.head(REGRESSION_EXAMPLES)
        weights = np.linalg.lstsq(inputs(batch["context"]), batch["x"].reshape(len(batch["x"]), -1), rcond=None)[0]
        return lambda low: np.clip(inputs(low) @ weights, 0, peak).reshape(-1, *shape)

    def plot(trained: TrainedModel) -> Any:
        test, key = data.test.head(COLUMNS), jax.random.key(config.seed)
        low = test["context"]
        rows = {
            "low": greys(low).repeat(config.factor, 1).repeat(config.factor, 2),
            "bicubic": bicubic(low),
            **{
                f"sample {i + 1}": trained.sample(jax.random.fold_in(key, i), COLUMNS, low, config.temperature)
                for i in range(3)
            },
            "truth": test["x"],
        }
        return plotting.rows({name: np.asarray(images, np.float32) / peak for name, images in rows.items()})

    baselines = dict(experiment.baselines)
    for name, up in {"bicubic": bicubic, "linear regression": regression()}.items():
        values = [decibels(up(batch["context"]), batch["x"]) * len(batch["x"]) for batch in data.test.batches(512)]
        baselines[f"{name}, psnr in dB"] = float(sum(values)) / len(data.test)
    return experiment._replace(
        data=data,
        metrics=metrics,
        baselines=baselines,
        headline=("bits_per_dim", f"psnr in dB, mean of {DRAWS} samples"),
        plots={"super_resolution": plot},
        draws=TEST_DRAWS,
    )


if __name__ == "__main__":
    main(SuperResolutionConfig, build)
