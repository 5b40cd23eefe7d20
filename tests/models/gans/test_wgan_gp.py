import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.contracts import Clock, Model
from jaxgen.models.gans import GAN, GradientPenalty, Wasserstein, dense_wgan_gp, residual_wgan_gp
from jaxgen.nets.mlp import MLP
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from tests.models.gans.linear import with_optimizer
from tests.models.parameters import KEY, batch_for, drawn

SMALL = {
    "points": dense_wgan_gp(width=8, depth=2),
    "images": residual_wgan_gp((8, 8, 1), width=4, latent_dim=3, levels=17),
}


def linear_game(event_shape, levels=None, **options):
    """A critic <w, x> + c and a generator that always gives b, before any tanh."""
    model = GAN(
        MLP(()), MLP(()), event_shape, latent_dim=2, levels=levels, adversarial_loss=Wasserstein(), **options
    )  # fmt: skip
    w, c = np.linspace(-1, 2, int(np.prod(event_shape)), dtype=np.float32), 0.3
    b = np.linspace(-2, 2, w.size, dtype=np.float32)
    variables = {
        "critic": {"params": {"head": {"out": {"kernel": w[:, None], "bias": np.float32([c])}}}},
        "generator": {"params": {"head": {"out": {"kernel": np.zeros((2, w.size)), "bias": b}}}},
    }
    return model, variables, w, c, b


@pytest.mark.slow
def test_a_linear_game_is_worth_what_it_should():
    model, variables, w, c, b = linear_game((2, 3, 1), terms=(GradientPenalty(3.0),))
    batch = batch_for(model)
    real, fake = float((batch["x"].reshape(6, -1) @ w).mean() + c), float(b @ w + c)
    slope = float(np.linalg.norm(w))
    penalty = 3 * (slope - 1) ** 2
    critic = jax.jit(model.critic_loss)(variables, batch, KEY, Clock())
    metrics = {name: float(value) for name, value in critic.metrics.items()}
    # all samples are one point
    expected = {"real": real, "fake": fake, "penalty": penalty, "distance_ratio": 0}
    assert metrics == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert float(critic.value) == pytest.approx(fake - real + penalty, rel=1e-4)
    assert float(jax.jit(model.generator_loss)(variables, batch, KEY, Clock()).value) == pytest.approx(-fake, rel=1e-4)
    figures = jax.jit(model.evaluate)(variables, batch, KEY)
    assert float(figures["score_gap"]) == pytest.approx(real - fake, rel=1e-4)


@pytest.mark.slow
def test_integers_play_on_minus_one_to_one():
    model, variables, w, c, b = linear_game((1, 3, 1), levels=9)
    batch = {"x": np.array([0, 4, 8], np.uint8).reshape(1, 1, 3, 1)}
    metrics = jax.jit(model.critic_loss)(variables, batch, KEY, Clock()).metrics
    assert float(metrics["real"]) == pytest.approx(float(np.array([-1, 0, 1]) @ w + c), rel=1e-5)
    assert float(metrics["fake"]) == pytest.approx(float(np.tanh(b) @ w + c), rel=1e-5)
    samples = jax.jit(model.sample, static_argnums=2)(variables, KEY, 5)
    assert samples.dtype == jnp.uint8 and samples.shape == (5, 1, 3, 1)
    np.testing.assert_array_equal(samples[0, 0, :, 0], np.round((np.tanh(b) + 1) * 4))
    figures = jax.jit(model.evaluate)(variables, batch, KEY)
    apart = np.array([-1, 0, 1]) - (np.round((np.tanh(b) + 1) * 4) / 4 - 1)
    assert float(figures["score_gap"]) == pytest.approx(float(apart @ w), rel=1e-4)
    for extreme, level in ((-50.0, 0), (50.0, 8)):
        variables["generator"]["params"]["head"]["out"]["bias"] = np.full(3, extreme, np.float32)
        assert (jax.jit(model.decode)(variables, np.zeros((1, 2))) == level).all()


@pytest.mark.slow
@pytest.mark.parametrize("model", SMALL.values(), ids=SMALL)
def test_each_play_moves_its_own_player(model):
    assert isinstance(model, Model)
    batch = batch_for(model)
    variables = drawn(model, batch)
    plays = model.plays()
    assert {name: play.players for name, play in plays.items()} == {"critic": ("critic",), "generator": ("generator",)}
    assert list(plays) == ["critic", "generator"]

    @jax.jit
    def gradients(variables):
        def of(play):
            return jax.value_and_grad(lambda params: play.loss(
                {player: {**v, "params": params[player]} for player, v in variables.items()}, batch, KEY, Clock()
            ).value)({player: v["params"] for player, v in variables.items()})  # fmt: skip

        return of(plays["critic"]), of(plays["generator"])

    (critic_value, of_critic), (generator_value, of_generator) = gradients(variables)
    assert np.isfinite(critic_value) and np.isfinite(generator_value)
    # the critic's loss leaves the generator alone; the last bias moves all outputs alike, which no loss but the
    # generator's sees
    critic_bias = of_critic["critic"]["head"]["out"].pop("bias")
    np.testing.assert_allclose(critic_bias, 0, atol=1e-6)
    assert all(np.abs(leaf).max() == 0 for leaf in jax.tree.leaves(of_critic["generator"]))
    for leaf in (*jax.tree.leaves(of_critic["critic"]), *jax.tree.leaves(of_generator["generator"])):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


