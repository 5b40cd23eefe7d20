"""What every game of the wing has to do, whatever its losses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.contracts import Clock, Model
from jaxgen.losses import f_divergences
from jaxgen.models.gans import (
    BEGAN,
    DRAGAN,
    EBGAN,
    GAN,
    R1,
    WGAN,
    WGANGP,
    AdaptiveAugmentation,
    Bottleneck,
    ClassLoss,
    FDivergence,
    GradientPenalty,
    Hinge,
    ImportanceWeighted,
    Information,
    Lazy,
    LeastSquares,
    LocalizedGAN,
    Minimax,
    Proximal,
    PullingAway,
    Rotations,
    SemiSupervisedGAN,
    Wasserstein,
)
from jaxgen.nets import (
    MLP, BatchNorm, Concatenate, DCGANCritic, DCGANGenerator, FiLM, InstanceNoise, MinibatchDiscrimination, NoisyMLP,
    Projection,
)
from jaxgen.nets.interaction import examples_interact
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from tests.models.parameters import KEY, batch_for, drawn

NET, EVENT = MLP((8,)), (2, 2, 1)
DENSE = GAN(NET, NET, EVENT, latent_dim=3, levels=17)
DIMS = {"latent_dim": 3, "levels": 17}
CLASSES = {"context": np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]}
GAMES = {
    "gan": DENSE,
    "dcgan": GAN(DCGANGenerator((2, 2), (4, 3)), DCGANCritic((3, 4), 3), (8, 8, 1), latent_dim=3, levels=17),
    "minimax": dataclasses.replace(DENSE, adversarial_loss=Minimax(0.9), packing=2),
    "least squares": dataclasses.replace(DENSE, adversarial_loss=LeastSquares(-1, 1, 0), terms=(DRAGAN(),)),
    "hinge": dataclasses.replace(DENSE, adversarial_loss=Hinge(), terms=(Lazy(R1(), 2),), critic_steps=2),
    "wgan-gp": dataclasses.replace(DENSE, adversarial_loss=Wasserstein(), terms=(GradientPenalty(),), packing=3),
    "f-gan": dataclasses.replace(DENSE, adversarial_loss=FDivergence(f_divergences.SquaredHellinger())),
    "weighted": dataclasses.replace(
        DENSE, adversarial_loss=ImportanceWeighted(), transforms=(InstanceNoise(0.1, 100),)
    ),
    "proximal": dataclasses.replace(DENSE, terms=(Proximal(0.1, 3),)),
    "cgan": dataclasses.replace(DENSE, generator_condition=FiLM(), critic_condition=Concatenate(2)),
    "projection": dataclasses.replace(DENSE, critic_condition=Projection()),
    "acgan": dataclasses.replace(DENSE, terms=(ClassLoss(3),)),
    "acgan with a bottleneck": dataclasses.replace(DENSE, terms=(ClassLoss(3), Bottleneck(0.1, code_dim=4))),
    "infogan": dataclasses.replace(DENSE, terms=(Information((3, 2), 1, MLP((4,))),)),
    "ebgan": EBGAN(NET, NET, EVENT, decoder=NET, terms=(PullingAway(),), **DIMS),
    "began": BEGAN(NET, NET, EVENT, decoder=NET, **DIMS),
    "bottleneck": dataclasses.replace(DENSE, terms=(Bottleneck(code_dim=4),)),
    "rotations": dataclasses.replace(DENSE, terms=(Rotations(), AdaptiveAugmentation(images=100, initial=0.5))),
    "localized": LocalizedGAN(NET, NET, EVENT, latent_dim=2, levels=17),
    "semi-supervised": SemiSupervisedGAN(NET, NoisyMLP((8, 4)), EVENT, num_classes=3, **DIMS),
}


# the others' mathematics are tested where they are
QUICK = {"wgan-gp", "proximal", "began", "semi-supervised", "acgan with a bottleneck"}


def batch_of(name):
    model = GAMES[name]
    batch = batch_for(model)
    if name.startswith("acgan") or name in ("cgan", "projection"):
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
    first = first.replace(phase_step=jnp.int32(model.critic_steps - 1))
    state, metrics = step(first, batch)
    for play, figures in metrics.items():
        assert figures["played"] == 1
        assert all(np.isfinite(value) for value in figures.values()), (play, figures)
        assert figures["grad_norm"] > 0
    moved = {
        player: [
            np.abs(a - b).max() > 0 for a, b in zip(*map(jax.tree.leaves, (before, state.params[player])), strict=True)
        ]
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
    """The critic's loss has no gradient in the generator; each play's loss has one in its own players."""
    model, batch = GAMES[name], batch_of(name)
    variables = drawn(model, batch)
    for play_name, play in model.plays().items():
        def loss(params, play=play):
            whole = {player: {**v, "params": params[player]} for player, v in variables.items()}
            return jax.jit(play.loss)(whole, batch, KEY, Clock()).value

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
        "dcgan": (False, False),  # batch normalisation
        "weighted": (True, False), "ebgan": (True, False), "semi-supervised": (True, False),
        "rotations": (False, False),  # of the first examples of a batch
    }  # fmt: skip
    assert apart == {name: meeting.get(name, (True, True)) for name in GAMES}


@pytest.mark.parametrize("network", [
    MinibatchDiscrimination(2, 3),
    nn.Sequential((nn.Dense(4), MinibatchDiscrimination(2, 3))),
    DCGANCritic((3, 4), 3, norm=BatchNorm),
])
def test_networks_in_which_examples_meet_are_found_wherever_they_stand(network):
    assert examples_interact(network) and not examples_interact(DENSE) and not examples_interact(nn.Dense)
    for field in ("critic", "generator"):
        model = dataclasses.replace(DENSE, **{field: network})
        assert not any(play.accumulates for play in model.plays().values())


def test_a_critic_that_compares_examples_would_accumulate_another_gradient():
    """Why `accumulates` is False: the mean of the scores of halves of a batch is not that of the batch."""
    critic = MinibatchDiscrimination(2, 3)
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    whole, variables = critic.init_with_output(KEY, x)
    halves = np.concatenate([critic.apply(variables, part) for part in (x[:3], x[3:])])
    assert np.abs(whole - halves).max() > 0.1


@pytest.mark.slow
def test_a_penalty_on_a_critic_with_batch_statistics_is_refused_with_the_reason():
    model = dataclasses.replace(GAMES["dcgan"], terms=(GradientPenalty(),))
    with pytest.raises(ValueError, match="depend on the other examples"):
        jax.eval_shape(model.init, KEY, batch_for(model))
    # and one without them is not
    dataclasses.replace(model, critic=DCGANCritic((3, 4), 3, norm=None)).init(KEY, batch_for(model))


def test_rows_that_cannot_be_packed_are_refused():
    model = dataclasses.replace(DENSE, packing=4)
    with pytest.raises(ValueError, match="multiple of packing=4, got 6"):
        model.critic_loss(drawn(model, batch_for(model)), batch_for(model), KEY, Clock())


def adam(gradients, rate, b1, b2):
    """Adam's updates by its equations."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        yield -rate * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + 1e-8)


