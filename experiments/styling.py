"""Shared by experiments with style transfer: config, data, fixed features, controls, metrics and plots."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from experiments.config import Experiment
from experiments.translating import TranslationConfig, side_by_side
from jaxgen.contracts import Variables
from jaxgen.data import ArraySource, Paired, Splits, Zipped, checks, files, source
from jaxgen.data.pictures import central_crop, load_pictures, random_crops
from jaxgen.losses.perceptual import Features, moment_style_loss
from jaxgen.models.translation.style_transfer import STYLE_LAYERS, StyleTransfer, style_metrics
from jaxgen.nets import VGG, WithColours, load_vgg, normalize_activations
from jaxgen.training import TrainedModel, load
from jaxgen.training.chunks import in_chunks
from jaxgen.training.ranges import Count, Fraction, NonNegative

TEST_SIDE = 128
PART = 14
"""Images that are evaluated at a time."""
ALPHAS = (0.5, 1.0)
"""Strengths of the style that are measured."""
TIMED = 25
"""Calls whose median is the time per picture."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StyleConfig(TranslationConfig):
    """The fields of an experiment with style transfer; the defaults are Huang and Belongie's."""

    data: str = "patches"
    """Images that are contents and styles, or a .npz file of pictures: arrays `style_*` and `content_*`, and the names
    of those to train and to test with, `style_train` and `style_test`. Contents of that file are for testing alone."""
    contents: Path | None = None
    """A .npz file whose arrays `photo_*` are the contents to train with; required for a .npz file of pictures."""
    trunk: Path | None = None
    """A .npz file of a VGG (`jaxgen.nets.load_vgg`); None: a small network with random weights."""
    colours: NonNegative = 0.0
    """Scale of the picture's colours, which follow the features of each layer (`jaxgen.nets.WithColours`); 0: none."""
    decoder: Path | None = None
    """Run folder of an experiment with style transfer, whose decoder of the same form is the initial one."""
    steps: Count = 160_000
    batch_size: Count = 8
    size: Count = 256
    """Side of the crops of styles."""
    largest: Count = 512
    """Largest side of a crop before it is scaled down to `size`."""
    crops: Count = 20_000
    """Number of crops of styles."""
    measure: bool = True
    """Measure the translations of the test pairs and simple methods, with a trunk."""
    decoder_width: Count = 64
    """Channels of the decoder at the highest resolution; the trunk has 64."""
    learning_rate: NonNegative = 1e-4
    eval_batch: Count = PART
    ema: Fraction = 0.0

    def open(self) -> Splits:
        """Training and validation: contents and crops of the training styles. Test: each content with each test style.

        Raises:
            DataError: a file that cannot be read or has other arrays.
            ValueError: `contents` is missing.
        """
        if not self.data.endswith(files.SUFFIXES):
            return Splits(*(Zipped({"a": split, "b": split}) for split in source(self.data, data_dir=self.data_dir)))
        if self.contents is None:
            raise ValueError("`contents` must be a .npz file with arrays `photo_*` if `data` holds pictures, got None")
        path = checks.data_path(self.data, self.data_dir)
        contents = files.load_named(self.contents, "photo")
        names = files.read(path)
        styles = list(load_pictures(path, names["style_train"]).values())
        cut = partial(random_crops, styles, self.size, largest=self.largest)
        train, valid = (images(cut(count=n, seed=i), "styles") for i, n in enumerate((self.crops, len(contents.valid))))
        return Splits(
            Zipped({"a": contents.train, "b": train}),
            Zipped({"a": contents.valid, "b": valid}),
            test_pairs(load_pictures(path, "content_"), load_pictures(path, names["style_test"])),
        )


def images(x: np.ndarray, name: str) -> ArraySource:
    return ArraySource({"x": x}, levels=256, name=name)


def test_pairs(contents: Mapping[str, np.ndarray], styles: Mapping[str, np.ndarray]) -> Paired:
    """Each content with each style, their central `TEST_SIDE` x `TEST_SIDE` pixels; contents vary fastest."""
    x, y = (np.stack([central_crop(p, TEST_SIDE) for p in part.values()]) for part in (contents, styles))
    return Paired({"a": images(np.tile(x, (len(y), 1, 1, 1)), "contents"), "b": images(y.repeat(len(x), 0), "styles")})


def fixed_features(config: StyleConfig, data: Splits) -> tuple[nn.Module, Variables | None]:
    """The features, and variables of the player `features` with which each layer has mean one on training images."""
    if config.trunk is None:
        return coloured(VGG(widths=(8, 12, 16, 24, 24), padding="reflect"), None, config.colours)
    network, variables = load_vgg(config.trunk, "relu4_1", padding="reflect")
    head = data.train.head(32)
    x = np.concatenate([part["x"] for part in head.values()]).astype(np.float32) / 255
    variables = jax.jit(partial(normalize_activations, network, per="layer"))(variables, x)
    return coloured(network, {"features": variables}, config.colours)


def coloured(network: nn.Module, start: Variables | None, weight: float) -> tuple[nn.Module, Variables | None]:
    """A network and variables of the player `features` with colours after the features; without any for weight 0."""
    if weight and start is not None:
        start = {"features": {name: {"network": tree} for name, tree in start["features"].items()}}
    return WithColours(network, weight) if weight else network, start


