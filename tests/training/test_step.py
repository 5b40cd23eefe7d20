"""The train step: who moves when, what is averaged, and that cutting a run into calls changes nothing."""


import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.contracts import Clock, Every, LossOutput, Phase, Play
from jaxgen.training import enter_phase, init_state, make_train_step, many_steps
from tests.training.games import Duel

X = np.random.default_rng(0).normal(1.0, 2.0, (64, 2)).astype(np.float32)
BATCH = {"x": X[:16]}


@pytest.fixture(scope="module")
def duel():
    """Seven steps of the duel, one call each, and every state on the way."""
    model = Duel()
    state = jax.jit(lambda: init_state(model, model.plays(), jax.random.key(0), BATCH))()
    step = jax.jit(make_train_step(model.plays(), ema=0.5))
    states, metrics = [state], []
    for _ in range(7):
        state, m = step(state, BATCH)
        states.append(state)
        metrics.append(m)
    return states, metrics


def test_plays_move_when_they_should(duel):
    states, metrics = duel
    assert [int(m["generator"]["played"]) for m in metrics] == [0, 0, 1, 0, 0, 1, 0]
    assert [int(m["critic"]["played"]) for m in metrics] == [1] * 7
    for i, (before, after) in enumerate(zip(states, states[1:])):
        moved = i % 3 == 2
        same = jax.tree.map(lambda a, b: bool((a == b).all()), before.params["generator"], after.params["generator"])
        assert all(jax.tree.leaves(same)) != moved
        assert int(after.opt_state["generator"][0].count) == (i + 1) // 3 == int(after.moves["generator"])
    assert metrics[0]["generator"]["loss"] == 0 and metrics[2]["generator"]["loss"] != 0


@pytest.mark.parametrize(
    ("when", "steps"),
    [
        (Every(5), [4, 9, 14]),
        (Every(1, start=3, stop=6), [3, 4, 5]),
        (Every(2, start=3), [4, 6, 8, 10, 12, 14]),
    ],
)
def test_every_counts_the_steps_of_the_phase(when, steps):
    assert [i for i in range(16) if when(Clock(step=i + 100, phase_step=i, moves=7))] == steps


def test_state_without_gradients_replaces_only_its_collections(duel):
    states, _ = duel
    ks = [float(s.collections["critic"]["equilibrium"]["k"]) for s in states]
    assert len(set(ks)) == len(ks)
    means = [np.asarray(s.collections["generator"]["batch_stats"]["BatchNorm_0"]["mean"]) for s in states]
    assert (means[2] == means[0]).all() and (means[3] != means[2]).any()


def test_averages_follow_every_floating_variable(duel):
    states, _ = duel
    for play, pick in (
        ("critic", lambda v: v["critic"]["params"]["layers_0"]["kernel"]),
        ("generator", lambda v: v["generator"]["params"]["Dense_0"]["kernel"]),
        ("generator", lambda v: v["generator"]["batch_stats"]["BatchNorm_0"]["mean"]),
    ):
        average = np.asarray(pick(states[0].variables), np.float64)
        for before, after in zip(states, states[1:]):
            moves = int(after.moves[play])
            if moves > int(before.moves[play]):
                decay = min(0.5, moves / (moves + 9))
                average = decay * average + (1 - decay) * np.asarray(pick(after.variables), np.float64)
        np.testing.assert_allclose(pick(states[-1].average), average, rtol=2e-6, atol=1e-7)


def test_memory_is_never_averaged(duel):
    for state in duel[0]:
        assert float(state.average["critic"]["equilibrium"]["k"]) == float(
            state.collections["critic"]["equilibrium"]["k"]
        )


def test_each_step_and_play_has_its_own_key():
    def loss(variables, batch, key, clock):
        return LossOutput(jnp.float32(0), {"noise": jax.random.normal(key), "key": jax.random.key_data(key)[1]})

    plays = {name: Play(("p",), loss, optax.sgd(0.1)) for name in ("a", "b")}

    class Still(Duel):
        def init(self, key, batch):
            return {"p": {"params": {"w": jnp.zeros(())}}}

    step = jax.jit(make_train_step(plays))
    state, noise = init_state(Still(), plays, jax.random.key(3), BATCH), []
    for i in range(3):
        state, metrics = step(state, BATCH)
        noise += [float(metrics["a"]["noise"]), float(metrics["b"]["noise"])]
        alone = make_train_step({"b": plays["b"]})(state.replace(step=state.step - 1), BATCH)[1]
        assert float(metrics["b"]["noise"]) == float(alone["b"]["noise"]), (
            "a play's noise does not depend on the others"
        )
    assert len(set(noise)) == 6


