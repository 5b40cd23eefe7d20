"""SinGAN: its losses against NumPy, what a scale begins with, known mistakes, and what a trained one does.

`python -m tests.models.hybrids.test_singan FOLDER KILL_AT` trains two scales and dies by SIGKILL at a step.
"""

import dataclasses
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.contracts import Clock, Model, model_phases
from jaxgen.models.hybrids import SinGAN
from jaxgen.models.hybrids.pyramid import Pyramid, resize
from jaxgen.models.hybrids.singan import AUTHORS, Turn
from jaxgen.training import Settings, TrainedModel, fit
from jaxgen.training.description import build, describe
from tests.models.parameters import KEY
from tests.training.runs import Deadly

ROOT = Path(__file__).parents[3]
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (8, 9, 3)).astype(np.uint8)
BATCH = {"x": PICTURE[None]}
TINY = {"min_side": 6, "width": 2, "depth": 2}
MODEL = SinGAN(PICTURE.shape, 256, **TINY)


def ready(model=MODEL, trained=True):
    """Parameters and statistics drawn anew, as after training of all scales."""
    rng = np.random.default_rng(7)

    def draw(path, leaf):
        a = jnp.asarray(0.5 * rng.normal(size=leaf.shape), jnp.float32)
        return 0.5 + jnp.abs(a) if path[-1].key == "var" else a

    drawn = {}
    for player, collections in jax.jit(model.init)(KEY, BATCH).items():
        drawn[player] = {
            name: jax.tree_util.tree_map_with_path(draw, c) for name, c in collections.items() if name != "scale"
        }
        if "scale" in collections:
            drawn[player]["scale"] = {**collections["scale"], "trained": jnp.bool_(trained or player == "generator0")}
    return drawn


VARIABLES = ready()
ENTERED = jax.jit(partial(MODEL._enter, 1))(VARIABLES, BATCH, KEY)
VARIABLES["generator1"]["scale"] = ENTERED["generator1"]["scale"]  # as when the scale begins


def with_scale(variables, n, **values):
    player = f"generator{n}"
    return {**variables, player: {**variables[player], "scale": {**variables[player]["scale"], **values}}}


def convolved(params, x, norm):
    """A stack of valid convolutions [H, W, C] by NumPy; `norm(i, x)` before each activation."""
    last = len([name for name in params if name.startswith("Conv")]) - 1
    for i in range(last + 1):
        kernel = np.asarray(params[f"Conv_{i}"]["kernel"], np.float64)
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (0, 1))
        x = np.einsum("hwcij,ijcd->hwd", windows, kernel)
        if i < last:
            x = norm(i, x)
            x = np.where(x > 0, x, 0.2 * x)
    return x + np.asarray(params[f"Conv_{last}"]["bias"])


def normalized(x, mean, var, affine):
    return (x - mean) / np.sqrt(var + 1e-5) * np.asarray(affine["scale"]) + np.asarray(affine["bias"])


def generated(collections, noise, below, train):
    """tanh(convolutions(noise + below)) + below by NumPy, [H, W, C]."""
    params, stats = (collections[name]["ValidConvs_0"] for name in ("params", "batch_stats"))

    def norm(i, x):
        affine = params[f"BatchNorm_{i}"]["BatchNorm_0"]
        average = stats[f"BatchNorm_{i}"]["BatchNorm_0"]
        mean, var = (
            (x.mean((0, 1)), x.var((0, 1))) if train else (np.asarray(average[name]) for name in ("mean", "var"))
        )
        return normalized(x, mean, var, affine)

    depth = len([name for name in params if name.startswith("Conv")])
    padded = np.pad(np.asarray(noise + below, np.float64), ((depth, depth), (depth, depth), (0, 0)))
    return np.tanh(convolved(params, padded, norm)) + below


def scores(collections, x):
    params = collections["params"]["ValidConvs_0"]

    def norm(i, x):
        affine = params[f"InstanceNorm_{i}"]["InstanceNorm_0"]
        return normalized(x, x.mean((0, 1)), x.var((0, 1)), affine)

    return convolved(params, np.asarray(x, np.float64), norm)[..., 0]


