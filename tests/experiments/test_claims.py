"""The study of claims about adversarial games: its metrics, and small games."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import rel_entr
from scipy.stats import norm

from experiments.studies import claims
from experiments.studies.claims import GRID, MEANS, SHARES, STD, Claims, DeepCritic
from jaxgen.losses import F_DIVERGENCES
from jaxgen.models.gans import GAN
from jaxgen.nets import MLP
from tests.models.parameters import drawn


def test_parts_and_settings_of_other_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`only` must name rows of .*, got \['width'\]"):
        claims.study(Claims(only=("width",), runs=tmp_path))
    (tmp_path / "depth.json").write_text('{"settings": {"share": 0.5, "seeds": 3}, "result": []}')
    with pytest.raises(ValueError, match="depth.json has settings"):
        claims.study(Claims(only=("depth",), runs=tmp_path))


def test_a_part_that_is_there_is_read(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(claims, "PARTS", {"one": lambda config: calls.append(1) or [("game", "figure", "1.0")]})
    assert (
        claims.study(Claims(runs=tmp_path))
        == claims.study(Claims(runs=tmp_path))
        == (tmp_path / "table.md").read_text().strip()
    )
    assert calls == [1] and "| one | game | figure | 1.0 |" in (tmp_path / "table.md").read_text()


def test_the_share_of_weights_at_the_extremes():
    values = np.array([-0.1, -0.096, 0.094, 0.05, 0.0])
    assert claims.at_extremes(values, 0.1) == 0.4
    assert claims.at_extremes(values / 2, 0.1) == 0 and claims.at_extremes(values / 2) == 0.4


def test_kernels_are_the_weights_without_biases():
    one = {"a": {"kernel": jnp.ones((2, 3, 4)), "bias": jnp.zeros((2, 4))}, "b": {"kernel": 2 * jnp.ones((2, 5))}}
    assert claims.kernels({"params": one}).shape == (2, 17) and claims.kernels({"params": one}).min() == 1


def test_classes_are_those_of_the_nearest_rows():
    x, label = np.array([[0.0, 0], [10, 0], [0, 10]]), np.array([0, 1, 2])
    near = np.array([[1.0, 0]] * 9 + [[9.0, 1]] * 6 + [[0.0, 8]])
    assert claims.classes(near, x, label) == 2 and claims.classes(near, x, label, fair=0.1) == 3
    assert claims.classes(near[:3], x, label) == 1


@pytest.mark.parametrize("name", ["kl", "reverse_kl", "jensen_shannon"])
def test_divergences_and_their_bounds_by_quadrature(name):
    p = sum(share * norm.pdf(GRID, mean, STD) for share, mean in zip(SHARES, MEANS, strict=True))
    q = norm.pdf(GRID, 0.5, 1.5)
    m = (p + q) / 2
    kl = {
        "kl": p * np.log(p / q), "reverse_kl": q * np.log(q / p),
        "jensen_shannon": p * np.log(p / m) + q * np.log(q / m),
    }[name]  # fmt: skip
    expected, divergence = np.trapezoid(kl, GRID), F_DIVERGENCES[name]
    assert float(claims.distance(divergence, 0.5, 1.5)) == pytest.approx(expected, rel=1e-3)
    # at the best critic, f'(p / q) before the activation, the bound is the divergence, and elsewhere it is below
    ratio = np.clip(np.log(p / q), -60, 60)
    best = {"kl": ratio + 1, "reverse_kl": ratio, "jensen_shannon": ratio}[name]
    assert float(claims.bound(divergence, jnp.asarray(best), 0.5, 1.5)) == pytest.approx(expected, rel=1e-3)
    assert float(claims.bound(divergence, jnp.asarray(best + 0.8 * np.sin(GRID)), 0.5, 1.5)) < 0.99 * expected


def test_the_divergence_from_a_narrow_normal_has_all_of_the_other_mode():
    # the two meet at one mode: what the data have at the other adds its share of log 2
    p = sum(share * norm.pdf(GRID, mean, STD) for share, mean in zip(SHARES, MEANS, strict=True))
    q = norm.pdf(GRID, MEANS[0], STD / 3)
    m = (p + q) / 2
    expected = np.trapezoid(rel_entr(p, m) + rel_entr(q, m), GRID)
    found = float(claims.distance(F_DIVERGENCES["jensen_shannon"], MEANS[0], STD / 3))
    assert found == pytest.approx(expected, rel=1e-3) and found > SHARES[1] * np.log(2)


def test_the_best_normal_covers_both_by_the_likelihood_and_takes_one_by_the_reverse():
    mean, std = claims.best_normal(F_DIVERGENCES["kl"])
    centre = np.dot(SHARES, MEANS)
    assert mean == pytest.approx(centre, abs=0.01)
    assert std == pytest.approx(np.sqrt(np.dot(SHARES, np.square(MEANS)) - centre**2 + STD**2), rel=0.01)
    mean, std = claims.best_normal(F_DIVERGENCES["reverse_kl"])
    # the one of the greater share
    assert mean == pytest.approx(MEANS[0], abs=0.05) and std == pytest.approx(STD, rel=0.05)
    rows = claims.described("both", [centre, MEANS[0]], [2.0, STD], [0.1, 0.2])
    assert ("both", "modes with a fair share, of 2", "2, 1") in rows


def test_the_deep_critic_has_as_many_layers_as_it_says():
    model, x = DeepCritic(layers=7, width=4), jnp.ones((3, 2, 2, 1))
    variables = model.init(jax.random.key(0), x)
    kernels = [w for path, w in jax.tree_util.tree_flatten_with_path(variables)[0] if path[-1].key == "kernel"]
    assert sum(1 if w.ndim == 2 else len(w) for w in kernels) == 7
    variables = drawn(model, x)
    x = jax.random.normal(jax.random.key(1), (3, 2, 2, 1))
    whole, rows = model.apply(variables, x), [model.apply(variables, x[i : i + 1]) for i in range(3)]
    # rows do not meet in it, as a penalty wants
    np.testing.assert_allclose(whole, jnp.concatenate(rows), rtol=1e-4, atol=1e-5)
    assert whole.shape == (3, 4) and not np.allclose(whole[0], whole[1])


@pytest.mark.slow
def test_all_parts_play(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "SAMPLES", 100)
    table = claims.study(Claims(share=0.001, seeds=2, runs=tmp_path))
    assert {line.split("|")[1].strip() for line in table.splitlines()[2:]} == set(claims.PARTS)
    names = {"weights", "fixed", "divergences", "depth_gap", "depth_slope", "depth_distance"}
    assert names == {file.stem for file in tmp_path.glob("*.png")}


def test_against_a_generator_that_stands_still_the_critic_alone_moves():
    x = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    model = GAN(MLP((4,)), MLP((4,)), (2,), latent_dim=2)
    plays = claims.game(model, optax.adam(1e-3), optax.adam(1e-3))
    state = claims.start(model, plays, x, 2)
    before = jax.tree.map(np.array, state.variables)
    state, plays = claims.alone(state, plays, "critic")
    state, metrics = claims.player(plays, x, 5, 16)(state)
    assert set(metrics) == {"critic"} and metrics["critic"]["loss"].shape == (2, 5)
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), before, jax.device_get(state.variables))
    assert max(jax.tree.leaves(moved["generator"])) == 0 < min(jax.tree.leaves(moved["critic"]["params"]["network"]))
    # seeds differ in their networks and in their batches
    assert (metrics["critic"]["loss"][0] != metrics["critic"]["loss"][1]).all()


def test_all_seeds_of_all_games_start_from_one_normal():
    game = claims.GAN(claims.MLP(()), claims.MLP((4,)), (1,), latent_dim=1)
    state = claims.on_one_mode(claims.start(game, game.plays(), np.zeros((64, 1), np.float32), 2))
    z = jax.random.normal(jax.random.key(0), (4000, 1))
    for seed in range(2):
        variables = jax.tree.map(lambda a, seed=seed: a[seed], state.variables)
        x = np.asarray(game.decode(variables, z))
        assert (x.std(), x.mean()) == pytest.approx(claims.START, abs=0.03)