def test_the_generator_moves_after_as_many_steps_of_the_critic():
    plays = dataclasses.replace(SMALL["points"], critic_steps=3).plays()
    turns = [bool(plays["generator"].when(Clock(phase_step=step))) for step in range(7)]
    assert turns == [False, False, True, False, False, True, False]
    assert plays["critic"].when is None


@pytest.mark.slow
def test_the_generators_statistics_move_with_it_and_decide_afterwards():
    model = SMALL["images"]
    batch = batch_for(model)
    variables = drawn(model, batch)
    before = variables["generator"]["batch_stats"]
    assert jax.eval_shape(model.critic_loss, variables, batch, KEY, Clock()).statistics == {"critic": {}}
    after = jax.jit(model.generator_loss)(variables, batch, KEY, Clock()).statistics["generator"]["batch_stats"]
    assert jax.tree.structure(before) == jax.tree.structure(after)
    assert all(np.abs(a - b).max() > 0 for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True))
    # in use, a sample does not depend on the others of its batch
    decode, z = jax.jit(model.decode), jax.random.normal(KEY, (6, model.latent_dim))
    np.testing.assert_array_equal(decode(variables, z)[:2], decode(variables, z[:2]))


@pytest.mark.slow
def test_a_context_reaches_generator_and_critic():
    model = GAN(MLP((5,)), MLP((5,)), (2, 3, 1), latent_dim=2, levels=17)
    batch = {**batch_for(model), "context": np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]}
    variables = drawn(model, batch)

    @jax.jit
    def results(context):
        conditioned = {**batch, "context": context}
        metrics = model.critic_loss(variables, conditioned, KEY, Clock()).metrics
        return {
            **metrics,
            "generator": model.generator_loss(variables, conditioned, KEY, Clock()).value,
            "sample": model.sample(variables, KEY, 6, context).astype(jnp.float32),
            "score_gap": model.evaluate(variables, conditioned, KEY)["score_gap"],
        }

    ours, others = results(batch["context"]), results(np.roll(batch["context"], 1, axis=0))
    for name in ours:
        assert np.abs(ours[name] - others[name]).max() > 0, name


def count_rows(real, fake):
    return {"rows": jnp.float32(real.shape[0] + 100 * fake.shape[0]), "top": fake.max()}


@pytest.mark.slow
def test_evaluate_reports_the_users_metrics_on_data_units():
    model = dataclasses.replace(SMALL["images"], metrics=count_rows, monitor=("top", "max"))
    batch = batch_for(model)
    figures = jax.jit(model.evaluate)(drawn(model, batch), batch, KEY)
    assert set(figures) == {"score_gap", "rows", "top"}
    assert figures["rows"] == 606 and 1 < figures["top"] <= 16


def test_the_default_monitor_is_among_the_figures():
    for model in SMALL.values():
        batch = batch_for(model)
        metrics = jax.eval_shape(lambda: model.evaluate(model.init(KEY, batch), batch, KEY))  # noqa: B023
        assert model.monitor[0] in metrics


def test_data_of_another_kind_are_refused():
    wrong = (("points", jnp.zeros((4, 3))), ("points", jnp.zeros((4, 2), int)), ("images", jnp.zeros((4, 8, 8, 1))))
    for name, x in wrong:
        with pytest.raises(ValueError, match="must be a batch of events|the model expects"):
            SMALL[name].init(KEY, {"x": x})


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
def test_the_convolutional_builder_fits_the_usual_images(shape):
    model = residual_wgan_gp(shape, width=16)
    batch = {"x": jax.ShapeDtypeStruct((2, *shape), jnp.uint8)}
    variables = jax.eval_shape(model.init, KEY, batch)
    samples = jax.eval_shape(functools.partial(model.sample, n=5), variables, KEY)
    assert samples.shape == (5, *shape) and samples.dtype == jnp.uint8
    for play in model.plays().values():
        assert jax.eval_shape(play.loss, variables, batch, KEY, Clock()).value.shape == ()
    assert variables["generator"]["params"]["head"]["out"]["kernel"].shape == (3, 3, 16, shape[-1])


def test_the_builders_defaults_are_the_papers():
    toy, image = dense_wgan_gp(), residual_wgan_gp((32, 32, 3))
    assert toy.generator.widths == toy.critic.widths == (512, 512, 512)
    assert (toy.terms, image.terms) == ((GradientPenalty(0.1),), (GradientPenalty(10.0),))
    assert (
        toy.critic_steps == image.critic_steps == 5 and toy.adversarial_loss == image.adversarial_loss == Wasserstein()
    )
    assert image.critic.halvings == image.critic.blocks == 2 and image.generator.width == image.critic.width == 128


@pytest.mark.slow
def test_a_short_game_brings_the_samples_to_the_data():
    model = dense_wgan_gp(width=32, depth=1)
    plays = with_optimizer(model, optax.adam(3e-3, b1=0.5, b2=0.9))
    step = make_train_step(plays)

    def data(key):
        return {"x": jnp.array([2.0, -1.0]) + 0.2 * jax.random.normal(key, (64, 2))}

    @jax.jit
    def game(state):
        def advance(state, key):
            return step(state, data(key))[0], None

        before = model.evaluate(state.variables, data(KEY), KEY)
        state = jax.lax.scan(advance, state, jax.random.split(jax.random.key(1), 1500))[0]
        return before, model.evaluate(state.variables, data(KEY), KEY)

    before, after = game(init_state(model, plays, KEY, data(KEY)))
    assert before["sliced_wasserstein"] > 1 and after["sliced_wasserstein"] < 0.2
