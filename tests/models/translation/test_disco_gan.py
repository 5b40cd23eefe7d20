import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgen
from jaxgen.contracts import Clock
from jaxgen.data import ArraySource, Zipped
from jaxgen.models.translation import Balance, Curriculum, DiscoGAN, Domain
from jaxgen.models.translation.disco_gan import AUTHORS_CODE, GAN, RECONSTRUCTION_GAN
from jaxgen.nets import MLP, DiscoGANCritic, DiscoGANGenerator, Stages
from jaxgen.training import Settings, fit_seeds, init_state, make_train_step, seed_folder
from jaxgen.training.description import build, describe
from tests.models.gans.linear import NET, as_written, linear
from tests.models.parameters import KEY, drawn

RNG = np.random.default_rng(0)
A, B = (RNG.normal(size=(6, 2)).astype(np.float32), RNG.normal(1, 2, (4, 3)).astype(np.float32))
BATCH = {"a": {"x": A}, "b": {"x": B}}


def critic():
    return Stages((MLP((4,), jnp.tanh), MLP((3,), jnp.tanh), MLP((2,), jnp.tanh)))


PAPER = DiscoGAN(NET, NET, critic(), critic(), Domain((2,), None), Domain((3,), None))
AUTHORS = dataclasses.replace(PAPER, **AUTHORS_CODE)
VARIABLES = drawn(PAPER, BATCH)
EARLY, LATE = Clock(step=9_999, phase_step=7, moves=3), Clock(step=10_000, phase_step=8, moves=4)


def layers(params, x):
    """The features of a critic's layers."""
    features = []
    for i in range(3):
        x = jnp.tanh(linear(params["network"][f"stages_{i}"]["Dense_0"], x))
        features.append(x)
    return features


def probability(params, x):
    return 1 / (1 + jnp.exp(-linear(params, layers(params, x)[-1])[:, 0]))


def to_a(params, y):
    return linear(params["to_a"], y)


def to_b(params, x):
    return linear(params["to_b"], x)


def error_of_a(params):
    """L_const_A, a mean over examples and coordinates."""
    return ((to_a(params, to_b(params, A)) - A) ** 2).sum() / 12


def errors(params):
    """L_const_A + L_const_B."""
    return error_of_a(params) + ((to_b(params, to_a(params, B)) - B) ** 2).sum() / 12


@pytest.mark.slow
def test_the_game_of_the_paper_is_its_equations():
    def generators(params):
        on_b, on_a = probability(params["critic_b"], to_b(params, A)), probability(params["critic_a"], to_a(params, B))
        return -jnp.log(on_b).mean() - jnp.log(on_a).mean() + errors(params)

    def critics(params):
        of_b, of_a = (
            -jnp.log(probability(params[name], real)).mean() - jnp.log(1 - probability(params[name], fake)).mean()
            for name, real, fake in (("critic_b", B, to_b(params, A)), ("critic_a", A, to_a(params, B)))
        )
        return of_a + of_b

    plays = PAPER.plays()
    assert plays["generator"].players == ("to_a", "to_b") and plays["critic"].players == ("critic_a", "critic_b")
    assert list(plays) == ["critic", "generator"]
    assert all(play.when is None and play.accumulates for play in plays.values())
    out = as_written(plays["generator"], VARIABLES, BATCH, generators)
    as_written(plays["critic"], VARIABLES, BATCH, critics)
    params = {player: collections["params"] for player, collections in VARIABLES.items()}
    assert float(out.metrics["reconstruction_a"]) == pytest.approx(float(error_of_a(params)), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("clock", "rate"), [(EARLY, 0.01), (LATE, 0.5)], ids=["early", "late"])
def test_the_authors_match_mean_features_of_layers_and_turn_to_the_reconstruction_by_the_runs_clock(clock, rate):
    def matching(params, real, fake):
        pairs = list(zip(layers(params, real), layers(params, fake), strict=True))[1:]
        return sum(((r.mean(0) - f.mean(0)) ** 2).mean() for r, f in pairs)

    def generators(params):
        total = rate * errors(params)
        for name, real, fake in (("critic_b", B, to_b(params, A)), ("critic_a", A, to_a(params, B))):
            gan = -jnp.log(probability(params[name], fake)).mean()
            total += (1 - rate) * (0.1 * gan + 0.9 * matching(params[name], real, fake))
        return total

    play = AUTHORS.plays()["generator"]
    assert not play.accumulates  # mean features are no mean over examples
    as_written(play, VARIABLES, BATCH, generators, clock)


@pytest.mark.slow
def test_the_critics_move_alone_in_every_third_step_and_the_first():
    turns = {name: [bool(play.when(Clock(phase_step=i))) for i in range(7)] for name, play in AUTHORS.plays().items()}
    assert turns["critic"] == [True, False, False, True, False, False, True]
    assert turns["generator"] == [not on for on in turns["critic"]]
    # in the training step too
    state = init_state(AUTHORS, AUTHORS.plays(), KEY, BATCH)
    step, moved = jax.jit(make_train_step(AUTHORS.plays())), []
    for _ in range(4):
        before = state.params
        state, _ = step(state, BATCH)
        moved.append({player for player in before if not np.array_equal(
            jax.tree.leaves(before[player])[0], jax.tree.leaves(state.params[player])[0]
        )})  # fmt: skip
    critics, generators = {"critic_a", "critic_b"}, {"to_a", "to_b"}
    assert moved == [critics, generators, generators, critics]