def test_the_pyramid_is_that_of_the_authors():
    # the least number of steps whose factor is at least 0.75, with the shorter side from 25 on
    pyramid = Pyramid((60, 80))
    assert pyramid.steps == 4 and pyramid.ratio == pytest.approx((25 / 60) ** 0.25)
    assert pyramid.sizes() == ((25, 33), (31, 41), (39, 52), (48, 64), (60, 80))
    assert Pyramid((250, 250)).steps == 9 and 0.75 <= Pyramid((250, 250)).ratio < 0.78
    assert Pyramid((100, 140), 25, 0.5).sizes() == ((25, 35), (50, 70), (100, 140))
    assert Pyramid((25, 40)).sizes() == ((25, 40),) == Pyramid((20, 30)).sizes((25, 40))
    assert pyramid.sizes((60, 160))[0] == (25, 67) and len(pyramid.sizes((30, 200))) == 5
    for wrong in ({"size": (0, 3)}, {"size": (8, 8), "min_side": 0}, {"size": (8, 8), "factor": 1.0}):
        with pytest.raises(ValueError, match="must be"):
            Pyramid(**wrong)


def test_it_is_a_model_that_describes_itself():
    assert isinstance(MODEL, Model) and MODEL.sizes == ((6, 7), (8, 9))
    assert build(describe(dataclasses.replace(MODEL, **AUTHORS))) == dataclasses.replace(MODEL, **AUTHORS)
    widths = [MODEL.network("critic", scale).width for scale in (0, 3, 4, 8, 40)]
    assert widths == [2, 2, 4, 8, 128]


def test_a_generator_sees_zeros_around_once_and_adds_to_the_image():
    collections, (noise, below) = VARIABLES["generator1"], RNG.normal(size=(2, 8, 9, 3)).astype(np.float32)
    network = MODEL.network("generator", 1)
    in_use = network.apply(collections, noise[None], below[None])
    np.testing.assert_allclose(in_use[0], generated(collections, noise, below, train=False), atol=1e-4)
    trained, changed = network.apply(collections, noise[None], below[None], mutable=["batch_stats"])
    np.testing.assert_allclose(trained[0], generated(collections, noise, below, train=True), atol=1e-4)
    assert jax.tree.structure(changed["batch_stats"]) == jax.tree.structure(collections["batch_stats"])
    # a network of zeros passes the image on, without the noise
    zeros = {**collections, "params": jax.tree.map(jnp.zeros_like, collections["params"])}
    np.testing.assert_array_equal(network.apply(zeros, noise[None], below[None])[0], below)


def test_scores_are_of_patches_and_of_each_picture_alone():
    critic, x = MODEL.network("critic", 0), RNG.normal(size=(2, 9, 10, 3)).astype(np.float32)
    on_both = critic.apply(VARIABLES["critic0"], x)
    assert on_both.shape == (2, 5, 6) and "batch_stats" not in VARIABLES["critic0"]
    for i in range(2):
        np.testing.assert_allclose(on_both[i], scores(VARIABLES["critic0"], x[i]), atol=1e-4)
    with pytest.raises(ValueError, match=r"the coarsest scale must have 11 pixels a side for depth=5, got \(8, 9\)"):
        SinGAN(PICTURE.shape, 256)


def test_a_scale_begins_with_the_error_of_the_reconstruction_below():
    """The noise's deviation is a tenth of the RMSE of the enlarged reconstruction, in [-1, 1]; statistics are in
    use."""
    entered, coarse = ENTERED, ("generator0", "critic0")
    scale, x = entered["generator1"]["scale"], jnp.asarray(BATCH["x"], jnp.float32) / 127.5 - 1
    z = np.broadcast_to(VARIABLES["generator0"]["scale"]["z"], (6, 7, 3))
    again = generated(VARIABLES["generator0"], z, np.zeros((6, 7, 3)), train=False)
    below = resize(jnp.asarray(again[None], jnp.float32), (8, 9))
    np.testing.assert_allclose(scale["below"], below[0], atol=1e-4)
    error = np.sqrt(((below - x) ** 2).mean())
    assert scale["std"] == pytest.approx(0.1 * float(error), rel=1e-4) and bool(scale["trained"])
    # the weights of the scale below, and its statistics; nothing of other scales changes
    for player in ("generator", "critic"):
        assert {*entered[f"{player}1"]} == {*VARIABLES[f"{player}1"]}
        for name in {"params", "batch_stats"} & {*entered[f"{player}1"]}:
            chex.assert_trees_all_equal(entered[f"{player}1"][name], VARIABLES[f"{player}0"][name])
    chex.assert_trees_all_equal({p: entered[p] for p in coarse}, {p: VARIABLES[p] for p in coarse})


