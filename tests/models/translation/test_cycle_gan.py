"""CycleGAN against its equations, with linear networks.

`python -m tests.models.translation.test_cycle_gan FOLDER KILL_AT` trains and dies by SIGKILL at a step;
`python -m tests.models.translation.test_cycle_gan devices` prints how far eight devices lead from one.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.contracts import Clock, Model
from jaxgen.data import ArraySource, Zipped
from jaxgen.models.gans import Hinge, ImportanceWeighted
from jaxgen.models.translation import CycleGAN, Domain, ImagePool
from jaxgen.models.translation.cycle_gan import adam_with_linear_decay
from jaxgen.nets import MLP, BatchNorm, InstanceNorm, PatchCritic, ResNetTranslator
from jaxgen.nets.heads import Headed, ScalarHead
from jaxgen.training import Settings, TrainedModel, fit, init_state, jit_step, make_mesh, make_train_step
from jaxgen.training.description import build, describe
from tests.models.gans.linear import NET, as_written, linear
from tests.models.parameters import KEY, drawn
from tests.training.on_devices import distance
from tests.training.runs import Deadly

ROOT = Path(__file__).parents[3]
PLANE = Domain((2,), None)
RNG = np.random.default_rng(0)
X, Y, STORED_A, STORED_B = (RNG.normal(size=(4, 2)).astype(np.float32) for _ in range(4))
BATCH = {"a": {"x": X}, "b": {"x": Y}}


class Swapping(ImagePool):
    """Always shows what it has stored, and stores what is new."""

    def replay(self, pool, new, key):
        return pool["pictures"], {**pool, "pictures": new}


GAME = CycleGAN(
    NET, ScalarHead(), PLANE, PLANE, pool=Swapping(4), adversarial_weight=1.4, cycle_weight=3.0, identity_weight=0.7
)
POOLS = {"critic_a": STORED_A, "critic_b": STORED_B}
VARIABLES = {
    player: {
        **collections,
        **({"pool": {"pictures": POOLS[player], "filled": jnp.int32(4)}} if player in POOLS else {}),
    }
    for player, collections in drawn(GAME, BATCH).items()
}
PARAMS = {player: collections["params"] for player, collections in VARIABLES.items()}


def score(params, domain, x):
    return linear(params[f"critic_{domain}"], x)[:, 0]


def away(a, b):
    return jnp.abs(a - b).mean()


def with_generators(**kernels):
    """The variables with these kernels, and no biases, of the generators."""
    heads = {
        f"to_{to}": {"params": {"head": {"out": {"kernel": jnp.asarray(k), "bias": jnp.zeros(2)}}}}
        for to, k in kernels.items()
    }
    return VARIABLES | heads


def test_players_are_two_generators_and_two_critics():
    assert set(VARIABLES) == {"to_a", "to_b", "critic_a", "critic_b"} and isinstance(GAME, Model)
    moves = {name: play.players for name, play in GAME.plays().items()}
    assert moves == {"critics": ("critic_a", "critic_b"), "generators": ("to_a", "to_b")}


def test_critics_halve_the_squares_and_see_what_the_pool_shows():
    def expected(params):
        a, b = score(params, "a", X), score(params, "b", Y)
        old_a, old_b = score(params, "a", STORED_A), score(params, "b", STORED_B)
        return sum(((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2 for real, fake in ((a, old_a), (b, old_b)))

    out = as_written(GAME.plays()["critics"], VARIABLES, BATCH, expected)
    np.testing.assert_allclose(out.memory["critic_a"]["pool"]["pictures"], linear(PARAMS["to_a"], Y), rtol=1e-5)
    np.testing.assert_allclose(out.memory["critic_b"]["pool"]["pictures"], linear(PARAMS["to_b"], X), rtol=1e-5)


def test_critics_give_the_generators_no_gradient():
    game = dataclasses.replace(GAME, pool=ImagePool(0))

    def loss(players):
        return jax.jit(game.critics_loss)({**VARIABLES, **players}, BATCH, KEY, Clock()).value

    fresh = jax.jit(game.critics_loss)(VARIABLES, BATCH, KEY, Clock()).metrics["fake_b"]
    assert float(fresh) == pytest.approx(float(score(PARAMS, "b", linear(PARAMS["to_b"], X)).mean()), rel=1e-4)
    gradient = jax.jit(jax.grad(loss))({player: VARIABLES[player] for player in ("to_a", "to_b")})
    assert all(float(jnp.abs(leaf).max()) == 0 for leaf in jax.tree.leaves(gradient))


def test_generators_have_whole_squares_cycles_and_identities():
    def expected(params):
        to_a, to_b = (lambda x, to=to: linear(params[to], x) for to in ("to_a", "to_b"))
        adversarial = ((score(params, "b", to_b(X)) - 1) ** 2).mean() + ((score(params, "a", to_a(Y)) - 1) ** 2).mean()
        cycle = away(to_a(to_b(X)), X) + away(to_b(to_a(Y)), Y)
        identity = away(to_b(Y), Y) + away(to_a(X), X)
        return 1.4 / 2 * adversarial + 3.0 * cycle + 0.7 * identity

    out = as_written(GAME.plays()["generators"], VARIABLES, BATCH, expected)
    assert {"adversarial", "cycle", "identity"} <= set(out.metrics)
    # the paper's weights: whole squares, 10, and half of it
    assert (CycleGAN.adversarial_weight, CycleGAN.cycle_weight, CycleGAN.identity_weight) == (2.0, 10.0, 5.0)


@pytest.mark.parametrize("fields, critics, generators", [
    ({}, False, True), ({"pool": ImagePool(0)}, True, True),
    ({"pool": ImagePool(0), "adversarial_loss": Hinge()}, True, True),
    ({"pool": ImagePool(0), "adversarial_loss": ImportanceWeighted()}, True, False),
])  # fmt: skip
def test_losses_are_means_over_examples_without_a_pool(fields, critics, generators):
    plays = dataclasses.replace(GAME, **fields).plays()
    assert (plays["critics"].accumulates, plays["generators"].accumulates) == (critics, generators)


def test_gradients_of_parts_are_accumulated_without_a_pool():
    game, data = dataclasses.replace(GAME, pool=ImagePool(0)), Zipped({k: ArraySource(v) for k, v in BATCH.items()})
    sgd = {name: optax.sgd(0.1) for name in game.plays()}
    whole, parts = (
        fit(
            game, data, Settings(steps=1, batch_size=4, ema=0.0, accumulate=n), optimizers=sgd, progress=False
        ).variables
        for n in (1, 2)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), whole, parts)


def test_batches_of_the_domains_may_differ_in_size():
    """Each term is a mean over its own batch; as large batches of both domains go through a generator together."""
    small, large = ({"a": {"x": np.concatenate([X] * n)}, "b": {"x": Y}} for n in (1, 3))
    for loss in (GAME.generators_loss, dataclasses.replace(GAME, pool=ImagePool(0)).critics_loss):
        outputs = [loss(VARIABLES, batch, KEY, Clock()) for batch in (small, large)]
        assert float(outputs[0].value) == pytest.approx(float(outputs[1].value), rel=1e-5)


def test_identities_have_no_identity_loss_and_see_the_target_domain_alone():
    def identity(variables, a, b):
        batch = {"a": {"x": a}, "b": {"x": b}}
        return jax.jit(GAME.generators_loss)(variables, batch, KEY, Clock()).metrics["identity"]

    same = np.eye(2, dtype=np.float32)
    assert float(identity(with_generators(a=same, b=same), X, Y)) == pytest.approx(0, abs=1e-6)
    # only G: a -> b differs from the identity, and by its examples of b
    variables = with_generators(a=same, b=2 * same)
    assert float(identity(variables, X, Y)) == pytest.approx(float(np.abs(Y).mean()), rel=1e-5)
    of_a, of_b = jax.jit(jax.grad(identity, (1, 2)))(variables, jnp.asarray(X), jnp.asarray(Y))
    assert float(jnp.abs(of_a).max()) == 0 and float(jnp.abs(of_b).min()) > 0


def test_inverse_maps_have_no_cycle_loss():
    kernel = np.float32([[2.0, 1.0], [0.5, -1.0]])
    there_and_back = with_generators(b=kernel, a=np.linalg.inv(kernel))
    cycle = jax.jit(GAME.generators_loss)(there_and_back, BATCH, KEY, Clock()).metrics["cycle"]
    assert float(cycle) == pytest.approx(0, abs=1e-6)
    metrics = GAME.evaluate(there_and_back, BATCH, KEY)
    assert all(float(value) == pytest.approx(0, abs=1e-6) for value in metrics.values())
    cycle = GAME.generators_loss(with_generators(b=kernel, a=kernel), BATCH, KEY, Clock()).metrics["cycle"]
    assert float(cycle) == pytest.approx(sum(np.abs(x @ kernel @ kernel - x).mean() for x in (X, Y)), rel=1e-5)


def test_translations_go_to_the_named_domain_and_reconstructions_there_and_back():
    there, back = np.float32([[2.0, 1.0], [0.0, 1.0]]), np.float32([[0.0, 3.0], [1.0, 0.0]])
    trained = TrainedModel(GAME, with_generators(b=there, a=back))
    np.testing.assert_allclose(trained.translate(X), X @ there, rtol=1e-6)
    np.testing.assert_allclose(trained.translate(Y, to="a"), Y @ back, rtol=1e-6)
    np.testing.assert_allclose(trained.reconstruct(X, "a"), X @ there @ back, rtol=1e-5)
    np.testing.assert_allclose(trained.reconstruct(Y, "b"), Y @ back @ there, rtol=1e-5)
    metrics = trained.evaluate(BATCH, KEY)
    assert float(metrics["cycle_a"]) == pytest.approx(float(away(X @ there @ back, X)), rel=1e-5)
    assert float(metrics["cycle_b"]) == pytest.approx(float(away(Y @ back @ there, Y)), rel=1e-5)
    with pytest.raises(ValueError, match="a domain must be 'a' or 'b', got 'c'"):
        trained.translate(X, to="c")


def test_terms_of_cartoon_gan_are_fields():
    """Negatives are rejected like translations, beside them, and data count once; content is that of the input."""
    game = dataclasses.replace(
        GAME, negatives=lambda x: x[:, ::-1], content=lambda x: x**2, content_weight=0.3, cycle_weight=0.0,
        identity_weight=0.0
    )

    def critics(params):
        on_data = ((score(params, "a", X) - 1) ** 2).mean() + ((score(params, "b", Y) - 1) ** 2).mean()
        rejected = (
            (score(params, d, x) ** 2).mean()
            for d, x in (("a", STORED_A), ("b", STORED_B), ("a", X[:, ::-1]), ("b", Y[:, ::-1]))
        )
        return (on_data + sum(rejected)) / 2 + jax.lax.stop_gradient(on_data) / 2

    def generators(params):
        b, a = linear(params["to_b"], X), linear(params["to_a"], Y)
        adversarial = ((score(params, "b", b) - 1) ** 2).mean() + ((score(params, "a", a) - 1) ** 2).mean()
        return 0.7 * adversarial + 0.3 * (away(b**2, X**2) + away(a**2, Y**2))

    as_written(game.plays()["critics"], VARIABLES, BATCH, critics)
    as_written(game.plays()["generators"], VARIABLES, BATCH, generators)


def test_translations_are_computed_once_a_step():
    """The generators' loss and the critics' share them: compiled together, plays cost less than alone."""
    wide = dataclasses.replace(GAME, generator=MLP((256,)), pool=ImagePool(2))
    state = jax.eval_shape(lambda: init_state(wide, wide.plays(), KEY, BATCH))

    def operations(*names):
        plays = {name: play for name, play in wide.plays().items() if name in names}
        mine = state.replace(moves={n: state.moves[n] for n in names}, opt_state={n: state.opt_state[n] for n in names})
        return jit_step(make_train_step(plays), make_mesh(1)).lower(mine, BATCH).compile().cost_analysis()["flops"]

    forward = 2 * 2 * 8 * (2 * 256 + 256 * 2)  # both generators, on both domains
    saved = operations("critics") + operations("generators") - operations("critics", "generators")
    assert saved > 0.8 * forward


def test_the_rate_falls_in_the_second_half():
    (phase,) = GAME.phases(10)
    assert phase.steps == 10
    sizes = {}
    for optimizer in (
        phase.plays["critics"].optimizer,
        phase.plays["generators"].optimizer,
        adam_with_linear_decay(2e-4, 10),
    ):
        params = jnp.zeros(())
        state, sizes = optimizer.init(params), []
        for _ in range(10):
            update, state = optimizer.update(jnp.float32(1.0), state, params)
            sizes.append(-float(update))
        # updates of Adam along a constant gradient are the rate
        np.testing.assert_allclose(sizes, 2e-4 * np.minimum(1, 2 - np.arange(10) / 5), rtol=1e-4)


def images(channels):
    return np.random.default_rng(channels).integers(0, 256, (6, 8, 8, channels)).astype(np.uint8)


@pytest.mark.slow
def test_pictures_of_different_channels_are_translated():
    network = ResNetTranslator(width=2, halvings=1, blocks=1, kernel_size=3)
    critic = PatchCritic((2, 2), (2, 1), norm=InstanceNorm)
    game = CycleGAN(network, critic, Domain((8, 8, 1)), Domain((8, 8, 3)), identity_weight=0.0, head_size=3)
    data = {"a": {"x": images(1)}, "b": {"x": images(3)}}
    settings = Settings(steps=2, batch_size=2, ema=0.0, steps_per_call=2)
    trained = fit(
        game, Zipped({name: ArraySource(x, levels=256) for name, x in data.items()}), settings, progress=False
    )
    assert int(trained.variables["critic_b"]["pool"]["filled"]) == 4
    there = trained.translate(data["a"]["x"])
    assert there.shape == (6, 8, 8, 3) and there.dtype == jnp.uint8
    assert trained.reconstruct(data["b"]["x"], "b").shape == (6, 8, 8, 3)
    assert np.isfinite(float(trained.evaluate(data, KEY)["cycle"]))
    assert build(json.loads(json.dumps(describe(game)))) == game
    with pytest.raises(ValueError, match=r"`identity_weight` must be 0 for domains of different shapes, .* got 5.0"):
        dataclasses.replace(game, identity_weight=5.0)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"entries 'a' and 'b', got \['x'\]"):
        jax.eval_shape(GAME.init, KEY, {"x": X})
    for player in ("generator", "critic"):
        network = (
            MLP((3,), norm=BatchNorm) if player == "generator" else Headed(MLP((3,), norm=BatchNorm), ScalarHead())
        )
        with pytest.raises(ValueError, match=f"the {player} must not have batch statistics"):
            jax.eval_shape(dataclasses.replace(GAME, **{player: network}).init, KEY, BATCH)
    for name in ("adversarial_weight", "cycle_weight", "identity_weight", "content_weight"):
        with pytest.raises(ValueError, match=f"`{name}` must be at least 0, got -1"):
            dataclasses.replace(GAME, **{name: -1.0})


SMALL = CycleGAN(MLP((8,)), Headed(MLP((8,)), ScalarHead()), PLANE, PLANE, pool=ImagePool(6))
SETTINGS = Settings(steps=24, batch_size=4, log_every=1, checkpoint_every=6, steps_per_call=4, ema=0.9, seed=3)


def train(folder, *, kill_at=None, resume=False):
    rng = np.random.default_rng(1)
    sources = {name: Deadly({"x": rng.normal(i, 1, (20, 2)).astype(np.float32)}) for i, name in enumerate("ab")}
    sources["b"].kill_at = kill_at
    optimizers = {name: optax.adam(1e-2) for name in SMALL.plays()}
    return fit(SMALL, Zipped(sources), SETTINGS, optimizers=optimizers, out=folder, resume=resume, progress=False)


def run(*arguments, devices=1):
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "tests.models.translation.test_cycle_gan", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_pools_of_a_killed_run_go_on_as_they_were(tmp_path):
    whole = train(tmp_path / "whole").variables
    process = run(str(tmp_path / "killed"), "16")
    assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
    resumed = train(tmp_path / "killed", resume=True).variables
    chex.assert_trees_all_equal(resumed, whole)
    # the pools were full before the checkpoint, so that what is shown depends on what was stored
    assert int(whole["critic_b"]["pool"]["filled"]) == 6


@pytest.mark.slow
def test_eight_devices_lead_where_one_leads():
    process = run("devices", devices=8)
    assert process.returncode == 0, process.stderr[-3000:]
    apart, moved = json.loads(process.stdout.splitlines()[-1])
    assert moved > 1e-3 and apart < 1e-3 * moved


if __name__ == "__main__":
    if sys.argv[1] == "devices":
        assert jax.device_count() == 8
        rng = np.random.default_rng(1)
        data = Zipped(
            {name: ArraySource({"x": rng.normal(i, 1, (96, 2)).astype(np.float32)}) for i, name in enumerate("ab")}
        )
        print(json.dumps(distance(SMALL, data)))
    else:
        train(Path(sys.argv[1]), kill_at=int(sys.argv[2]))
        sys.exit("it was not killed")