def test_weight_decay_is_the_gradient_of_a_penalty():
    """Adam divides it by the gradient's size, as PyTorch's `weight_decay` does; AdamW would subtract it afterwards."""
    optimizer = dataclasses.replace(PAPER, weight_decay=0.5).plays()["generator"].optimizer
    weights, m, v, expected = np.array([3.0, -1.0]), 0.0, 0.0, np.array([3.0, -1.0])
    params, state = jnp.asarray(weights), optimizer.init(jnp.asarray(weights))
    for t, gradient in enumerate(([1.0, 0.2], [-2.0, 0.4]), 1):
        updates, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
        g = np.asarray(gradient) + 0.5 * expected
        m, v = 0.5 * m + 0.5 * g, 0.999 * v + 0.001 * g**2
        expected = expected - 2e-4 * (m / (1 - 0.5**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(params, expected, rtol=1e-6)
    assert (PAPER.weight_decay, AUTHORS.weight_decay) == (1e-4, 1e-5)


def test_ablations_translate_one_way():
    gan, recongan = dataclasses.replace(PAPER, **GAN), dataclasses.replace(PAPER, **RECONSTRUCTION_GAN)

    def adversarial(params):
        return -jnp.log(probability(params["critic_b"], to_b(params, A))).mean()

    def recongans(params):
        return adversarial(params) + error_of_a(params)

    for model, players, more in ((gan, ("to_b",), False), (recongan, ("to_a", "to_b"), True)):
        variables = {player: VARIABLES[player] for player in (*players, "critic_b")}
        assert set(model.init(KEY, BATCH)) == set(variables)
        plays = model.plays()
        assert plays["generator"].players == players and plays["critic"].players == ("critic_b",)
        as_written(plays["generator"], variables, BATCH, recongans if more else adversarial)
        names = {"sliced_wasserstein_b", *(f"reconstruction_{name}" for name in "ab" if more)}
        assert set(model.evaluate(variables, BATCH, KEY)) == names
    # the networks that both games have begin alike
    first, second = (model.init(KEY, BATCH)["to_b"]["params"] for model in (gan, PAPER))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    with pytest.raises(ValueError, match=r"`to` must be one of \('b',\) in this game, got 'a'"):
        gan.translate(VARIABLES, B, to="a")
    with pytest.raises(ValueError, match="`domain` must be one of"):
        gan.reconstruct(VARIABLES, A)
    with pytest.raises(ValueError, match=r"`domain` must be one of \('b',\) in this game, got 'a'"):
        recongan.score(VARIABLES, A, "a")


def test_translations_reconstructions_and_their_metrics():
    params = {player: collections["params"] for player, collections in VARIABLES.items()}
    np.testing.assert_allclose(PAPER.translate(VARIABLES, A), to_b(params, A), rtol=1e-5)
    np.testing.assert_allclose(PAPER.translate(VARIABLES, B, to="a"), to_a(params, B), rtol=1e-5)
    back = to_b(params, to_a(params, B))
    np.testing.assert_allclose(PAPER.reconstruct(VARIABLES, B, "b"), back, rtol=1e-4, atol=1e-6)
    scores = PAPER.score(VARIABLES, A, "a")
    np.testing.assert_allclose(jax.nn.sigmoid(scores), probability(params["critic_a"], A), rtol=1e-4)
    metrics = PAPER.evaluate(VARIABLES, BATCH, KEY)
    assert float(metrics["reconstruction_b"]) == pytest.approx(float(np.abs(back - B).mean()), rel=1e-4)
    assert PAPER.monitor[0] in metrics


IMAGES = {
    "a": {"x": RNG.integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)},
    "b": {"x": RNG.integers(0, 17, (4, 8, 8, 3)).astype(np.uint8)},
}  # fmt: skip


def networks(bottleneck=None):
    return DiscoGANGenerator((4, 6), bottleneck), DiscoGANCritic((4, 6))


def images(bottleneck=None):
    (to_a, critic_a), (to_b, critic_b) = networks(bottleneck), networks(bottleneck)
    domains = Domain((8, 8, 1)), Domain((8, 8, 3), 17)
    return dataclasses.replace(DiscoGAN(to_a, to_b, critic_a, critic_b, *domains), **AUTHORS_CODE)


@pytest.mark.slow
def test_images_are_translated_within_their_own_levels_and_each_on_its_own():
    model = images(bottleneck=5)
    variables = drawn(model, IMAGES)
    translate = jax.jit(model.translate)
    whole = translate(variables, IMAGES["a"]["x"])
    assert whole.shape == (4, 8, 8, 3) and whole.dtype == np.uint8 and len(np.unique(whole)) > 5 and whole.max() <= 16
    # by the running averages: an image's translation does not depend on its batch
    np.testing.assert_array_equal(jnp.concatenate([translate(variables, x[None]) for x in IMAGES["a"]["x"]]), whole)
    assert build(describe(model)) == model
    plays = model.plays()
    outputs = jax.jit(lambda v: {name: play.loss(v, IMAGES, KEY, Clock()) for name, play in plays.items()})(variables)
    # every player's averages move, those of the critics in their own play alone
    assert set(outputs["critic"].statistics) == {"critic_a", "critic_b"}
    assert set(outputs["generator"].statistics) == {"to_a", "to_b"}
    for out in outputs.values():
        for player, new in out.statistics.items():
            averages = variables[player]["batch_stats"]
            moved = jax.tree.map(lambda a, b: bool((a != b).any()), new["batch_stats"], averages)
            assert all(jax.tree.leaves(moved))


def test_errors_of_images_are_those_of_images_in_the_unit_interval():
    """As in the authors' code; on the networks' scale [-1, 1] the squares are four times as large."""
    batch = {name: {"x": RNG.integers(0, 17, (5, 1, n, 1)).astype(np.uint8)} for name, n in (("a", 2), ("b", 3))}
    model = DiscoGAN(NET, NET, critic(), critic(), Domain((1, 2, 1), 17), Domain((1, 3, 1), 17))
    model = dataclasses.replace(model, balance=Balance(0.0, 0.0, 1.0))

    def expected(params):
        def there(to, x):
            return jax.nn.sigmoid(2 * linear(params[f"to_{to}"], 2 * x - 1))  # tanh on [0, 1]

        a, b = (batch[name]["x"].reshape(5, -1) / 16 for name in "ab")
        return ((there("a", there("b", a)) - a) ** 2).mean() + ((there("b", there("a", b)) - b) ** 2).mean()

    as_written(model.plays()["generator"], drawn(model, batch), batch, expected)


def test_convolutions_are_the_authors():
    generator, critics = DiscoGANGenerator((64, 128, 256, 512), 100), DiscoGANCritic((64, 128, 256, 512))
    shapes = [jax.eval_shape(lambda n=n: n.init(KEY, jnp.zeros((1, 64, 64, 3)))) for n in (generator, critics)]
    counts = [sum(leaf.size for leaf in jax.tree.leaves(shape["params"])) for shape in shapes]
    down = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    norms = 2 * (128 + 256 + 512)
    up = 16 * (512 * 256 + 256 * 128 + 128 * 64) + 2 * (256 + 128 + 64)
    middle = 2 * 16 * 512 * 100 + 2 * 100 + 2 * 512
    assert counts == [down + norms + middle + up, down + norms]
    features = jax.eval_shape(lambda: critics.init_with_output(KEY, jnp.zeros((1, 64, 64, 3))))[0]
    assert [f.shape for f in features] == [(1, 32, 32, 64), (1, 16, 16, 128), (1, 8, 8, 256), (1, 4, 4, 512)]


@pytest.mark.slow
def test_seeds_train_side_by_side_and_their_folders_translate(tmp_path):
    points = Zipped({name: ArraySource({"x": RNG.normal(size=(40, 2))}, name=name) for name in "ab"})
    domain = Domain((2,), None)
    critics = [Stages((MLP((3,)), MLP((2,)))) for _ in range(2)]
    model = dataclasses.replace(DiscoGAN(NET, NET, *critics, domain, domain), **AUTHORS_CODE)
    settings = Settings(steps=6, batch_size=8, steps_per_call=3, log_every=3, eval_every=6, checkpoint_every=6, ema=0.5)
    both = fit_seeds(model, points, settings, seeds=(0, 1), progress=False, out=tmp_path)
    x = points.sources["b"].arrays["x"]
    first, second = (np.asarray(trained.translate(x, to="a")) for trained in both)
    assert np.abs(first - second).max() > 0.1
    loaded = jaxgen.load(seed_folder(tmp_path, 1))
    np.testing.assert_array_equal(loaded.translate(x, to="a"), second)
    assert loaded.translate(x).shape == (40, 2)


@pytest.mark.parametrize(("change", "message"), [
    ({"judged": ()}, r"`judged` must hold at least 1 of the domains 'a' and 'b', got \(\)"),
    ({"reconstructed": ("c",)}, "`reconstructed` must hold at least 0 of the domains"),
    ({"critic_every": 1}, "`critic_every` must be integers of at least 2, got 1"),
    ({"weight_decay": -1.0}, "`weight_decay` must be at least 0, got -1.0"),
])  # fmt: skip
def test_games_without_meaning_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PAPER, **change)


def test_other_balances_are_refused():
    with pytest.raises(ValueError, match="`rate` must be at least 0 and at most 1, got 2"):
        Curriculum(rate=2)
    with pytest.raises(ValueError, match="`features` must be at least 0, got -1"):
        Balance(features=-1)
    with pytest.raises(ValueError, match="expects a batch with entries 'a' and 'b', got"):
        PAPER.init(KEY, {"x": A})