def test_a_play_may_move_two_players_and_plays_may_share_one():
    def toward(target):
        def loss(variables, batch, key, clock):
            return LossOutput(sum(((variables[p]["params"]["w"] - target) ** 2).sum() for p in "ab"))

        return loss

    class Pair(Duel):
        def init(self, key, batch):
            return {p: {"params": {"w": jnp.zeros(2)}} for p in "ab"}

    plays = {"both": Play(("a", "b"), toward(1.0), optax.sgd(0.5)), "one": Play(("b",), toward(3.0), optax.sgd(0.5))}
    state = init_state(Pair(), plays, jax.random.key(0), BATCH)
    state, _ = make_train_step(plays)(state, BATCH)
    np.testing.assert_allclose(state.params["a"]["w"], 1.0)  # a full step to 1 by `both` alone
    np.testing.assert_allclose(state.params["b"]["w"], 3.0)  # the second play starts from what the first left


def test_many_steps_in_any_cut_are_the_same_bits():
    model = Duel()
    plays = model.plays()
    start = jax.jit(lambda: init_state(model, plays, jax.random.key(0), BATCH))()
    many = jax.jit(many_steps(make_train_step(plays), 8))
    rows = np.stack([np.random.default_rng(i).permutation(64)[:16] for i in range(8)]).astype(np.int32)

    def cut(*lengths):
        state, done, losses = start, 0, []
        for n in lengths:
            indices = np.concatenate([rows[done : done + n], np.zeros((8 - n, 16), np.int32)])
            state, metrics = many(state, {"x": X}, indices, np.int32(n))
            losses += list(np.asarray(metrics["critic"]["loss"][:n]))
            done += n
        return state.replace(key=jax.random.key_data(state.key)), losses

    (whole, losses), (parts, part_losses) = cut(8), cut(1, 3, 4)
    chex.assert_trees_all_equal(whole, parts)
    assert losses == part_losses
    # and the same numbers as steps called one by one on batches gathered on the host
    step, state = jax.jit(make_train_step(plays)), start
    for i in range(8):
        state, _ = step(state, {"x": X[rows[i]]})
    chex.assert_trees_all_close(state.replace(key=jax.random.key_data(state.key)), whole, rtol=1e-5, atol=1e-6)


def test_entering_a_phase_keeps_variables_and_starts_optimizers():
    model = Duel()
    state = init_state(model, model.plays(), jax.random.key(0), BATCH)
    state, _ = jax.jit(make_train_step(model.plays()))(state, BATCH)
    alone = {"generator": model.plays()["generator"]._replace(when=None)}
    entered = enter_phase(state, Phase(alone, 1))
    assert set(entered.opt_state) == set(entered.moves) == {"generator"}
    assert int(entered.step) == 1 and int(entered.phase_step) == 0 and int(entered.moves["generator"]) == 0
    chex.assert_trees_all_equal(entered.params, state.params)


def test_unknown_players_are_named():
    model = Duel()
    plays = {"x": Play(("nobody",), model.critic_loss, optax.sgd(0.1))}
    with pytest.raises(ValueError, match="nobody"):
        init_state(model, plays, jax.random.key(0), BATCH)


def regression(parameter=2):
    """A plain least-squares game, whose optimizer makes the gradient visible, and a state of it."""

    class Regression:
        def init(self, key, batch):
            return {"only": {"params": {"w": jax.random.normal(key, (parameter,))}}}

    def loss(variables, batch, key, clock):
        error = batch["x"] @ variables["only"]["params"]["w"] - batch["y"]
        return LossOutput((error**2).mean(), {"bias": error.mean()})

    plays = {"fit": Play(("only",), loss, optax.sgd(0.1), accumulates=True)}
    batch = {"x": X[:24], "y": np.float32(np.random.default_rng(1).normal(size=24))}
    return plays, batch, init_state(Regression(), plays, jax.random.key(0), batch)


