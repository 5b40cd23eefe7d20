import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgen.contracts import Clock
from jaxgen.models.gans import GAN, Information, NonSaturating
from jaxgen.nets import MLP
from jaxgen.nets.normalization import BatchNorm
from tests.models.gans.linear import NET, PRIOR, Z, as_written, linear
from tests.models.parameters import KEY, batch_for, drawn

TERM = Information(categories=(3, 2), num_continuous=1, recognition=NET, weight=0.8, continuous_weight=0.3)
GAME = GAN(NET, NET, (2,), latent_dim=2, prior=PRIOR, terms=(TERM,))
BATCH = batch_for(GAME)
THREE, TWO = np.array([0, 2, 1, 1, 0, 2]), np.array([1, 1, 0, 1, 0, 0])
NUMBERS = np.float32([[-0.9], [0.3], [0.8], [-0.2], [0.1], [0.5]])
CODES = np.concatenate([np.eye(3)[THREE], np.eye(2)[TWO], NUMBERS], -1).astype(np.float32)


def with_term(model, **changes):
    return dataclasses.replace(model, terms=(dataclasses.replace(model.terms[0], **changes),))


@dataclasses.dataclass(frozen=True)
class Silent(NonSaturating):
    def critic(self, real, fake):
        return 0 * real.mean()


@pytest.fixture
def known(monkeypatch):
    """The codes of six rows."""
    monkeypatch.setattr(Information, "codes", lambda self, key, n: jnp.asarray(CODES)[:n])


def recognised(params, x):
    """Logits of three, of two, the number's mean and log-variance."""
    return jnp.split(linear(params["recognition"]["layers_1"], x), [3, 5, 6], -1)


def samples(params):
    return linear(params["generator"], jnp.concatenate([Z, CODES], -1))


def information(params, x):
    three, two, mean, log_variance = recognised(params, x)
    rows = np.arange(6)
    categories = jax.nn.log_softmax(three)[rows, THREE] + np.log(3) + jax.nn.log_softmax(two)[rows, TWO] + np.log(2)
    number = -0.5 * ((NUMBERS - mean) ** 2 / jnp.exp(log_variance) + log_variance + np.log(2 * np.pi)) + np.log(2)
    return categories.mean(), number.mean()


