import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.contracts import Clock
from jaxgen.models.gans import BEGAN
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from tests.models.gans.linear import NET, PRIOR, Z, as_written, linear, with_optimizer
from tests.models.parameters import KEY, batch_for, drawn

GAME = BEGAN(NET, NET, (2,), latent_dim=2, prior=PRIOR, decoder=NET, gamma=0.6, rate=0.4)
BATCH = batch_for(GAME)


def with_k(variables, k):
    return {**variables, "critic": {**variables["critic"], "equilibrium": {"k": jnp.float32(k)}}}


VARIABLES = with_k(drawn(GAME, BATCH), 0.3)


def error(critic, x):
    return jnp.abs(linear(critic, x) - x).mean()


def samples(params):
    return linear(params["generator"], Z)


@pytest.mark.slow
def test_the_players_minimise_the_errors_of_the_paper():
    def critic(params):
        return error(params["critic"], BATCH["x"]) - 0.3 * error(params["critic"], samples(params))

    def generator(params):
        return error(params["critic"], samples(params))

    plays = GAME.plays()
    out = as_written(plays["critic"], VARIABLES, BATCH, critic)
    assert set(out.statistics["critic"]) == set()
    out = as_written(plays["generator"], VARIABLES, BATCH, generator)
    params = {player: v["params"] for player, v in VARIABLES.items()}
    on_real, on_fake = (float(error(params["critic"], x)) for x in (BATCH["x"], samples(params)))
    k = out.memory["critic"]["equilibrium"]["k"]
    assert 0.3 != pytest.approx(float(k)) == 0.3 + 0.4 * (0.6 * on_real - on_fake)
    assert float(out.metrics["k"]) == pytest.approx(0.3)
    convergence = on_real + abs(0.6 * on_real - on_fake)
    assert float(out.metrics["convergence"]) == pytest.approx(convergence, rel=1e-4)
    assert float(jax.jit(GAME.evaluate)(VARIABLES, BATCH, KEY)["convergence"]) == pytest.approx(convergence, rel=1e-4)


@pytest.mark.slow
def test_k_stays_between_zero_and_one():
    def after(gamma, k):
        model = dataclasses.replace(GAME, gamma=gamma, rate=100.0)
        return model.generator_loss(with_k(VARIABLES, k), BATCH, KEY, Clock()).memory["critic"]["equilibrium"]["k"]

    assert jax.jit(lambda: (after(50.0, 0.3), after(0.0, 0.3)))() == (1, 0)
    assert GAME.init(KEY, BATCH)["critic"]["equilibrium"]["k"] == 0


@pytest.mark.slow
def test_k_follows_the_game():
    model = dataclasses.replace(GAME, gamma=2.0)
    plays = with_optimizer(model, optax.adam(0.05, b1=0.5))
    step, state = jax.jit(make_train_step(plays, 0.9)), init_state(model, plays, KEY, BATCH)
    k, ks = 0.0, []
    for _ in range(3):
        state, metrics = step(state, BATCH)
        figures = {play: {name: float(v) for name, v in mine.items()} for play, mine in metrics.items()}
        # the critic's loss has the k that the step before left
        assert figures["critic"]["loss"] == pytest.approx(
            figures["critic"]["real"] - k * figures["critic"]["fake"], rel=1e-4
        )
        assert figures["generator"]["k"] == pytest.approx(k, rel=1e-5)
        # and k moves by the critic that has just moved
        real, fake = float(error(state.params["critic"], BATCH["x"])), figures["generator"]["score"]
        k = min(max(k + 0.4 * (2.0 * real - fake), 0), 1)
        assert float(state.collections["critic"]["equilibrium"]["k"]) == pytest.approx(k, rel=1e-4)
        ks.append(k)
        # memory: the averages take it as it is, while they lag behind the parameters
        assert state.average["critic"]["equilibrium"]["k"] == state.collections["critic"]["equilibrium"]["k"]
        averaged, last = state.average["critic"]["params"]["head"], state.params["critic"]["head"]
        assert np.abs(averaged["out"]["kernel"] - last["out"]["kernel"]).max() > 0
    assert 0 < ks[0] < 1 and len(set(ks)) > 1


@pytest.mark.slow
def test_the_players_draw_their_noise_apart():
    model = dataclasses.replace(GAME, prior=None)
    plays = with_optimizer(model, optax.sgd(0.0))
    metrics = jax.jit(make_train_step(plays, 0.0))(init_state(model, plays, KEY, BATCH), BATCH)[1]
    assert abs(float(metrics["critic"]["fake"] - metrics["generator"]["score"])) > 1e-3


def doubled(x, key, step):
    return 2 * x


def test_data_and_samples_are_balanced_as_the_critic_sees_them():
    model = dataclasses.replace(GAME, transforms=(doubled,))
    out = jax.jit(model.generator_loss)(VARIABLES, BATCH, KEY, Clock())
    critic, fake = VARIABLES["critic"]["params"], linear(VARIABLES["generator"]["params"], np.asarray(Z))
    on_real, on_fake = (float(error(critic, 2 * x)) for x in (BATCH["x"], fake))
    k = 0.3 + 0.4 * (0.6 * on_real - on_fake)
    assert float(out.memory["critic"]["equilibrium"]["k"]) == pytest.approx(k, rel=1e-4)
    assert float(out.metrics["convergence"]) == pytest.approx(on_real + abs(0.6 * on_real - on_fake), rel=1e-4)
