import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.contracts import Clock, Phase
from jaxgen.models.gans import GAN, Proximal
from jaxgen.training.state import enter_phase, init_state
from jaxgen.training.step import make_train_step
from tests.models.gans.linear import NET, PRIOR, Z, as_written, linear, with_optimizer
from tests.models.parameters import KEY, batch_for, drawn

GAME = GAN(NET, NET, (2,), latent_dim=2, prior=PRIOR)
BATCH = batch_for(GAME)


def softplus(x):
    return jnp.logaddexp(x, 0)


def distance(params, previous):
    """E |G(z) - G_old(z)|^2, summed over the event."""
    return ((linear(params, Z) - linear(previous, Z)) ** 2).sum(-1).mean()


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_the_proximal_term_is_the_distance_from_an_earlier_generator(decay):
    model = dataclasses.replace(GAME, terms=(Proximal(0.7, 3, decay),), critic_steps=2)
    variables = drawn(model, BATCH)
    previous, present = variables["generator"]["previous"], variables["generator"]["params"]
    assert jax.tree.structure(previous) == jax.tree.structure(present)
    anchor = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, previous, present) if decay else previous

    def expected(params):
        score = linear(params["critic"], linear(params["generator"], Z))[:, 0]
        return softplus(-score).mean() + 0.7 * distance(params["generator"], anchor)

    # the generator's second move
    out = as_written(model.plays()["generator"], variables, BATCH, expected, Clock(step=3, phase_step=3, moves=1))
    held = out.memory["generator"]["previous"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), held, anchor)
    assert float(out.metrics["proximal"]) == pytest.approx(0.7 * float(distance(present, anchor)), rel=1e-4)


def test_an_earlier_self_of_the_present_does_nothing():
    model = dataclasses.replace(GAME, terms=(Proximal(0.7, 1),))
    variables = drawn(model, BATCH)
    plain = GAME.plays()["generator"].loss
    as_written(
        model.plays()["generator"], variables, BATCH,
        lambda params: plain({player: {"params": p} for player, p in params.items()}, BATCH, KEY, Clock()).value,
        Clock(2, 2, 2),
    )  # fmt: skip


def nan_at_step_5(x, key, step):
    return x + jnp.where(step == 5, jnp.nan, 0.0)


CASES = ["first phase", "carried into a second phase", "fresh in a second phase", "a skipped move"]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_earlier_parameters_are_renewed_by_the_generators_own_moves(case):
    """The generator moves at every second step; before its moves 0, 3, 6, ... the earlier ones become the present."""
    model = dataclasses.replace(GAME, terms=(Proximal(0.1, 3),), critic_steps=2)
    if case == "a skipped move":
        model = dataclasses.replace(model, transforms=(nan_at_step_5,))
    plays = with_optimizer(model, optax.adam(0.01))
    step = make_train_step(plays, 0.9, skip_non_finite=case == "a skipped move")

    def follow(state, _):
        before = state.params["generator"]["head"]["out"]["kernel"], state.moves["generator"]
        state, metrics = step(state, BATCH)
        previous = state.collections["generator"]["previous"]["head"]["out"]["kernel"]
        averaged = state.average["generator"]["previous"]["head"]["out"]["kernel"]
        return state, (*before, previous, averaged, metrics["generator"])

    @jax.jit
    def both_phases(state):
        # four moves, so that the second phase does not begin at a multiple of three
        state, first = jax.lax.scan(follow, state, length=8)
        if "second" in case:
            state = enter_phase(state, Phase(plays, 8, fresh_optimizers=case.startswith("fresh")))
        _, second = jax.lax.scan(follow, state, length=8)
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)

    kernels, moves, previous, averaged, metrics = both_phases(init_state(model, plays, KEY, BATCH))
    played = np.arange(16) % 2
    if case == "a skipped move":
        played[5] = 0
    np.testing.assert_array_equal(metrics["played"], played)
    expected, count, anchor = [], 0, kernels[0]
    for i in range(16):
        if i == 8 and case.startswith("fresh"):
            count = 0
        assert moves[i] == count
        if played[i]:
            anchor = kernels[i] if count % 3 == 0 else anchor
            assert (metrics["proximal"][i] > 0) == (count % 3 > 0)
            count += 1
        expected.append(anchor)
    np.testing.assert_array_equal(previous, expected)
    # memory: averages take it as it is
    np.testing.assert_array_equal(averaged, previous)
    assert len(np.unique(np.asarray(expected)[:, 0, 0])) > 2