@pytest.mark.slow
def test_wider_scales_begin_with_weights_of_their_own():
    model = SinGAN((9, 9, 3), None, min_side=4, factor=0.85, width=2, depth=1)
    assert len(model.sizes) == 6
    batch = {"x": jnp.zeros((1, 9, 9, 3))}
    variables = jax.eval_shape(model.init, KEY, batch)
    kernels = [variables[f"generator{n}"]["params"]["ValidConvs_0"]["Conv_0"]["kernel"].shape for n in range(6)]
    assert kernels == [(3, 3, 3, 3)] * 6  # one convolution: to the channels of the picture
    model = dataclasses.replace(model, min_side=5, depth=2)
    variables = jax.jit(model.init)(KEY, batch)
    entered = jax.jit(partial(model._enter, 4))(variables, batch, KEY)
    for player in ("generator4", "critic4"):
        assert model.network(player[:-1], 4).width == 4 != model.network(player[:-1], 3).width
        chex.assert_trees_all_equal(entered[player]["params"], variables[player]["params"])


def test_the_first_scale_has_one_channel_of_noise_with_deviation_one():
    noise = MODEL._random(KEY, 500)
    coarse, fine = noise(0, (6, 7)), noise(1, (8, 9))
    assert coarse.shape == (500, 6, 7, 1) and fine.shape == (500, 8, 9, 3)
    np.testing.assert_allclose([coarse.std(), fine.std()], 1, atol=0.02)
    scale = VARIABLES["generator0"]["scale"]
    assert scale["std"] == 1 and scale["z"].shape == (6, 7, 1)


def losses(model, n, variables, key=KEY, step=0):
    """Both losses of a scale."""
    clock = Clock(jnp.int32(40), jnp.int32(step), jnp.int32(0))
    return {name: play.loss(variables, BATCH, key, clock) for name, play in model._plays(n).items()}


