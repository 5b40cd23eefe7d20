"""Small runs of every kind of game, for tests that kill and resume them, here and in processes of their own.

`python -m tests.training.runs KIND FOLDER KILL_AT` trains and dies by SIGKILL when the batch of step KILL_AT is asked
for.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import optax

from jaxgen.data import ArraySource, Splits
from jaxgen.models.flows.real_nvp import real_nvp_image
from jaxgen.models.gans import dense_wgan_gp
from jaxgen.models.vaes import dense_vae
from jaxgen.training import Phase, Settings, fit
from tests.training.games import Duel

STEPS = 24
SETTINGS = Settings(
    steps=STEPS, batch_size=16, log_every=5, eval_every=8, checkpoint_every=6, steps_per_call=4, ema=0.9, seed=3
)


class Deadly(ArraySource):
    """A source that kills the process when it is asked for the batch of a step."""

    kill_at: int | None = None

    def indices_at(self, step, size, seed):
        if self.kill_at is not None and step >= self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().indices_at(step, size, seed)


def images(rows: int, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    return {"x": rng.binomial(16, 0.3, (rows, 4, 4, 1)).astype(np.uint8)}


def points(rows: int, seed: int) -> dict:
    return {"x": np.random.default_rng(seed).normal(1.0, 2.0, (rows, 2)).astype(np.float32)}


def game(kind: str):
    """A model, its data, and its phases where it has several; sources that can kill."""
    levels, make = (17, images) if kind in ("flow", "vae") else (None, points)
    data = Splits(*(Deadly(make(rows, seed), levels=levels) for seed, rows in enumerate((96, 32, 32))))
    if kind == "flow":
        return real_nvp_image((4, 4, 1), num_levels=17, num_scales=1, depth=1, width=4), data, None
    if kind == "vae":
        return dense_vae((4, 4, 1), latent_dim=3, widths=(8,), levels=17), data, None
    if kind == "gan":
        return replace(dense_wgan_gp((2,), width=8, depth=2), critic_steps=3), data, None
    model = Duel()
    alone = {"generator": model.plays()["generator"]._replace(when=None, optimizer=optax.adam(1e-2))}
    return model, data, (Phase(alone, 10), Phase(model.plays(), STEPS - 10))


def train(kind: str, folder: Path, *, kill_at: int | None = None, resume: bool = False):
    model, data, phases = game(kind)
    data.train.kill_at = kill_at
    return fit(model, data, SETTINGS, phases=phases, out=folder, resume=resume, progress=False)


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]), kill_at=int(sys.argv[3]))
    sys.exit("it was not killed")
