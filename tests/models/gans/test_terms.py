"""Terms of several kinds in one game: an auxiliary classifier GAN with a bottleneck and a penalty."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.contracts import Clock
from jaxgen.models.gans import GAN, R1, Bottleneck, ClassLoss
from jaxgen.nets import MLP
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from tests.models.gans.linear import CONTEXT, NET, PRIOR, Z, as_written, linear, with_optimizer
from tests.models.parameters import KEY, batch_for, drawn

CLASSES = ClassLoss(3, weight=0.7)
GAME = GAN(NET, NET, (2,), latent_dim=2, prior=PRIOR, terms=(CLASSES, Bottleneck(0.1, code_dim=4, dual_rate=0.05)))
X = batch_for(GAME)["x"]
BATCH = {"x": X, "context": CONTEXT}


def variables(beta=2.5):
    """Codes of a standard deviation of e^-7: the noise of training is below the tolerance."""
    start = drawn(GAME, BATCH)
    code = start["critic"]["params"]["layers_0"]["code"]["log_variance"]
    code["kernel"][:], code["bias"][:] = 0, -100
    return {**start, "critic": {**start["critic"], "dual": {"beta": jnp.float32(beta)}}}


def codes(params, x):
    return linear(params["critic"]["layers_0"]["code"]["mean"], x)


def samples(params):
    return linear(params["generator"], jnp.concatenate([Z, CONTEXT], -1))


def class_loss(params, x):
    """The classifier reads the code, which is all that the critic knows of x."""
    return -(jax.nn.log_softmax(linear(params["classifier"], codes(params, x))) * CONTEXT).sum(-1).mean()


def kl(params, x):
    raw = linear(params["critic"]["layers_0"]["code"]["log_variance"], x)
    log_variance = 14 * jnp.tanh(raw / 14)
    return 0.5 * (jnp.exp(log_variance) + codes(params, x) ** 2 - 1 - log_variance).sum(-1).mean()


def test_both_terms_are_in_the_critics_loss():
    def expected(params):
        on_real, on_fake = (linear(params["critic"], codes(params, x))[:, 0] for x in (X, samples(params)))
        game = jnp.logaddexp(-on_real, 0).mean() + jnp.logaddexp(on_fake, 0).mean()
        carried = (kl(params, X) + kl(params, samples(params))) / 2
        return game + 0.7 * (class_loss(params, X) + class_loss(params, samples(params))) + 2.5 * (carried - 0.1)

    play, at = GAME.plays()["critic"], variables()
    assert play.players == ("critic", "classifier") and play.accumulates
    out = jax.jit(play.loss)(at, BATCH, KEY, Clock())
    params = {player: v["params"] for player, v in at.items()}
    assert float(out.value) == pytest.approx(float(expected(params)), rel=1e-3)
    carried = float(kl(params, X) + kl(params, samples(params))) / 2
    assert float(out.metrics["kl"]) == pytest.approx(carried, rel=1e-4)
    assert float(out.metrics["class_real"]) == pytest.approx(float(class_loss(params, X)), rel=1e-2)
    assert float(out.metrics["class_fake"]) == pytest.approx(float(class_loss(params, samples(params))), rel=1e-2)
    assert float(out.memory["critic"]["dual"]["beta"]) == pytest.approx(2.5 + 0.05 * (carried - 0.1), rel=1e-4)


def test_the_generator_gains_by_its_class_on_the_means_of_the_codes():
    def expected(params):
        on_fake = linear(params["critic"], codes(params, samples(params)))[:, 0]
        return jnp.logaddexp(-on_fake, 0).mean() + 0.7 * class_loss(params, samples(params))

    as_written(GAME.plays()["generator"], variables(), BATCH, expected)


def test_the_critic_does_not_see_the_class():
    at = variables()
    score = jax.jit(GAME.score)
    np.testing.assert_array_equal(score(at, X, CONTEXT), score(at, X, jnp.roll(CONTEXT, 1, 0)))


@pytest.mark.slow
def test_an_acgan_with_a_bottleneck_trains():
    """The generator places the classes where the data have them, and the bottleneck limits what codes carry."""
    centers = 3 * np.float32([[1, 0], [-1, 1], [0, -1]])
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 3
    batch = {
        "x": (centers[labels] + 0.1 * rng.normal(size=(48, 2))).astype(np.float32),
        "context": np.eye(3, dtype=np.float32)[labels],
    }
    game = GAN(MLP((16,)), MLP((16,)), (2,), latent_dim=2, terms=(ClassLoss(3), Bottleneck(0.1, 8, dual_rate=0.01)))
    plays = with_optimizer(game, optax.adam(5e-3, b1=0.5))
    step = make_train_step(plays, 0.0)

    @jax.jit
    def train(state):
        return jax.lax.scan(lambda state, _: step(state, batch), state, length=400)

    state, metrics = train(init_state(game, plays, KEY, batch))
    kl, beta = metrics["critic"]["kl"], metrics["critic"]["beta"]
    assert beta[0] == 0 < beta[-1] and kl[-20:].mean() < 0.5 * kl[:20].mean()
    after = jax.jit(game.evaluate)(state.variables, batch, KEY)
    assert after["accuracy"] > 0.9 and after["fake_accuracy"] > 0.9


def test_metrics_of_one_name_are_summed():
    one = GAN(NET, NET, (2,), latent_dim=2, prior=PRIOR, terms=(R1(4.0),))
    games, batch = (one, dataclasses.replace(one, terms=(R1(4.0), R1(1.0)))), {"x": X}
    at = drawn(one, batch)
    penalties = jax.jit(lambda v: [game.critic_loss(v, batch, KEY, Clock()).metrics["penalty"] for game in games])(at)
    slope = float((at["critic"]["params"]["head"]["out"]["kernel"] ** 2).sum())
    assert [float(p) for p in penalties] == pytest.approx([2 * slope, 2.5 * slope], rel=1e-4)