@pytest.mark.slow
def test_codes_are_uniform_and_independent():
    codes = np.asarray(jax.jit(TERM.codes, static_argnums=1)(KEY, 6000))
    three, two, number = codes[:, :3], codes[:, 3:5], codes[:, 5]
    assert codes.shape == (6000, 6)
    for hot in (three, two):
        assert set(np.unique(hot)) == {0, 1} and (hot.sum(1) == 1).all()
    # all six pairs alike: values uniform, and one category no function of the other
    assert stats.chisquare((three.T @ two).ravel()).pvalue > 1e-3
    assert stats.kstest(number, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert all(stats.kstest(number[hot == 1], stats.uniform(-1, 2).cdf).pvalue > 1e-4 for hot in (*three.T, *two.T))


@pytest.mark.slow
def test_two_categories_of_one_size_differ():
    term = dataclasses.replace(TERM, categories=(4, 4), num_continuous=0)
    codes = np.asarray(jax.jit(term.codes, static_argnums=1)(KEY, 2000))
    assert codes.shape == (2000, 8)
    assert abs((codes[:, :4].argmax(1) == codes[:, 4:].argmax(1)).mean() - 0.25) < 0.05


@pytest.mark.slow
def test_generator_and_recognition_minimise_the_game_less_the_information(known):
    def expected(params):
        x = samples(params)
        of_categories, of_numbers = information(params, x)
        return jnp.logaddexp(-linear(params["critic"], x)[:, 0], 0).mean() - 0.8 * of_categories - 0.3 * of_numbers

    variables = drawn(GAME, BATCH)
    play = GAME.plays()["generator"]
    # none of the information's gradient goes into the critic, whose features the recognition reads
    assert play.players == ("generator", "recognition")
    figures = as_written(play, variables, BATCH, expected).metrics
    params = {player: v["params"] for player, v in variables.items()}
    of_categories, of_numbers = information(params, samples(params))
    assert float(figures["category_information"]) == pytest.approx(float(of_categories), rel=1e-4)
    assert float(figures["continuous_information"]) == pytest.approx(float(of_numbers), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_the_critic_minimises_its_own_loss_and_where_layers_are_shared_recognises_codes(shared, known):
    def expected(params):
        on_real, on_fake = (linear(params["critic"], x)[:, 0] for x in (BATCH["x"], samples(params)))
        of_categories, of_numbers = information(params, samples(params))
        own = jnp.logaddexp(-on_real, 0).mean() + jnp.logaddexp(on_fake, 0).mean()
        return own - shared * (0.8 * of_categories + 0.3 * of_numbers)

    play = with_term(GAME, shared=shared).plays()["critic"]
    assert play.players == (("critic", "recognition") if shared else ("critic",))
    as_written(play, drawn(GAME, BATCH), BATCH, expected)


@pytest.mark.slow
def test_shared_layers_learn_to_tell_codes():
    """A critic of one layer, whose own loss is nothing: only where it is shared does the bound move that layer."""
    model = dataclasses.replace(GAME, critic=MLP((4,)), adversarial_loss=Silent(), prior=None)
    batch = batch_for(model)
    variables = drawn(model, batch)

    def slope(shared):
        loss = with_term(model, shared=shared).critic_loss

        def of(params):
            critic = {**variables["critic"], "params": params}
            return loss({**variables, "critic": critic}, batch, KEY, Clock()).value

        grads = jax.jit(jax.grad(of))(variables["critic"]["params"])
        return float(np.abs(grads["network"]["Dense_0"]["kernel"]).max())

    assert slope(True) > 0 == slope(False)


def test_codes_are_recognised_by_category():
    variables = drawn(GAME, BATCH)
    (three, two), mean = jax.jit(lambda v: TERM.recognize(v, GAME.critic_output(v, BATCH["x"])))(variables)
    expected = recognised({player: v["params"] for player, v in variables.items()}, BATCH["x"])
    assert three.shape == (6, 3) and two.shape == (6, 2) and mean.shape == (6, 1)
    for ours, theirs in zip((three, two, mean), (*map(jax.nn.log_softmax, expected[:2]), expected[2]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_information_of_categories_is_at_most_their_entropy():
    model = GAN(NET, NET, (5,), latent_dim=2, terms=(Information((3, 2), 0, NET),))
    batch = batch_for(model)
    variables = drawn(model, batch)
    evaluate = jax.jit(lambda v: model.evaluate(v, batch, KEY)["information"])
    entropy = np.log(3) + np.log(2)
    assert float(evaluate(variables)) < entropy - 0.05
    # a generator that shows the codes, and a recognition network that is sure of them
    variables["generator"]["params"]["head"]["out"] = {"kernel": np.eye(7, 5, -2), "bias": np.zeros(5)}
    variables["recognition"]["params"]["layers_1"]["out"] = {"kernel": 1e3 * np.eye(5), "bias": np.zeros(5)}
    assert float(evaluate(variables)) == pytest.approx(entropy, rel=1e-5)
    # one that knows nothing
    variables["recognition"]["params"]["layers_1"]["out"]["kernel"] = np.zeros((5, 5))
    assert float(evaluate(variables)) == pytest.approx(0, abs=1e-5)


def test_games_without_codes_or_with_packs_are_refused():
    with pytest.raises(ValueError, match="at least one code"):
        Information((), 0)
    with pytest.raises(ValueError, match="`Information` requires packing=1.*got 2"):
        dataclasses.replace(GAME, packing=2)
    # numbers alone are codes
    numbers = with_term(GAME, categories=(), num_continuous=2)
    assert jax.eval_shape(lambda: numbers.noise(KEY, 3)).shape == (3, 4)
    assert jax.eval_shape(numbers.generator_loss, drawn(numbers, BATCH), BATCH, KEY, Clock()).value.shape == ()


@pytest.mark.slow
def test_a_recognition_network_with_batch_statistics_is_refused():
    model = with_term(GAME, recognition=MLP((4,), norm=BatchNorm))
    with pytest.raises(ValueError, match="recognition network must not have batch statistics"):
        jax.eval_shape(model.init, KEY, BATCH)
