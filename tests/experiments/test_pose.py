"""The metrics of pose synthesis against NumPy, its controls, and baselines of equal size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies import pose as study_of_pose
from experiments.translation import pose
from jaxgen.data import FramePairs, Splits
from jaxgen.data.figures import figures
from jaxgen.data.frames import all_pairs, half_a_clip_apart
from jaxgen.nets import Synthesis, no_motion

DRAWN = figures(3, 4, 16)
FRAMES = {
    "x": DRAWN["image"].reshape(12, 16, 16, 3), "joints": DRAWN["joints"].reshape(12, 14, 2),
    "mask": DRAWN["mask"].reshape(12, 16, 16, 1), "background": DRAWN["background"].repeat(4, 0),
}  # fmt: skip
TEST = FramePairs(FRAMES, half_a_clip_apart(3, 4))


def weighted(error, weights):
    return np.mean([(e * w).sum() / w.sum() for e, w in zip(error, weights, strict=True)])


def test_errors_are_in_grey_levels_and_weighted_by_the_true_masks():
    batch = TEST.head(6)
    output = np.random.default_rng(0).uniform(-1, 1, (6, 16, 16, 3)).astype(np.float32)
    error = np.abs(127.5 * (output + 1) - batch["target"]["x"]).mean(-1)
    before, after = (batch[part]["mask"][..., 0] / 255 for part in ("source", "target"))
    values = pose.synthesis_metrics(jnp.asarray(output), batch)
    np.testing.assert_allclose(values["error"], error.mean(), rtol=1e-4)
    np.testing.assert_allclose(values["error of the person"], weighted(error, after), rtol=1e-4)
    appears = values["error of the background that appears"]
    np.testing.assert_allclose(appears, weighted(error, before * (1 - after)), rtol=1e-4)


def test_masks_are_compared_where_they_are_above_one_half():
    batch = TEST.head(6)
    after, before = (batch[part]["mask"] / np.float32(255) for part in ("target", "source"))
    masks = np.concatenate([1 - before, before, np.zeros_like(before)], -1)
    made = Synthesis(None, None, None, masks, foreground_mask=after)
    assert all(abs(float(v) - 1) < 1e-6 for v in pose.mask_metrics(made, batch).values())
    half = after * (np.arange(16)[:, None, None] < 8)
    a, b = after[..., 0] > 0.5, half[..., 0] > 0.5
    expected = ((a & b).sum((1, 2)) / (a | b).sum((1, 2))).mean()
    values = pose.mask_metrics(made._replace(foreground_mask=half), batch)
    np.testing.assert_allclose(values["target mask, IoU"], expected)
    assert pose.mask_metrics(Synthesis(None, None, None), batch) == {}


def test_controls_copy_the_source_and_the_empty_background():
    values = pose.controls(TEST)
    source, target = (FRAMES["x"][TEST.pairs[:, i]].astype(float) for i in range(2))
    np.testing.assert_allclose(values["source, error"], np.abs(source - target).mean(), rtol=1e-4)
    # in the background that appears, the empty background is the truth but for the soft border of masks
    empty = values["true empty background, error of the background that appears"]
    assert empty < 0.3 * values["source, error of the background that appears"]


@pytest.fixture(scope="module")
def built():
    data = Splits(FramePairs({k: FRAMES[k] for k in ("x", "joints")}, all_pairs(3, 4)), TEST, TEST)
    return {
        system: pose.build(pose.PoseConfig(system=system, width=4, steps=20), data)
        for system in ("limbs", "still", "network")
    }


def test_the_baseline_has_as_many_parameters(built):
    batch = TEST.head(2)
    counts = {}
    for system, experiment in built.items():
        shapes = jax.eval_shape(experiment.model.init, jax.random.key(0), batch)["generator"]["params"]
        counts[system] = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert counts["still"] == counts["limbs"] and abs(counts["network"] / counts["limbs"] - 1) < 0.2
    assert built["still"].model.generator.motion is no_motion and [p.steps for p in built["limbs"].phases] == [19, 1]


@pytest.mark.slow
def test_an_experiment_measures_and_shows_every_step(built):
    experiment = built["limbs"]
    variables = jax.jit(experiment.model.init)(jax.random.key(0), TEST.head(2))
    values = jax.jit(experiment.metrics)(variables, TEST.head(2), jax.random.key(0))
    assert set(values) == {
        "error", "error of the person", "error of the background that appears", "target mask, IoU", "source mask, IoU",
    }  # fmt: skip
    assert all(np.isfinite(v) for v in values.values())
    from jaxgen.training import TrainedModel

    figure = experiment.plots["steps"](TrainedModel(experiment.model, variables))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [
        "source", "source pose", "target pose", "masks", "moved limbs", "foreground", "its mask", "background",
        "output",
        "target",
    ]  # fmt: skip


def test_the_study_has_a_row_for_each_system_and_control():
    test = {"error": 7.0, "error of the person": 20.0, "target mask, IoU": 0.8}
    baselines = {"source, error": 6.59, "source, error of the person": 33.56}
    result = {"test": test, "parameters": {"generator": 302930}, "training_seconds": 600.0, "baselines": baselines}
    assert study_of_pose.lines({"one U-Net": result}) == [
        ["one U-Net", "302,930", "20.00", "7.00", "", "0.800", "", "10"],
        ["source", "", "33.56", "6.59", "", "", "", ""],
    ]