def decoder_widths(config: StyleConfig) -> tuple[int, ...]:
    return tuple(config.decoder_width * factor for factor in (1, 2, 4, 8, 8))


class StyleDistance:
    """`style_metrics` of outputs for the test pairs, in the features of the trunk as its file has them, and `colour`,
    the root of the mean squared difference of the colours' means and deviations from the style's, in [0, 1].

    The trunk measured here is HED's VGG-16, fine-tuned for edges, not ImageNet's: figures compare with others in these
    features only.
    """

    def __init__(self, trunk: Path, data: Splits):
        network, variables = load_vgg(trunk, "relu4_1")

        @jax.jit
        def features(x):
            layers = network.apply(variables, x)
            return {name: layers[name] for name in STYLE_LAYERS}

        self.features, test = features, data.test.head(len(data.test))
        self.content, self.style = (test[name]["x"].astype(np.float32) / 255 for name in ("a", "b"))
        self.of_content, self.of_style = (in_chunks(features, part, size=PART) for part in (self.content, self.style))

    def __call__(self, output: np.ndarray) -> dict[str, float]:
        """Of outputs [N, H, W, 3] in [0, 1], in the order of the test pairs."""
        return self._measured(output, in_chunks(self.features, output, size=PART))

    def _measured(self, output: np.ndarray, of_output: Features) -> dict[str, float]:
        metrics = dict(style_metrics(of_output, self.of_content, self.of_style, "relu4_1", STYLE_LAYERS))
        metrics["colour"] = (moment_style_loss({"rgb": output}, {"rgb": self.style}, channels="mean") / 2) ** 0.5
        return {name: float(value) for name, value in metrics.items()}

    def controls(self) -> dict[str, float]:
        """`content` and `style` of simple methods: means and deviations of the colours moved, images blended, ..."""
        x, y = self.content, self.style
        (mean, std), (to_mean, to_std) = ((a.mean((1, 2), keepdims=True), a.std((1, 2), keepdims=True)) for a in (x, y))
        outputs = {
            "colours moved": np.clip((x - mean) / std * to_std + to_mean, 0, 1), "half of each": (x + y) / 2
        }  # fmt: skip
        measured = {
            "unchanged content": self._measured(x, self.of_content),
            **{name: self(output) for name, output in outputs.items()},
            "style itself": self._measured(y, self.of_style),
        }
        return {f"{metric} ({name})": v for name, metrics in measured.items() for metric, v in metrics.items()}


def seconds_per_picture(trained: TrainedModel, size: int = TEST_SIDE, calls: int = TIMED) -> float:
    """The median time of `translate` for one content and one style of `size` x `size` pixels."""
    rng, times = np.random.default_rng(0), []
    x, style = rng.integers(0, 256, (2, 1, size, size, 3)).astype(np.uint8)
    jax.block_until_ready(trained.translate(x, style))
    for _ in range(calls):
        began = time.perf_counter()
        jax.block_until_ready(trained.translate(x, style))
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def experiment(
    config: StyleConfig, data: Splits, model: StyleTransfer, start: Variables | None, **more: Any
) -> Experiment:
    """An experiment with plots, and with a trunk the `StyleDistance` of the test pairs and of simple methods.

    Args:
        start: as of `fixed_features`; the configured `decoder` is added.
    """
    if config.decoder is not None:
        start = {**(start or {}), "decoder": load(config.decoder).variables["decoder"]}
    test = data.test.head(len(data.test))
    plots = {"translations": partial(plot_pairs, data)}
    if config.trunk is None or not config.measure:
        return Experiment(model, start=start, plots=plots, draws=1, **more)
    distance = StyleDistance(config.trunk, data)

    def final_metrics(trained: TrainedModel) -> dict[str, float]:
        metrics = {"seconds per picture": seconds_per_picture(trained)}
        for alpha in ALPHAS:
            output = in_chunks(partial(trained.translate, alpha=alpha), test["a"]["x"], test["b"]["x"], size=PART)
            measured = distance(output.astype(np.float32) / 255)
            metrics |= {f"{name} (alpha {alpha:g})": value for name, value in measured.items()}
        return metrics

    return Experiment(
        model, start=start, plots=plots, draws=1, final_metrics=final_metrics, baselines=distance.controls(),
        headline=("content (alpha 1)", "style (alpha 1)"), **more,
    )  # fmt: skip


def plot_pairs(data: Splits, trained: TrainedModel, columns: int = 12) -> Any:
    """Test contents, styles, translations and reconstructions, spread over the pairs."""
    chosen = np.linspace(0, len(data.test) - 1, columns).astype(int)
    test = data.test.head(len(data.test))
    x, style = test["a"]["x"][chosen], test["b"]["x"][chosen]
    rows = {
        "content": (x, "a"), "style": (style, "b"), "translation": (trained.translate(x, style), "b"),
        "reconstruction": (trained.reconstruct(x), "a"),
    }  # fmt: skip
    return side_by_side(rows, trained.model)
