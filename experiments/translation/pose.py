"""A person in another pose (Balakrishnan et al. 2018, "Synthesizing Images of Humans in Unseen Poses").

Result on drawn figures, `--data paper_dolls64.npz --preset small --steps 1000 --adversary-fraction 0`, seven minutes on
one core, seed 0, 120 pairs of ten unseen people: mean absolute error of the person 24.5, where one U-Net of equal size
has 33.0 and the source image 33.6; of the background that appears 25.8, 36.1 and 50.3; of the whole image 7.8, 9.3 and
6.6, worse than the source image after so few steps (the paper trains for 110,000); intersection over union of the
output's mask 0.83. Limbs that stay where they are have 33.0, 40.5, 9.6 and 0.12. The paper measures photographs of 256
pixels.

Result of the paper's two stages, features and then the adversary, `python -m experiments.studies.pose --data
paper_dolls64.npz --trunk hed_vgg16_to_relu4_1.npz --steps 360 --adversary-fraction 0.17`, twelve minutes, seed 0:

                               person    background that appears    image    IoU
    five steps                  33.2              32.0               12.3    0.68
    limbs that stay             35.0              34.9               12.7    0.66
    one U-Net of equal size     35.7              42.7               12.9
    source image                33.6              50.3                6.6

People have the right pose and parts, in colours that are too strong; that deep features of an edge detector hardly tell
colours (`jaxgen.nets.WithColours`) is a likely cause, not a tested one.

Five steps: heat maps of joints, masks of limbs and background, limbs moved by similarities, foreground, background. The
baselines of the paper and of this file are `--system network`, one U-Net with as many parameters, and `--system still`,
the five steps with limbs that stay where they are.

Metrics on people that are not in the training set: mean absolute errors in grey levels 0..255 of the whole image, of
the person (weighted by the true mask) and of the background where the source's person was and the target's is not; the
intersection over union of true and synthesised masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.config import Config, Experiment
from experiments.run import main
from jaxgen import plotting
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.data import Splits, frames
from jaxgen.models.translation import Domain, FeatureReconstruction, PoseSynthesis
from jaxgen.nets import (
    DirectSynthesis,
    LimbSynthesis,
    PoseAugmentation,
    PoseCritic,
    PoseUNet,
    load_vgg,
    no_motion,
)
from jaxgen.training import TrainedModel
from jaxgen.training.ranges import Count, Fraction, NonNegative

COLUMNS = 8
"""Examples of a figure."""


@dataclass(frozen=True, kw_only=True)
class PoseConfig(Config):
    PRESETS = {
        "paper": {},
        "small": {
            "steps": 2000, "width": 16, "learning_rate": 1e-3, "critic_width": 16, "eval_every": 500, "log_every": 50,
            "eval_batch": 40, "checkpoint_every": 1000, "ema": 0.99,
        },
    }  # fmt: skip

    data: str = "figures"
    """Frames with joints: `figures`, or a .npz file (`jaxgen.data.frames`)."""
    preset: Literal["paper", "small"] = "paper"
    """Defaults: the paper's, for 256 pixels, or those for 64 pixels on a CPU."""
    system: Literal["limbs", "still", "network"] = "limbs"
    """The five steps, the same without moving the limbs, or one U-Net with as many parameters."""
    steps: Count = 110_000
    batch_size: Count = 4
    eval_every: Count = 5_000
    eval_batch: Count = 16
    checkpoint_every: Count = 5_000
    width: Count = 64
    """Channels at full resolution; twice as many below."""
    critic_width: Count = 64
    """Channels of the critic at full resolution."""
    learning_rate: NonNegative = 1e-4
    """Adam's learning rate in the first stage."""
    adversarial_rate: NonNegative = 1e-4
    """Adam's learning rate in the second stage, for both players."""
    adversary_fraction: Fraction = 1 / 11
    """Fraction of the steps in the second stage."""
    adversary_weight: NonNegative = 0.1
    """Weight of the adversarial loss."""
    augment: bool = True
    """Scale, rotate, shift and flip the pairs."""
    trunk: Path | None = None
    """A VGG's weights, .npz (`jaxgen.nets.load_vgg`), whose features are reconstructed; by default pixels are."""

    def check(self) -> None:
        super().check()
        self.check_unconditional("a pose is the condition")

    def open(self) -> Splits:
        return frames(self.data, self.data_dir)


