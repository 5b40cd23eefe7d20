"""Run by test_devices.py in a process that has eight devices: prints, for the games named, how far they lead from one.

Plain gradient descent, because Adam turns round-off into whole steps where a gradient is zero.
"""

import json
import sys
from dataclasses import replace

import jax
import numpy as np
import optax

from jaxgen.data import ArraySource
from jaxgen.models.flows.real_nvp import real_nvp_image, real_nvp_vector
from jaxgen.models.gans import dense_wgan_gp
from jaxgen.models.sequences import PolicyGradient, RolloutReward, SeqGAN
from jaxgen.models.vaes import dense_vae
from jaxgen.nets import TokenConvCritic, TokenRNN
from jaxgen.training import Settings, fit, fit_seeds, init_state, jit_step, make_mesh, make_train_step
from tests.training.games import Duel
from tests.training.runs import images, points

STEPS = 20


class Streamed(ArraySource):
    resident = False


class Forgetful(Duel):
    """Without its memory, which `pmap` refuses."""

    def critic_loss(self, variables, batch, key, clock):
        return super().critic_loss(variables, batch, key, clock).replace(memory={})


def slow(plays):
    return {name: play._replace(optimizer=optax.sgd(1e-3)) for name, play in plays.items()}


def largest(a, b):
    """The greatest difference between any two variables."""
    return max(jax.tree.leaves(jax.tree.map(lambda x, y: float(np.abs(np.asarray(x) - np.asarray(y)).max()), a, b)))


def distance(model, data, parallel="jit", seeds=()):
    """How far eight devices end from one, and how far from there it had started."""

    def train(devices, parallel="jit"):
        settings = Settings(
            steps=STEPS, batch_size=16, devices=devices, parallel=parallel, ema=0, steps_per_call=10, log_every=10
        )
        plays = slow(model.plays())
        if seeds:
            return fit_seeds(model, data, settings, plays=plays, seeds=seeds, progress=False)[0].variables
        return fit(model, data, settings, plays=plays, progress=False).variables

    start = jax.jit(lambda: init_state(model, {}, jax.random.key(0), data.head(512)).variables)()
    one = train(1)
    return [largest(one, train(8, parallel)), largest(one, start)]


def work(model, rows):
    """Floating-point operations of a generator's move, on each of eight devices and on one."""
    plays = {"generator": model.plays()["generator"]._replace(when=None)}
    batch = points(rows, 0)
    state = jax.eval_shape(lambda: init_state(model, plays, jax.random.key(0), batch))

    def operations(devices):
        step = jit_step(make_train_step(plays), make_mesh(devices))
        return step.lower(state, batch).compile().cost_analysis()["flops"]

    return [operations(8), operations(1)]


if __name__ == "__main__":
    assert jax.device_count() == 8
    integers, reals = ArraySource(images(96, 0), levels=17), ArraySource(points(96, 0))
    vector = real_nvp_vector(2, depth=1, widths=(8,))
    tokens = ArraySource({"x": np.random.default_rng(0).integers(0, 5, (96, 4)).astype(np.int32)})
    policy = SeqGAN(
        TokenRNN(5, 4, width=3), TokenConvCritic(5, ((2, 3),), 2), objective=PolicyGradient(RolloutReward(2)),
        sequences=16, moves_per_round=2,
    )  # fmt: skip
    games = {
        "flow": lambda: distance(real_nvp_image((4, 4, 1), num_levels=17, num_scales=1, depth=1, width=4), integers),
        "vae": lambda: distance(dense_vae((4, 4, 1), latent_dim=3, widths=(8,), levels=17), integers),
        "gan": lambda: distance(replace(dense_wgan_gp((2,), width=8, depth=2), critic_steps=3), reals),
        "gan with batch statistics": lambda: distance(Duel(), reals),
        "policy of tokens": lambda: distance(policy, tokens),
        "gan, seeds": lambda: distance(dense_wgan_gp((2,), width=8, depth=2), reals, seeds=(0, 1)),
        "vector, streamed seeds": lambda: distance(vector, Streamed(points(96, 0)), seeds=(0, 1)),
        "work of a generator": lambda: work(dense_wgan_gp((2,), width=32, depth=2), 512),
        "flow, streamed": lambda: distance(vector, Streamed(points(96, 0))),
        "flow, pmap": lambda: distance(vector, reals, "pmap"),
        "gan with batch statistics, pmap": lambda: distance(Forgetful(noise=0.0), reals, "pmap"),
    }
    print(json.dumps({name: games[name]() for name in sys.argv[1:]}))
