"""Style transfer on held-out styles: AdaIN against the linear transformation after equally many steps, and controls.

`python -m experiments.studies.style_transfer --runs runs/style --data style_content.npz --contents photos.npz --trunk
vgg.npz` trains with `--preset small` a decoder to reconstruct, from it AdaIN, and on AdaIN's decoder, held fixed, the
linear transformation for as many steps: a decoder of few steps that only reconstructs blurs too much to be fixed. Each
content is measured with each test style at 128x128 pixels: `content`, the distance from the content in relu4_1, and
`style`, the distance of means and deviations from the style's in four layers, `colour`, that of the pixels
(`experiments.styling.StyleDistance`). Times are medians over many calls in one process, in turns. By default colours
follow the trunk's features, which hardly tell them (`experiments.translation.adain`).

The trunk measured is HED's VGG-16, fine-tuned for edges, not ImageNet's VGG. One seed, `--decoder-steps 300`, eight
minutes on two cores with 300 steps, seven and nine on one core with 1,000; `content` / `style` / `colour`:

                                           --steps 300              --steps 1000
    AdaIN                                  .611 / 1.517 / .095      .551 / 1.341 / .087
    linear transformation                  .902 / 1.898 / .163      .649 / 1.299 / .103
        half of it (alpha .5)              .657 / 2.145 / .159      .492 / 1.677 / .133
    colours moved                          .315 / 1.719 / .047
    content itself                           0  / 2.752 / .227

A picture takes 27 ms by AdaIN and 38 ms by the linear transformation. The decoder of the linear transformation is that
of AdaIN after its steps: the linear transformation has them in addition to its own.
Without colours (`--colours 0`), 700 steps and by the same parts run one after another: AdaIN .567 / 1.195, the linear
transformation .707 / 1.441, with alpha .5 .486 / 1.669, in colours that are mostly not the style's.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxgen
from experiments.studies import harness
from experiments.styling import ALPHAS, TEST_SIDE, TIMED
from jaxgen.training.ranges import Count, Natural, NonNegative

METHODS = {
    "AdaIN": ("translation.adain", "decoder"),
    "linear transformation": ("translation.linear_style", "AdaIN", "--decoder-share", "0", "--learning-rate", "3e-4"),
}
"""By name, the experiment, the row whose decoder it begins with, and more arguments."""


SETTINGS = ("data", "contents", "trunk", "decoder_steps", "steps", "colours", "seed")
METRICS = ("content", "style", "colour")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StyleStudyConfig(harness.StudyConfig):
    data: Path
    """Pictures, as in `experiments.translation.adain`."""
    contents: Path
    """Contents to train with."""
    trunk: Path
    """The fixed features."""
    decoder_steps: Count = 300
    """Of the decoder that AdaIN begins with."""
    steps: Count = 700
    """Of each method after that."""
    colours: NonNegative = 20.0
    """Scale of the colours that follow the features; 0: none."""
    seed: Natural = 0


def study(config: StyleStudyConfig) -> str:
    settings = {name: getattr(config, name) for name in SETTINGS}
    files = [word for name in ("data", "contents", "trunk") for word in (f"--{name}", str(getattr(config, name)))]
    common = ["--preset", "small", "--seed", str(config.seed), "--colours", str(config.colours), *files]

    def train_decoder() -> str:
        steps = ["--decoder-share", "1", "--steps", str(config.decoder_steps), "--no-measure"]
        return harness.experiment("translation.linear_style", config.runs / "decoder", *common, *steps)["experiment"]

    def train(method: str) -> dict[str, Any]:
        module, decoder, *more = METHODS[method]
        more += ["--steps", str(config.steps), "--decoder", str(config.runs / harness.slug(decoder))]
        result = harness.experiment(module, config.runs / harness.slug(method), *common, *more)
        return {name: result[name] for name in ("test", "baselines", "training_seconds")}

    compute: dict[str, Any] = {"decoder": train_decoder}
    compute |= {method: lambda method=method: train(method) for method in METHODS}
    compute["seconds"] = lambda: seconds(config.runs)
    results = harness.rows(compute, config.only, config.runs, settings)
    return harness.save(config.runs, table(results))


def seconds(runs: Path) -> dict[str, float]:
    """The median seconds per picture of each method, measured in turns."""
    trained = {method: jaxgen.load(runs / harness.slug(method)) for method in METHODS}
    x, style = np.random.default_rng(0).integers(0, 256, (2, 1, TEST_SIDE, TEST_SIDE, 3)).astype(np.uint8)
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for call in range(TIMED + 1):
        for method, model in trained.items():
            began = time.perf_counter()
            jax.block_until_ready(model.translate(x, style))
            if call:  # the first one compiles
                times[method].append(time.perf_counter() - began)
    return {method: float(np.median(values)) for method, values in times.items()}


def table(results: Mapping[str, Any]) -> str:
    trained = {method: results[method] for method in METHODS if method in results}
    lines = []
    for method, result in trained.items():
        time_of_method = results.get("seconds", {}).get(method)
        for alpha in ALPHAS:
            distances = [f"{result['test'][f'{metric} (alpha {alpha:g})']:.3f}" for metric in METRICS]
            picture = "" if time_of_method is None else f"{1000 * time_of_method:.0f} ms"
            lines.append([f"{method}, alpha {alpha:g}", *distances, picture])
    controls = next(iter(trained.values()))["baselines"] if trained else {}
    for name in [key.removeprefix("content (").removesuffix(")") for key in controls if key.startswith("content (")]:
        lines.append([name, *(f"{controls[f'{metric} ({name})']:.3f}" for metric in METRICS), ""])
    return harness.table(["method", *METRICS, "time per picture"], lines)


if __name__ == "__main__":
    harness.main(StyleStudyConfig, study, __doc__, "experiments.studies.style_transfer")