def generator(config: PoseConfig, shape: tuple[int, ...], joints: int) -> LimbSynthesis | DirectSynthesis:
    """The configured networks."""
    width, channels = config.width, shape[-1]
    segmenter, foreground, background = (PoseUNet(width, 2 * width, last) for last in (max(1, width // 2), None, None))
    limbs = LimbSynthesis(segmenter, foreground, background, channels=channels)
    if config.system == "limbs":
        return limbs
    if config.system == "still":
        return limbs.clone(motion=no_motion)
    image, pose = (jax.ShapeDtypeStruct((1, *s), jnp.float32) for s in (shape, (joints, 2)))

    def parameters(network: Any) -> int:
        variables = jax.eval_shape(lambda *x: network.init(jax.random.key(0), *x), image, pose, pose)
        return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))

    # as in the paper, channels double twice
    candidates = [DirectSynthesis(PoseUNet(w, 4 * w), channels=channels) for w in range(max(1, width // 2), 4 * width)]
    wanted = parameters(limbs)
    return min(candidates, key=lambda network: abs(parameters(network) - wanted))


def build(config: PoseConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: a trunk that cannot be read.
    """
    head = data.train.head(1)["source"]
    model = PoseSynthesis(
        Domain(data.train.event_shape), generator=generator(config, data.train.event_shape, head["joints"].shape[1]),
        critic=PoseCritic(config.critic_width, 4 * config.critic_width), adversary_weight=config.adversary_weight,
        adversary_fraction=config.adversary_fraction, augmentation=PoseAugmentation() if config.augment else None,
    )  # fmt: skip
    start = None
    if config.trunk is not None:
        network, variables = load_vgg(config.trunk)
        model = replace(model, reconstruction=FeatureReconstruction(network))
        start = model.reconstruction.started(variables)

    def metrics(variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        source, target = batch["source"], batch["target"]
        made = model.steps(variables, source["x"], source["joints"], target["joints"])
        return synthesis_metrics(made.output, batch) | mask_metrics(made, batch)

    def plot(trained: TrainedModel) -> Any:
        return plot_steps(trained, spread(data.test))

    first, *second = model.phases(config.steps)
    rates = [config.learning_rate, config.adversarial_rate]
    phases = tuple(
        phase._replace(plays={name: p._replace(optimizer=optax.adam(rate)) for name, p in phase.plays.items()})
        for phase, rate in zip((first, *second), rates, strict=False)
    )
    return Experiment(
        model, phases=phases, start=start, metrics=metrics, baselines=controls(data.test), draws=1,
        headline=("error of the person", "error"), plots={"steps": plot},
    )  # fmt: skip


def synthesis_metrics(output: Array, batch: Batch) -> dict[str, Array]:
    """Errors of images in [-1, 1] in grey levels: of the whole image, the person, and the background that appears.

    They are means over examples of the mean over pixels, weighted by the true masks.
    """
    source, target = batch["source"], batch["target"]
    error = jnp.abs(255 * (output + 1) / 2 - jnp.asarray(target["x"], jnp.float32)).mean(-1)
    values = {"error": error.mean()}
    if "mask" in target:
        before, after = source["mask"][..., 0] / 255, target["mask"][..., 0] / 255
        values["error of the person"] = _weighted(error, after)
        values["error of the background that appears"] = _weighted(error, before * (1 - after))
    return values


def mask_metrics(made: Any, batch: Batch) -> dict[str, Array]:
    """Intersection over union of masks above one half with the true ones: of the output, and of the source's limbs."""
    if made.masks is None or "mask" not in batch["target"]:
        return {}
    found = {"target mask, IoU": made.foreground_mask[..., 0], "source mask, IoU": 1 - made.masks[..., 0]}
    true = {"target mask, IoU": batch["target"]["mask"], "source mask, IoU": batch["source"]["mask"]}

    def overlap(a: Array, b: Array) -> Array:
        return ((a & b).sum((1, 2)) / jnp.maximum((a | b).sum((1, 2)), 1)).mean()

    return {name: overlap(mask > 0.5, true[name][..., 0] > 127) for name, mask in found.items()}


def _weighted(error: Array, weights: Array) -> Array:
    return ((error * weights).sum((1, 2)) / jnp.maximum(weights.sum((1, 2)), 1e-6)).mean()


def controls(test: Any) -> dict[str, float]:
    """The metrics of the source image, and of the empty background, in place of the output."""
    totals: dict[str, float] = {}
    for batch in test.batches(64):
        outputs = {"source": batch["source"]["x"]}
        if "background" in batch["target"]:
            outputs["true empty background"] = batch["target"]["background"]
        for name, output in outputs.items():
            values = synthesis_metrics(jnp.asarray(output, jnp.float32) / 127.5 - 1, batch)
            for metric, value in values.items():
                key = f"{name}, {metric}"
                totals[key] = totals.get(key, 0.0) + float(value) * len(output) / len(test)
    return totals


def spread(test: Any) -> Batch:
    """Test examples of different people."""
    return test.take(np.linspace(0, len(test) - 1, min(COLUMNS, len(test))).astype(int))


def plot_steps(trained: TrainedModel, batch: Batch) -> Any:
    """The five steps of examples."""
    source, target = batch["source"], batch["target"]
    made = trained.steps(source["x"], source["joints"], target["joints"])
    side = source["x"].shape[1:3]

    def shown(x: Any) -> np.ndarray:
        return np.clip((np.asarray(x, np.float32) + 1) / 2, 0, 1)

    def pose(maps: Any) -> np.ndarray:
        colors = distinct_colors(maps.shape[-1])
        return np.clip(np.asarray(maps) @ colors, 0, 1).repeat(2, 1).repeat(2, 2)[:, : side[0], : side[1]]

    rows = {"source": source["x"] / 255, "source pose": pose(made.source_pose), "target pose": pose(made.target_pose)}
    if made.masks is not None:
        limbs = np.asarray(made.masks[..., 1:])
        colors = distinct_colors(limbs.shape[-1])
        moved = np.asarray(made.limbs).sum(3)  # zero, which is grey, where no limb is
        rows |= {
            "masks": np.clip(limbs @ colors, 0, 1), "moved limbs": shown(moved), "foreground": shown(made.foreground),
            "its mask": np.broadcast_to(made.foreground_mask, (*made.foreground_mask.shape[:3], 3)),
            "background": shown(made.background),
        }  # fmt: skip
    rows |= {"output": shown(made.output), "target": target["x"] / 255}
    return plotting.rows({name: np.asarray(row, np.float32) for name, row in rows.items()})


def distinct_colors(count: int) -> np.ndarray:
    """Distinct colours, [count, 3]."""
    hue = np.arange(count)[:, None] / count + np.array([0, 1 / 3, 2 / 3])
    return 0.5 + 0.5 * np.cos(2 * np.pi * hue)


if __name__ == "__main__":
    main(PoseConfig, build)