@pytest.mark.slow
@pytest.mark.parametrize("n", [0, 1])
def test_the_losses_are_the_papers(n):
    size = MODEL.sizes[n]
    real = np.asarray(resize(jnp.asarray(BATCH["x"], jnp.float32) / 127.5 - 1, size)[0])
    scale, critic = VARIABLES[f"generator{n}"]["scale"], VARIABLES[f"critic{n}"]
    found = jax.jit(partial(losses, dataclasses.replace(MODEL, penalty_weight=0.0), n))(VARIABLES)

    def fake(key):
        noise = MODEL._random(key, 1)
        below = np.zeros((*MODEL.sizes[0], 3))
        if n:  # coarser scales are in use, not in training
            z = np.broadcast_to(noise(0, MODEL.sizes[0])[0], below.shape)
            below = generated(VARIABLES["generator0"], z, below, train=False)
            below = np.asarray(resize(jnp.asarray(below[None]), size)[0])
        z = np.broadcast_to(noise(n, size)[0] * scale["std"], below.shape)
        return generated(VARIABLES[f"generator{n}"], z, below, train=True)

    shown = fake(jax.random.split(KEY)[0])
    expected = scores(critic, shown).mean() - scores(critic, real).mean()
    np.testing.assert_allclose(found["critic"].value, expected, rtol=1e-3, atol=2e-3)
    # z* is the fixed noise on the coarsest scale, and zero above
    z = np.broadcast_to(scale["z"], (*size, 3)) if n == 0 else np.zeros((*size, 3))
    again = generated(VARIABLES[f"generator{n}"], z, np.asarray(scale["below"]), train=True)
    reconstruction = ((again - real) ** 2).mean()
    metrics = found["generator"].metrics
    np.testing.assert_allclose(metrics["reconstruction"], reconstruction, rtol=1e-4)
    np.testing.assert_allclose(metrics["adversarial"], -scores(critic, fake(KEY)).mean(), rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(found["generator"].value, metrics["adversarial"] + 10 * reconstruction, rtol=1e-5)


@pytest.mark.slow
def test_penalties_are_of_the_mean_score_or_of_each_pixels_gradient():
    """Where critics differ by a factor, only their penalties tell how steep they may be."""
    n, noise_key, penalty_key = 0, *jax.random.split(KEY)
    fake, _ = MODEL._fake(n, VARIABLES, noise_key)
    real = resize(MODEL._scaled(BATCH["x"]), MODEL.sizes[n])
    e = jax.random.uniform(penalty_key, (1, 1, 1, 1))
    points = e * real + (1 - e) * fake
    network, collections = MODEL.network("critic", n), VARIABLES["critic0"]
    slope = np.asarray(jax.jit(jax.grad(lambda x: network.apply(collections, x).sum()))(points)[0], np.float64)
    expected = {
        "picture": 0.1 * (np.linalg.norm(slope) / (2 * 3) - 1) ** 2,  # 2 x 3 patches
        "pixel": 0.1 * ((np.linalg.norm(slope, axis=-1) - 1) ** 2).mean(),
    }
    for name, value in expected.items():
        found = losses(dataclasses.replace(MODEL, penalty=name), n, VARIABLES)["critic"].metrics["penalty"]
        np.testing.assert_allclose(found, value, rtol=1e-3)


@pytest.mark.slow
def test_each_play_moves_its_own_scale_alone():
    def value(params, name):
        variables = {player: {**VARIABLES[player], "params": params[player]} for player in VARIABLES}
        return losses(MODEL, 1, variables)[name].value

    params = {player: collections["params"] for player, collections in VARIABLES.items()}
    for name in ("critic", "generator"):
        assert MODEL._plays(1)[name].players == (f"{name}1",)
        gradient = jax.jit(jax.grad(partial(value, name=name)))(params)
        assert max(float(jnp.abs(a).max()) for a in jax.tree.leaves(gradient[f"{name}1"])) > 1e-3
        statistics = losses(MODEL, 1, VARIABLES)[name].statistics
        assert set(statistics) == {"generator1"} and set(statistics["generator1"]) == {"batch_stats"}


@pytest.mark.slow
def test_the_noise_of_the_reconstruction_stays_unless_it_is_redrawn():
    assert losses(MODEL, 0, VARIABLES)["generator"].memory == {}
    redrawn = dataclasses.replace(MODEL, redraw=True)
    memory = [losses(redrawn, 0, VARIABLES, step=step)["generator"].memory["generator0"]["scale"] for step in (3, 5, 9)]
    assert {*memory[0]} == {*VARIABLES["generator0"]["scale"]}
    # once in an iteration of six steps
    np.testing.assert_array_equal(memory[0]["z"], memory[1]["z"])
    assert not np.allclose(memory[0]["z"], memory[2]["z"])
    assert losses(redrawn, 1, VARIABLES)["generator"].memory == {}


def test_the_generators_steps_of_an_iteration_share_their_noise_only_in_the_authors_code():
    def adversarial(model, key, step):
        return float(losses(model, 1, VARIABLES, jax.random.key(key), step)["generator"].metrics["adversarial"])

    reusing = dataclasses.replace(MODEL, reuse_noise=True)
    assert adversarial(reusing, 0, 3) == adversarial(reusing, 1, 5) != adversarial(reusing, 2, 9)
    assert adversarial(MODEL, 0, 3) != adversarial(MODEL, 1, 5)
    critics = [float(losses(reusing, 1, VARIABLES, jax.random.key(k))["critic"].metrics["fake"]) for k in (0, 1)]
    assert critics[0] != critics[1]  # the critic's steps always draw anew


def test_three_steps_of_the_critic_then_three_of_the_generator():
    turns = {name: play.when for name, play in MODEL.plays().items()}
    assert turns == {"critic": Turn(0, 3, 6), "generator": Turn(3, 3, 6)}
    for name, expected in (("critic", "ccc---ccc---"), ("generator", "---ggg---ggg")):
        moving = [bool(turns[name](Clock(i + 50, i, 0))) for i in range(12)]
        assert moving == [letter != "-" for letter in expected]


def test_scales_have_equally_many_iterations_and_rates_that_fall():
    phases = model_phases(MODEL, 200)
    assert [phase.steps for phase in phases] == [96, 104]
    assert [phase.batch_size for phase in phases] == [1, 1]
    optimizer, state, sizes = phases[0].plays["critic"].optimizer, None, []
    params = {"w": jnp.zeros(1)}
    state = optimizer.init(params)
    for _ in range(48):  # of 96 steps
        updates, state = optimizer.update({"w": jnp.ones(1)}, state, params)
        sizes.append(-float(updates["w"][0]))
    np.testing.assert_allclose(sizes, [5e-4] * 38 + [5e-5] * 10, rtol=1e-3)
    with pytest.raises(ValueError, match="`steps` must be at least one for each of the 2 scales, got 1"):
        model_phases(MODEL, 1)


TRAINED = TrainedModel(MODEL, VARIABLES)


@pytest.mark.slow
def test_samples_have_any_size_and_begin_at_any_scale():
    assert TRAINED.sample(KEY, 3).shape == (3, 8, 9, 3) and TRAINED.sample(KEY, 1).dtype == np.uint8
    assert TRAINED.sample(KEY, 2, height=5, width=31).shape == (2, 5, 31, 3)
    samples = [np.asarray(TRAINED.sample(KEY, 3, start=start), float) for start in range(2)]
    assert all(x.std(0).mean() > 0 for x in samples)
    # below where the noise begins is the reconstruction
    still = TrainedModel(MODEL, with_scale(VARIABLES, 1, std=jnp.float32(0)))
    again = np.broadcast_to(TRAINED.reconstruct(), (3, 8, 9, 3))
    assert np.abs(np.asarray(still.sample(KEY, 3, start=1), int) - again).max() <= 1
    with pytest.raises(ValueError, match="`width` must be integers"):
        MODEL.sample(VARIABLES, KEY, 1, width=0)
    for start in (2, -1, True):
        with pytest.raises(ValueError, match="`start` must be a scale from 0 to 1"):
            MODEL.sample(VARIABLES, KEY, 1, start=start)


@pytest.mark.slow
def test_the_reconstruction_is_measured_and_scales_that_wait_pass_images_on():
    metrics = jax.jit(MODEL.evaluate)(VARIABLES, BATCH, KEY)
    again = np.asarray(TRAINED.reconstruct(), float)
    assert metrics["reconstruction"] == pytest.approx(np.sqrt(((again - PICTURE) ** 2).mean()) / 255, rel=1e-4)
    samples = np.asarray(TRAINED.sample(KEY, 16), float)
    assert metrics["diversity"] == pytest.approx(samples.std(0).mean() / PICTURE.std(), rel=1e-2)
    waiting = ready(trained=False)
    coarse = generated(
        waiting["generator0"], np.broadcast_to(waiting["generator0"]["scale"]["z"], (6, 7, 3)), 0.0, False
    )
    up = resize(jnp.asarray(coarse[None], jnp.float32), (8, 9))
    expected = np.clip(np.round((np.asarray(up) + 1) * 127.5), 0, 255)
    np.testing.assert_allclose(TrainedModel(MODEL, waiting).reconstruct(), expected, atol=1)


@pytest.mark.slow
def test_images_are_injected_below_a_scale():
    x = RNG.integers(0, 256, (2, 8, 9, 3)).astype(np.uint8)
    outputs = np.asarray(TRAINED.translate(x))
    scaled = jnp.asarray(x, jnp.float32) / 127.5 - 1
    below = resize(resize(scaled, MODEL.sizes[0]), (8, 9))
    zero = np.zeros((8, 9, 3))
    expected = generated(VARIABLES["generator1"], zero, np.asarray(below[0]), train=False)
    np.testing.assert_allclose(outputs[0], np.clip(np.round((expected + 1) * 127.5), 0, 255), atol=1)
    assert (np.asarray(TRAINED.translate(x, KEY)) != outputs).any() and TRAINED.translate(x[:, :5], KEY).shape == (
        2,
        5,
        9,
        3,
    )
    mask = np.zeros((1, 8, 9, 1), np.float32)
    mask[:, :, 5:] = 1
    mixed = np.asarray(TRAINED.translate(x, None, 1, mask))
    np.testing.assert_array_equal(mixed[:, :, :5], x[:, :, :5])
    np.testing.assert_array_equal(mixed[:, :, 5:], outputs[:, :, 5:])
    with pytest.raises(ValueError, match="`mask` must be"):
        MODEL.translate(VARIABLES, x, mask=mask[..., 0])
    with pytest.raises(ValueError, match="`start` must be a scale from 1 to 1, got 0"):
        MODEL.translate(VARIABLES, x, start=0)
    with pytest.raises(ValueError, match=r"`x` must be images \[B, height, width, 3\]"):
        MODEL.translate(VARIABLES, x[..., :1])


def test_the_finest_scale_enlarges_again_and_again():
    enlarged = np.asarray(TRAINED.super_resolve(PICTURE[None], 3))
    assert enlarged.shape == (1, round(8 / MODEL.pyramid.ratio**3), round(9 / MODEL.pyramid.ratio**3), 3)
    once = np.asarray(TRAINED.super_resolve(PICTURE[None], 1))
    below = resize(jnp.asarray(PICTURE[None], jnp.float32) / 127.5 - 1, once.shape[1:3])[0]
    expected = generated(VARIABLES["generator1"], np.zeros(below.shape), np.asarray(below), train=False)
    np.testing.assert_allclose(once[0], np.clip(np.round((expected + 1) * 127.5), 0, 255), atol=1)
    assert (np.asarray(TRAINED.super_resolve(PICTURE[None], 1, KEY)) != once).any()


@pytest.mark.slow
def test_animations_walk_near_the_reconstruction():
    again = np.broadcast_to(TRAINED.reconstruct(), (5, 8, 9, 3)).astype(int)
    pulled = np.asarray(TRAINED.animate(KEY, 5, 0, 1.0), int)
    assert np.abs(pulled - again).max() <= 1  # all the way back to z*
    frames = np.asarray(TRAINED.animate(KEY, 5), float)
    assert frames.shape == again.shape and (frames[1:] != frames[:-1]).any((1, 2, 3)).all()
    assert np.abs(np.asarray(TRAINED.animate(KEY, 5, 1), float) - again).mean() < np.abs(frames - again).mean()
    # the recursion, on a model of one scale whose network passes the noise to the image
    model = SinGAN((6, 7, 1), None, min_side=6, width=2, depth=1)
    variables = jax.jit(model.init)(KEY, {"x": jnp.zeros((1, 6, 7, 1))})
    kernel = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1)
    params = {"ValidConvs_0": {"Conv_0": {"kernel": kernel, "bias": jnp.zeros(1)}}}
    variables["generator0"] = {**variables["generator0"], "params": params}
    u, z_star = np.asarray(model._random(KEY, 4)(0, (6, 7))), np.asarray(variables["generator0"]["scale"]["z"])
    before, z, expected = z_star, 0.95 * z_star + 0.05 * u[0], []
    for t in range(1, 4):
        before, z = z, 0.2 * z_star + 0.8 * (z + 0.7 * (z - before) + 0.3 * u[t])
        expected.append(np.tanh(z))
    np.testing.assert_allclose(model.animate(variables, KEY, 3, 0, 0.2, 0.7), expected, atol=1e-5)