def test_accumulated_gradients_are_those_of_the_whole_batch():
    plays, batch, state = regression()
    (whole, of_whole), (parts, of_parts) = (
        jax.jit(make_train_step(plays, accumulate=k))(state, batch) for k in (1, 4)
    )
    np.testing.assert_allclose(whole.params["only"]["w"], parts.params["only"]["w"], rtol=1e-5)
    for name in ("loss", "bias", "grad_norm", "played"):
        np.testing.assert_allclose(of_whole["fit"][name], of_parts["fit"][name], rtol=1e-5)
    # as many moves of the optimizer as steps, however many parts
    assert int(parts.moves["fit"]) == 1


def test_each_part_of_a_batch_has_noise_of_its_own():
    plays, batch, state = regression()

    def noise(variables, batch, key, clock):
        drawn = jax.random.normal(key, (len(batch["x"]),))
        return LossOutput(0 * variables["only"]["params"]["w"].sum(), {"first": drawn[0], "square": drawn[0] ** 2})

    metrics = make_train_step({"fit": plays["fit"]._replace(loss=noise)}, accumulate=2)(state, batch)[1]["fit"]
    # of two equal draws the mean of the squares is the square of the mean
    assert metrics["square"] > metrics["first"] ** 2 + 1e-3


def test_what_parts_cannot_give_is_refused_with_the_reason():
    plays, batch, state = regression()
    with pytest.raises(ValueError, match="'fit' is not a mean over examples"):
        make_train_step({"fit": plays["fit"]._replace(accumulates=False)}, accumulate=2)(state, batch)
    with pytest.raises(ValueError, match="divide the batch of 24 examples, got 5"):
        make_train_step(plays, accumulate=5)(state, batch)
    model = Duel()
    state = init_state(model, model.plays(), jax.random.key(0), BATCH)
    means = {name: play._replace(accumulates=True) for name, play in model.plays().items()}
    with pytest.raises(ValueError, match="'critic' updates collections without gradients"):
        make_train_step(means, accumulate=2)(state, BATCH)
    with pytest.raises(ValueError, match="'critic' is not a mean over examples"):  # unless a play says so
        make_train_step(model.plays(), accumulate=2)(state, BATCH)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_move_that_is_not_finite_is_left_out_whole(where):
    """Parameters, state, optimizer, averages and counters stay; other plays and later steps go on."""
    model = Duel()
    spike = {"loss": lambda w: jnp.inf, "gradient": lambda w: jnp.sqrt(jnp.abs(0 * w)).sum()}[where]

    def broken(variables, batch, key, clock):
        out = model.critic_loss(variables, batch, key, clock)
        kernel = variables["critic"]["params"]["layers_0"]["kernel"]
        return out.replace(value=out.value + jax.lax.cond(clock.step == 1, spike, lambda w: 0.0, kernel))

    plays = {"critic": model.plays()["critic"]._replace(loss=broken)}
    plays["generator"] = model.plays()["generator"]._replace(when=None)
    step = jax.jit(make_train_step(plays, skip_non_finite=True))
    first, good = step(init_state(model, plays, jax.random.key(0), BATCH), BATCH)
    second, bad = step(first, BATCH)
    kept = ("params", "collections", "average")
    for name in kept:
        before, after = getattr(first, name), getattr(second, name)
        chex.assert_trees_all_equal(before["critic"], after["critic"])
        moved = jax.tree.map(lambda a, b: bool((a != b).any()), before["generator"], after["generator"])
        assert any(jax.tree.leaves(moved))
    chex.assert_trees_all_equal(first.opt_state["critic"], second.opt_state["critic"])
    assert int(second.moves["critic"]) == 1 and int(second.step) == 2
    assert [int(m["critic"]["skipped"]) for m in (good, bad)] == [0, 1]
    assert [int(m["critic"]["played"]) for m in (good, bad)] == [1, 0] and bad["critic"]["loss"] == 0
    third, _ = step(second, BATCH)
    assert int(third.moves["critic"]) == 2
