"""SinGAN (Shaham et al. 2019, "SinGAN: Learning a Generative Model from a Single Natural Image", arXiv:1905.01164).

One picture is the data: an image file, an array of a .npz file (`--data single_images.npz --picture places_real_00`),
or the first training example of any set of images. `steps` counts those of critic and generator on all scales.

With `--trunk`, samples are compared with the picture in the features of a VGG after its first pooling, as a single
image FID. The trunk measured here is HED's VGG-16, fine-tuned for edges: figures compare only with others in these
features, such as those of `--references`, other arrays of the file. The paper's, in features of Inception, is 0.09 for
samples of its 50 pictures of places.

Result on `places_real_09` at 64x48 pixels, four scales, one seed, distances by this trunk: `--preset small --picture
places_real_09`, 300 iterations a scale in 3 minutes of a busy core. Distance of samples 8.4 (a sample of the authors'
SinGAN, trained at full size, 2.0; the picture mirrored 2.5, blurred 14.3; a single scale 50.2), root mean squared error
of the reconstruction 0.048, diversity 0.19. `--variant authors --steps 9600`, 400 iterations in 5.5 minutes: 3.2, 0.033
and 0.18. On `places_real_40`, a forest, the first command has 10.2 (the authors' sample 3.6), 0.083 and 0.45. The paper
has 2,000 iterations: with `--variant authors --steps 48000` the error is 0.019, the distance 3.1, the diversity 0.16.
With `--penalty picture` the error is 0.12 on another picture after 60 iterations, and samples have no layout.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import numpy as np
from flax import linen as nn

from experiments.config import Config, Experiment
from experiments.run import main
from jaxgen import plotting
from jaxgen.data import ArraySource, DataError, Splits, checks, image_folder, source
from jaxgen.data.pictures import load_pictures, scaled_down
from jaxgen.metrics import pixel_diversity, position_frechet_distances
from jaxgen.models.hybrids import SinGAN
from jaxgen.models.hybrids.singan import AUTHORS
from jaxgen.nets import load_vgg
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count, Fraction, NonNegative

SAMPLES = 50
"""Samples that are measured."""
DIVISOR = 50.0
"""By which features are divided, so that those of HED's trunk are of order one."""
COLUMNS = 6
"""Images in a row of a plot."""


@dataclass(frozen=True, kw_only=True)
class SinGANConfig(Config):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {"size": 64, "steps": 7_200},
    }

    preset: Literal["paper", "small"] = "paper"
    """Defaults: the paper's, or those for 64 pixels and 300 iterations on each of four scales on a CPU."""
    picture: str | None = None
    """Name of the array in a .npz file of pictures, uint8 [height, width, 3]."""
    references: tuple[str, ...] = ()
    """Names of other arrays in the file, samples of other models of the picture, to be measured too."""
    trunk: Path | None = None
    """A .npz file of a VGG (`jaxgen.nets.load_vgg`), for the single image FID."""
    size: Count = 250
    """Longest side of the picture, which is scaled down to it."""
    min_side: Count = 25
    """Shortest side of the coarsest scale."""
    factor: Fraction = 0.75
    """From a scale to the coarser one, or somewhat more."""
    steps: Count = 108_000
    """Of critic and generator on all scales together; 12,000 on each of nine are the paper's 2,000 iterations."""
    batch_size: Count = 1
    ema: Fraction = 0.0
    eval_every: Count = 1_000_000
    """By default only the last step, so that the last variables are the best ones."""
    width: Count = 32
    """Channels of the coarsest scale, doubled every four scales."""
    depth: Count = 5
    """Convolutions of each network."""
    critic_steps: Count = 3
    generator_steps: Count = 3
    """Of an iteration."""
    learning_rate: NonNegative = 5e-4
    alpha: NonNegative = 10.0
    """Weight of the reconstruction."""
    penalty: Literal["pixel", "picture"] = "pixel"
    """The gradient penalty: in each pixel, of the authors' code, or in the whole picture."""
    variant: Literal["paper", "authors"] = "paper"
    """The paper's training, or that of the authors' code."""

    def open(self) -> Splits:
        """The picture, as training, validation and test split.

        Raises:
            DataError: it cannot be read.
        """
        path = checks.data_path(self.data, self.data_dir)
        if self.picture is not None:
            x, levels = load_pictures(path, [self.picture])[self.picture], 256
        elif self.data.lower().endswith(image_folder.SUFFIXES):
            x, levels = image_folder.decode(str(path)), 256
        else:
            train = source(self.data, self.data_dir, self.arrays).train
            x, levels = train.head(1)["x"][0], train.levels
        if x.ndim != 3:
            raise DataError(f"`data` must be images [height, width, channels], got examples of shape {list(x.shape)}")
        if levels == 256:
            x = scaled_down(x, self.size)
        one = ArraySource({"x": x[None]}, levels=levels, name=self.picture or Path(self.data).name)
        return Splits(one, one, one)


