"""Many steps in one compiled call against one call per step, on a small GAN: `python -m experiments.benchmarks.scan`.

The same steps, batches and width both ways, alternately, after warm-up; the median of the rounds, and their range.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import jax
import numpy as np

from experiments.commands import parse
from jaxgen.data import source
from jaxgen.models.gans.wgan_gp import dense_wgan_gp
from jaxgen.training import init_state, make_train_step, many_steps


@dataclass(frozen=True)
class Scan:
    width: int = 128
    batch_size: int = 256
    steps: int = 200
    """Steps per round."""
    rounds: int = 15


def main(config: Scan) -> dict[str, list[float]]:
    """Steps per second, and per second of processor time, in each round, by way."""
    model, train = dense_wgan_gp((2,), width=config.width), source("twenty_five_gaussians").train
    plays = model.plays()
    step = make_train_step(plays)
    state = jax.jit(lambda: init_state(model, plays, jax.random.key(0), train.head(512)))()
    arrays = jax.device_put(train.arrays)
    one = jax.jit(step, donate_argnums=0)
    many = jax.jit(many_steps(step, config.steps), donate_argnums=0)
    indices = np.stack([train.indices_at(i, config.batch_size, 0) for i in range(config.steps)])

    def calls(state):
        for i in range(config.steps):
            state, metrics = one(state, train.batch_at(i, config.batch_size, 0))
        return jax.block_until_ready(state)

    def scanned(state):
        return jax.block_until_ready(many(state, arrays, indices, np.int32(config.steps))[0])

    ways, rates = {"one call a step": calls, f"{config.steps} steps a call": scanned}, {}
    for way in ways.values():
        state = way(state)
    for _ in range(config.rounds):
        for name, way in ways.items():
            began, processor = time.perf_counter(), time.process_time()
            state = way(state)
            seconds = time.perf_counter() - began, time.process_time() - processor
            for measure, taken in zip((name, f"{name}, processor time"), seconds, strict=True):
                rates.setdefault(measure, []).append(config.steps / taken)
    return rates


if __name__ == "__main__":
    measured = main(parse(Scan, __doc__, "experiments.benchmarks.scan"))
    for name, values in measured.items():
        print(f"{name}: median {np.median(values):.0f} steps/s, from {min(values):.0f} to {max(values):.0f}")
    slow, slow_processor, fast, fast_processor = (np.median(values) for values in measured.values())
    print(f"ratio of the medians: {fast / slow:.2f}, of processor time {fast_processor / slow_processor:.2f}")
