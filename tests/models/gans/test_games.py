"""What every game of the wing has to do, whatever its losses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.contracts import Clock, Model
from jaxgen.losses import f_divergences
from jaxgen.models.gans import (
    ACGAN,
    BEGAN,
    DRAGAN,
    EBGAN,
    GAN,
    R1,
    BottleneckGAN,
    FDivergence,
    GradientPenalty,
    Hinge,
    ImportanceWeighted,
    InfoGAN,
    Lazy,
    LeastSquares,
    LocalizedGAN,
    Minimax,
    Proximal,
    SemiSupervisedGAN,
    Wasserstein,
)
from jaxgen.nets import MLP, Concatenate, DCGANCritic, DCGANGenerator, Hadamard, InstanceNoise, NoisyMLP, Projection
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from tests.models.parameters import KEY, batch_for, drawn

NET, EVENT = MLP((8,)), (2, 2, 1)
DENSE = GAN(NET, NET, EVENT, 3, 17)
CLASSES = {"context": np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]}
GAMES = {
    "gan": DENSE,
    "dcgan": GAN(DCGANGenerator((2, 2), (4, 3)), DCGANCritic((3, 4), 3), (8, 8, 1), 3, 17),
    "minimax": dataclasses.replace(DENSE, criterion=Minimax(0.9), packing=2),
    "least squares": dataclasses.replace(DENSE, criterion=LeastSquares(-1, 1, 0), penalties=(DRAGAN(),)),
    "hinge": dataclasses.replace(DENSE, criterion=Hinge(), penalties=(Lazy(R1(), 2),), critic_steps=2),
    "wgan-gp": dataclasses.replace(DENSE, criterion=Wasserstein(), penalties=(GradientPenalty(),), packing=3),
    "f-gan": dataclasses.replace(DENSE, criterion=FDivergence(f_divergences.SquaredHellinger())),
    "weighted": dataclasses.replace(DENSE, criterion=ImportanceWeighted(), transforms=(InstanceNoise(0.1, 100),)),
    "proximal": dataclasses.replace(DENSE, proximal=Proximal(0.1, 3)),
    "cgan": dataclasses.replace(DENSE, generator_condition=Hadamard(), critic_condition=Concatenate(2)),
    "projection": dataclasses.replace(DENSE, critic_condition=Projection()),
    "acgan": ACGAN(NET, NET, EVENT, 3, 17, classes=3),
    "infogan": InfoGAN(NET, NET, EVENT, 3, 17, categories=(3, 2), numbers=1, recognition=MLP((4,))),
    "ebgan": EBGAN(NET, NET, EVENT, 3, 17, decoder=NET, pulling_away=0.1),
    "began": BEGAN(NET, NET, EVENT, 3, 17, decoder=NET),
    "bottleneck": BottleneckGAN(NET, NET, EVENT, 3, 17, codes=4),
    "localized": LocalizedGAN(NET, NET, EVENT, 2, 17),
    "semi-supervised": SemiSupervisedGAN(NET, NoisyMLP((8, 4)), EVENT, 3, 17, classes=3),
}


# the others' mathematics are tested where they are
QUICK = {"gan", "minimax", "wgan-gp", "proximal", "began", "semi-supervised"}


def batch_of(name):
    model = GAMES[name]
    batch = batch_for(model)
    if name in ("cgan", "projection", "acgan"):
        return {**batch, **CLASSES}
    if name == "localized":
        return {**batch, "context": np.float32(batch["x"].reshape(6, -1) / 8 - 1)}
    if name == "semi-supervised":
        return {"labelled": {**batch, "label": np.arange(6) % 3}, "unlabelled": batch}
    return batch


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in GAMES])
def test_a_step_moves_every_player_by_its_own_play(name):
    model, batch = GAMES[name], batch_of(name)
    assert isinstance(model, Model)
    plays = model.plays()
    step = jax.jit(make_train_step(plays, 0.9))
    first = init_state(model, plays, KEY, batch)
    # a step at which everybody moves
    first = first.replace(step=jnp.int32(model.critic_steps - 1))
    state, metrics = step(first, batch)
    for play, figures in metrics.items():
        assert figures["played"] == 1
        assert all(np.isfinite(value) for value in figures.values()), (play, figures)
        assert figures["grad_norm"] > 0
    moved = {
        player: [np.abs(a - b).max() > 0 for a, b in zip(*map(jax.tree.leaves, (before, state.params[player])), strict=True)]
        for player, before in first.params.items()
    }
    assert all(np.mean(leaves) > 0.5 for leaves in moved.values()), moved
    context = batch.get("context")
    samples = jax.jit(model.sample, static_argnums=2)(state.variables, KEY, 6, context)
    assert samples.shape == (6, *model.event_shape) and samples.dtype == jnp.uint8
    whole = batch if "x" in batch else {**batch["unlabelled"], "label": batch["labelled"]["label"]}
    figures = jax.jit(model.evaluate)(state.variables, whole, KEY)
    assert model.monitor[0] in figures and all(np.isfinite(value) for value in figures.values())


@pytest.mark.parametrize("name", GAMES)
def test_a_game_can_be_written_down_and_compared(name):
    again = build(describe(GAMES[name]))
    assert again == GAMES[name] and hash(again) == hash(GAMES[name])


@pytest.mark.parametrize("name", ["gan", "infogan", pytest.param("semi-supervised", marks=pytest.mark.slow)])
def test_no_play_leads_a_gradient_into_another_player(name):
    """Of the critic's loss none reaches the generator; of the generator's, what the play moves is what it should."""
    model, batch = GAMES[name], batch_of(name)
    variables = drawn(model, batch)
    for play_name, play in model.plays().items():
        def loss(params, play=play):
            whole = {player: {**v, "params": params[player]} for player, v in variables.items()}
            return play.loss(whole, batch, KEY, Clock()).value

        grads = jax.jit(jax.grad(loss))({player: v["params"] for player, v in variables.items()})
        sizes = {player: max(float(np.abs(g).max()) for g in jax.tree.leaves(mine)) for player, mine in grads.items()}
        assert all(sizes[player] > 0 for player in play.players), (play_name, sizes)
        if play_name == "critic":
            assert sizes["generator"] == 0


def test_a_game_says_where_rows_meet():
    """Only of losses that are means over rows may a batch's gradient be taken in parts."""
    apart = {name: tuple(play.accumulates for play in game.plays().values()) for name, game in GAMES.items()}
    meeting = {
        "minimax": (False, False), "wgan-gp": (False, False),  # packed
        "least squares": (False, True),  # DRAGAN's points are as far as the batch's spread
        "weighted": (True, False), "ebgan": (True, False), "semi-supervised": (True, False),
    }  # fmt: skip
    assert apart == {name: meeting.get(name, (True, True)) for name in GAMES}


def test_a_penalty_on_a_critic_with_batch_statistics_is_refused_with_the_reason():
    model = dataclasses.replace(GAMES["dcgan"], penalties=(GradientPenalty(),))
    with pytest.raises(ValueError, match="depend on the other rows"):
        model.init(KEY, batch_for(model))
    # and one without them is not
    dataclasses.replace(model, critic=DCGANCritic((3, 4), 3, norm=None)).init(KEY, batch_for(model))


def test_rows_that_cannot_be_packed_are_refused():
    model = dataclasses.replace(DENSE, packing=4)
    with pytest.raises(ValueError, match="packed by 4"):
        model.critic_loss(drawn(model, batch_for(model)), batch_for(model), KEY, Clock())