def test_one_picture_of_the_models_shape():
    with pytest.raises(ValueError, match="a SinGAN learns from one picture, got 2"):
        fit(MODEL, np.stack([PICTURE] * 2), steps=30, progress=False)
    with pytest.raises(ValueError, match="must be a batch of events"):
        jax.eval_shape(MODEL.init, KEY, {"x": PICTURE[None, :5]})
    for wrong in ({"alpha": -1.0}, {"penalty": "none"}, {"width": 0}, {"critic_steps": 0}, {"factor": 1.5}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
            dataclasses.replace(MODEL, **wrong)


def train(folder, kill_at=None, resume=False):
    model = SinGAN(PICTURE.shape, 256, **TINY, critic_steps=1, generator_steps=1, redraw=True)
    source = Deadly(BATCH, levels=256)
    source.kill_at = kill_at
    settings = Settings(steps=16, batch_size=1, checkpoint_every=3, steps_per_call=2, log_every=1, ema=0.5)
    return model, fit(model, source, settings, out=folder, resume=resume, progress=False)


@pytest.mark.slow
def test_training_learns_and_leaves_coarser_scales_alone():
    model = dataclasses.replace(MODEL, width=8, alpha=100.0, learning_rate=5e-3)
    phases = model_phases(model, 600)
    settings = Settings(ema=0.0, batch_size=1)
    first = fit(model, BATCH, settings, phases=phases[:1], progress=False)
    both = fit(model, BATCH, settings, phases=phases, progress=False)
    for player in ("generator0", "critic0"):
        chex.assert_trees_all_equal(both.variables[player], first.variables[player])
    error = [float(model.evaluate(t.variables, BATCH, KEY)["reconstruction"]) for t in (first, both)]
    assert error[1] < 0.8 * error[0]
    assert bool(both.variables["generator1"]["scale"]["trained"]) and not bool(
        first.variables["generator1"]["scale"]["trained"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [8, 12])
def test_a_killed_run_goes_on_bit_for_bit(kill_at, tmp_path):
    """At the boundary of two scales, where the state was saved before the second begins, and within the second."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.models.hybrids.test_singan", str(tmp_path / "killed"), str(kill_at)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
    model, resumed = train(tmp_path / "killed", resume=True)
    _, undisturbed = train(tmp_path / "undisturbed")
    assert len(model.sizes) == 2
    chex.assert_trees_all_equal(resumed.variables, undisturbed.variables)


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]))
    sys.exit("it was not killed")
