"""Pix2Pix: its losses against the equations, statistics and noise at test time, and that runs go on as they were."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.contracts import Clock, Model
from jaxgen.data import ArraySource, Paired, Splits
from jaxgen.models.translation import Domain, Pix2Pix, translated
from jaxgen.nets import BatchNorm, InstanceNorm, Jitter, PatchCritic, Unconditional, UNet
from jaxgen.training import Settings, fit, load
from tests.models.parameters import drawn

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
A, B = Domain((8, 8, 1)), Domain((8, 8, 2))
BATCH = {
    name: {"x": RNG.integers(0, 256, (8, *domain.event_shape)).astype(np.uint8)}
    for name, domain in (("a", A), ("b", B))
}
MODEL = Pix2Pix(
    a=A, b=B, generator=UNet(2, levels=2, norm=InstanceNorm), critic=PatchCritic((3, 4), (2, 1), norm=InstanceNorm)
)
BATCH_NORM = dataclasses.replace(MODEL, generator=UNet(2, norm=BatchNorm), critic=PatchCritic((3, 4), (2, 1)))
STILL = dataclasses.replace(MODEL, generator=UNet(2, levels=2, norm=InstanceNorm, dropout=0.0), jitter=None)


def loss_of(model, play, variables, batch=BATCH, key=KEY):
    return jax.jit(lambda variables: model.plays()[play].loss(variables, batch, key, Clock()))(variables)


@pytest.fixture(scope="module")
def variables():
    return drawn(MODEL, BATCH)


def scaled(x):
    return x / np.float32(127.5) - 1


@pytest.mark.slow
def test_losses_are_the_papers(variables):
    assert isinstance(STILL, Model)
    x, y = scaled(BATCH["a"]["x"]), scaled(BATCH["b"]["x"])
    fake, on_real, on_fake = jax.jit(
        lambda v: (
            fake := STILL._generator.apply(v["generator"], x),
            STILL.critic.apply({"params": v["critic"]["params"]["network"]}, jnp.concatenate([y, x], -1)),
            STILL.critic.apply({"params": v["critic"]["params"]["network"]}, jnp.concatenate([fake, x], -1)),
        )
    )(variables)
    assert on_real.shape == (8, 2, 2) and np.abs(on_fake).max() > 0.1
    fooled, l1 = np.logaddexp(0, -on_fake).mean(), np.abs(y - fake).mean()
    critic, generator = (loss_of(STILL, play, variables) for play in ("critic", "generator"))
    expected = 0.5 * (np.logaddexp(0, -on_real).mean() + np.logaddexp(0, on_fake).mean())
    assert critic.value == pytest.approx(expected, rel=1e-4)
    assert generator.value == pytest.approx(fooled + 100 * l1, rel=1e-4)
    assert generator.metrics["l1"] == pytest.approx(l1, rel=1e-4)
    # the paper's ablations
    cgan = dataclasses.replace(STILL, l1_weight=0.0)
    assert loss_of(cgan, "generator", variables).value == pytest.approx(fooled, rel=1e-4)
    only = dataclasses.replace(STILL, adversarial_weight=0.0)
    assert loss_of(only, "generator", variables).value == pytest.approx(100 * l1, rel=1e-4)
    assert list(only.plays()) == ["generator"] and set(jax.eval_shape(only.init, KEY, BATCH)) == {"generator"}
    assert list(STILL.plays()) == ["critic", "generator"] and STILL.plays()["critic"].players == ("critic",)


@pytest.mark.slow
def test_the_critics_loss_does_not_move_the_generator(variables):
    def slopes(play):
        loss = STILL.plays()[play].loss
        grads = jax.jit(jax.grad(lambda v: loss(v, BATCH, KEY, Clock()).value))(variables)
        return {player: max(np.abs(leaf).max() for leaf in jax.tree.leaves(grads[player])) for player in grads}

    critic, generator = slopes("critic"), slopes("generator")
    assert critic["generator"] == 0 < critic["critic"] and generator["generator"] > 0


def test_a_critic_may_ignore_the_input():
    model = dataclasses.replace(STILL, critic_condition=Unconditional())
    assert drawn(model, BATCH)["critic"]["params"]["network"]["Conv_0"]["kernel"].shape == (4, 4, 2, 3)


def test_both_parts_of_a_pair_are_jittered_alike(variables):
    """The input is its own translation: so it stays, wherever it is cropped and whether it is mirrored or not."""

    class Identity(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x

    class Copy(Pix2Pix):
        _generator = property(lambda self: Identity())

    same = Copy(a=A, b=A, adversarial_weight=0.0, jitter=Jitter(1.5))
    batch = {"a": BATCH["a"], "b": BATCH["a"]}
    losses = [same.generator_loss({"generator": {}}, batch, jax.random.key(i), Clock()).value for i in range(3)]
    np.testing.assert_allclose(losses, 0, atol=1e-4)
    other = {"a": BATCH["a"], "b": {"x": BATCH["a"]["x"][::-1]}}
    losses = [same.generator_loss({"generator": {}}, other, jax.random.key(i), Clock()).value for i in range(3)]
    assert np.std(losses) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("model", [MODEL, BATCH_NORM], ids=["instance", "batch"])
def test_a_picture_is_translated_alike_alone_and_in_a_batch(model):
    variables = drawn(model, BATCH)
    translate = jax.jit(lambda x, key: model.translate(variables, x, key=key))
    x = BATCH["a"]["x"]
    together = np.int32(translate(x, KEY))
    assert np.abs(np.int32(translate(x[:1], KEY)) - together[:1]).max() <= 1 < together.std()
    assert np.abs(np.int32(translate(x[::-1], KEY))[-1:] - together[:1]).mean() > 1  # other noise

    def use(statistics, x):
        return jax.jit(lambda x: translated(model._generator, variables["generator"], x, statistics))(scaled(x))

    # with the statistics of the batch it depends on the others; those of one picture are those of its batch
    np.testing.assert_allclose(use("batch", x[:1]), use("picture", x)[:1], rtol=1e-3, atol=1e-5)
    own = use("picture", x)
    differs = [np.abs(use(statistics, x)[:1] - own[:1]).max() for statistics in ("batch", "running")]
    if model is MODEL:
        assert max(differs) < 1e-4
    else:
        assert min(differs) > 1e-3
        np.testing.assert_allclose(use("running", x)[:1], use("running", x[:1]), rtol=1e-3, atol=1e-5)


def test_with_a_key_a_translation_is_a_sample(variables):
    x = BATCH["a"]["x"]
    translate = jax.jit(lambda key: MODEL.translate(variables, x, key=key))
    one, other = translate(KEY), translate(jax.random.key(1))
    assert one.dtype == np.uint8 and one.shape == (8, 8, 8, 2)
    assert (one != other).any((1, 2, 3)).all()
    same = jax.jit(lambda key: MODEL.translate(variables, np.repeat(x[:1], 8, 0), key=key))(KEY)
    assert (same[0] != same[1:]).any((1, 2, 3)).all()
    still = jax.jit(lambda: MODEL.translate(variables, x))()
    assert (one != still).any() and (jax.jit(lambda: MODEL.translate(variables, x))() == still).all()
    with pytest.raises(ValueError, match="`to` must be 'b'"):
        MODEL.translate(variables, x, to="a")


def test_metrics_are_of_pictures_in_0_to_1(variables):
    metrics = jax.jit(lambda: STILL.evaluate(variables, BATCH, KEY))()
    fake = np.float32(jax.jit(lambda: STILL.translate(variables, BATCH["a"]["x"]))()) / 255
    y = BATCH["b"]["x"] / 255
    assert metrics["l1"] == pytest.approx(np.abs(fake - y).mean(), rel=1e-4)
    decibels = -10 * np.log10(((fake - y) ** 2).mean((1, 2, 3)))
    assert metrics["psnr"] == pytest.approx(decibels.mean(), rel=1e-4)


@pytest.mark.slow
def test_a_run_with_jitter_and_noise_goes_on_bit_for_bit(tmp_path):
    pairs = Paired({name: ArraySource({"x": part["x"]}, levels=256) for name, part in BATCH.items()})
    splits = Splits(pairs, pairs, pairs)
    settings = {"batch_size": 2, "eval_every": 6, "checkpoint_every": 3, "ema": 0.0}

    def run(out, steps, resume=False):
        fit(MODEL, splits, Settings(steps=steps, **settings), out=tmp_path / out, resume=resume, progress=False)
        return load(tmp_path / out, which="last").variables

    whole = run("whole", 6)
    run("part", 3)
    again = run("part", 6, resume=True)
    for a, b in zip(*map(jax.tree.leaves, (whole, again)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="`l1_weight` must be at least 0"):
        dataclasses.replace(MODEL, l1_weight=-1.0)
    with pytest.raises(ValueError, match="must be above 0, got 0 for both"):
        dataclasses.replace(MODEL, l1_weight=0.0, adversarial_weight=0.0)
    with pytest.raises(ValueError, match="`statistics` must be one of"):
        dataclasses.replace(MODEL, statistics="test")
    with pytest.raises(ValueError, match="same resolution"):
        dataclasses.replace(MODEL, b=Domain((8, 4, 2)))
    with pytest.raises(ValueError, match="entries 'a' and 'b'"):
        MODEL.init(KEY, {"a": BATCH["a"]})