def build(config: SinGANConfig, data: Splits) -> Experiment:
    names = (
        "min_side", "factor", "width", "depth", "critic_steps", "generator_steps", "learning_rate", "alpha",
        "penalty",
    )  # fmt: skip
    fields = {name: getattr(config, name) for name in names} | (AUTHORS if config.variant == "authors" else {})
    model = SinGAN(data.train.event_shape, data.train.levels, **fields)
    picture = data.test.head(1)["x"]
    distance = None if config.trunk is None else PictureDistance(config.trunk, picture[0])
    plots = {}
    if plotting.drawable(picture):
        shown = {"random": plot_random, "wide": plot_wide, "animation": plot_animation, "enlarged": plot_enlarged}
        plots = {name: partial(plot, picture=picture) for name, plot in shown.items()}
        if len(model.sizes) > 1:
            plots["edited"] = partial(plot_edited, picture=picture)
    return Experiment(
        model, final_metrics=partial(measured, picture=picture[0], distance=distance), plots=plots, draws=1,
        baselines={} if distance is None else baselines(config, distance),
        headline=("distance of samples",) * (distance is not None) + ("reconstruction", "diversity of samples"),
    )  # fmt: skip


class PictureDistance:
    """`position_frechet_distances` from a picture uint8 [H, W, 3], in a VGG's features after its first pooling."""

    def __init__(self, trunk: Path, picture: np.ndarray):
        network, variables = load_vgg(trunk, "relu1_2")

        @jax.jit
        def features(x: Any) -> Any:
            return nn.max_pool(network.apply(variables, x)["relu1_2"], (2, 2), (2, 2)) / DIVISOR

        self.picture = picture
        self.features: Callable[[np.ndarray], np.ndarray] = lambda x: np.asarray(features(x.astype(np.float32) / 255))

    def __call__(self, images: np.ndarray) -> float:
        """The mean over images uint8 [N, h, w, 3]."""
        return float(position_frechet_distances(self.features(self.picture[None])[0], self.features(images)).mean())


def baselines(config: SinGANConfig, distance: PictureDistance) -> dict[str, float]:
    """The distance of the picture mirrored and blurred, and of the references."""
    picture = distance.picture
    images = {"mirrored": picture[:, ::-1], "blurred": blurred(picture)}
    path = checks.data_path(config.data, config.data_dir)
    for name in config.references:
        images[name] = scaled_down(load_pictures(path, [name])[name], config.size)
    return {f"distance ({name})": distance(image[None]) for name, image in images.items()}


def blurred(picture: np.ndarray) -> np.ndarray:
    """Means over 3x3 pixels."""
    around = np.pad(picture.astype(np.float32), ((1, 1), (1, 1), (0, 0)), "edge")
    height, width = picture.shape[:2]
    means = sum(around[i : i + height, j : j + width] for i in range(3) for j in range(3)) / 9
    return np.round(means).astype(picture.dtype)


def measured(trained: TrainedModel, picture: np.ndarray, distance: PictureDistance | None) -> dict[str, float]:
    """Of `SAMPLES` samples: their diversity, and with a trunk their mean distance from the picture."""
    x = np.asarray(trained.sample(jax.random.key(0), SAMPLES))
    metrics = {"diversity of samples": float(pixel_diversity(x.astype(np.float32), picture))}
    if distance is not None:
        metrics["distance of samples"] = distance(x)
        metrics["distance of the reconstruction"] = distance(np.asarray(trained.reconstruct()))
    return metrics


def plot_random(trained: TrainedModel, picture: np.ndarray) -> Any:
    """The picture and its reconstruction, then samples from each scale on."""
    again, key = np.asarray(trained.reconstruct()), jax.random.key(1)
    rows = {"picture, z*": np.concatenate([picture, again, *[np.full_like(picture, picture.max())] * (COLUMNS - 2)])}
    for start in range(len(trained.sizes)):
        rows[f"from {start}"] = np.asarray(trained.sample(key, COLUMNS, start=start))
    return plotting.rows(rows)


def plot_wide(trained: TrainedModel, picture: np.ndarray) -> Any:
    """Samples twice as wide, and as high."""
    return plotting.samples(np.asarray(trained.sample(jax.random.key(2), 4, width=2 * picture.shape[2])), picture)


def plot_animation(trained: TrainedModel, picture: np.ndarray) -> Any:
    """Frames of walks from each of the coarser scales on."""
    starts = range(min(2, len(trained.sizes)))
    frames = {
        f"from {start}": np.asarray(trained.animate(jax.random.key(3), 3 * COLUMNS, start))[::3] for start in starts
    }
    return plotting.rows(frames)


def plot_enlarged(trained: TrainedModel, picture: np.ndarray) -> Any:
    """The picture enlarged three times by the finest scale, beside bicubic interpolation."""
    enlarged = np.asarray(trained.super_resolve(picture, 3))
    x = jax.image.resize(picture.astype(np.float32), enlarged.shape, "cubic")
    smooth = np.clip(np.round(x), 0, picture.max()).astype(enlarged.dtype)
    return plotting.rows({"": np.concatenate([smooth, enlarged])}, "bicubic, finest scale")


def plot_edited(trained: TrainedModel, picture: np.ndarray) -> Any:
    """A part of the picture pasted at another place, and the result injected at each scale."""
    height, width = picture.shape[1:3]
    h, w = height // 3, width // 3
    edited = picture.copy()
    edited[:, height // 2 : height // 2 + h, width // 2 : width // 2 + w] = picture[
        :, height // 8 : height // 8 + h, :w
    ]
    starts = range(1, len(trained.sizes))
    outputs = [np.asarray(trained.translate(edited, jax.random.key(4), start)) for start in starts]
    return plotting.rows(
        {"": np.concatenate([picture, edited, *outputs])}, "picture, edited, injected at scales 1, 2, ..."
    )


if __name__ == "__main__":
    main(SinGANConfig, build)