POINTS = {"generator": NET, "critic": NET, "event_shape": (2,)}
OPTIMIZERS = {
    "dcgan": (GAN(**POINTS), 2e-4, 0.5, 0.999),
    "began": (BEGAN(**POINTS, decoder=NET), 1e-4, 0.9, 0.999),
    "semi-supervised": (SemiSupervisedGAN(**POINTS), 3e-3, 0.5, 0.999),
    "wgan-gp, points": (WGANGP(**POINTS), 1e-4, 0.5, 0.9),
    "wgan-gp, images": (WGANGP(NET, NET, (8, 8, 1)), 2e-4, 0.0, 0.9),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_plays_have_the_optimizers_of_their_papers(name):
    model, *expected = OPTIMIZERS[name]
    gradients = np.float32([0.3, -0.1, 0.4])
    for play in model.plays().values():
        state, updates = play.optimizer.init(jnp.zeros(())), []
        for gradient in gradients:
            update, state = play.optimizer.update(jnp.asarray(gradient), state, jnp.zeros(()))
            updates.append(float(update))
        np.testing.assert_allclose(updates, list(adam(gradients, *expected)), rtol=1e-4)


def test_the_wgans_critic_is_clipped_and_its_generator_is_not():
    plays = WGAN(**POINTS).plays()
    assert [bool(plays["generator"].when(Clock(phase_step=i))) for i in range(6)] == [False] * 4 + [True, False]
    weights = jnp.float32([-0.5, 0.0, 0.5])
    for name, play in plays.items():
        update, _ = play.optimizer.update(jnp.ones(3), play.optimizer.init(weights), weights)
        after = weights + update
        # the first step of RMSProp with decay 0.99 is rate / sqrt(0.01)
        expected = [-0.01, -5e-4, 0.01] if name == "critic" else [-0.5005, -5e-4, 0.4995]
        np.testing.assert_allclose(after, expected, rtol=1e-4)


def test_terms_that_would_share_variables_are_refused():
    batch = {**batch_for(DENSE), **CLASSES}
    for term in (ClassLoss(3), Bottleneck(), Proximal()):
        with pytest.raises(ValueError, match="`terms` must not share variables"):
            jax.eval_shape(dataclasses.replace(DENSE, terms=(term, term)).init, KEY, batch)
    with pytest.raises(ValueError, match="`terms` must have at most one that adds codes"):
        dataclasses.replace(DENSE, terms=(Information(), Information((2,))))
    for terms in (ClassLoss(3), (Hinge(),)):
        with pytest.raises(ValueError, match="`terms` must be a tuple of `Term`s, got"):
            dataclasses.replace(DENSE, terms=terms)
