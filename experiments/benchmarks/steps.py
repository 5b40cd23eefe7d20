"""Train steps and their floor, shared by the benchmarks of training alone, beside `compare.py`.

The floor of a step is the time of the multiply-adds of its layers, forward and backward, at the rate of one plain
product of matrices, with the shape of the step's greatest, timed in the same rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import compare
from jaxgen.heap import free_memory_early


class Product(NamedTuple):
    """A layer as a product of matrices [rows, inputs] x [inputs, outputs], computed `times` times in a training step:
    forward, for the weights' gradient, and for the inputs' gradient if needed."""

    rows: int
    inputs: int
    outputs: int
    times: int = 3

    @property
    def multiply_adds(self) -> int:
        return self.rows * self.inputs * self.outputs * self.times


class Built(NamedTuple):
    """A library's model.

    Attributes:
        parameters: number of parameters of its networks.
        train: one step of Adam, or one of each player; returns the last loss.
        product: the greatest of the step's products alone; None for peers.
    """

    parameters: int
    train: Callable[[], Any]
    product: Callable[[], Any] | None = None


def greatest(products: Sequence[Product]) -> Product:
    return max(products, key=lambda product: product.multiply_adds)


def ours(model: Any, x: Any, products: Sequence[Product], plays: Sequence[str] | None = None) -> Built:
    """The train step of a model of ours, on one batch.

    Args:
        x: the examples, or a whole batch as a mapping.
        plays: the plays of the step; None: all of the model's.
    """
    import jax
    import jax.numpy as jnp
    import optax

    from jaxgen.training import init_state, make_train_step

    free_memory_early()
    batch = jax.tree.map(jnp.asarray, x if isinstance(x, Mapping) else {"x": x})
    adam = optax.adam(compare.LEARNING_RATE)
    played = {name: p._replace(optimizer=adam) for name, p in model.plays().items() if plays is None or name in plays}
    # it runs once, and its key is an argument: XLA would compute the random numbers of a constant one when it compiles
    options = {"xla_backend_optimization_level": 0}
    init = jax.jit(lambda key, batch: init_state(model, played, key, batch), compiler_options=options)
    state = init(jax.random.key(0), batch)
    step = jax.jit(make_train_step(played, ema=0.0), donate_argnums=0)

    def train():
        nonlocal state
        state, metrics = step(state, batch)
        return jax.block_until_ready([metrics[name]["loss"] for name in played])[-1]

    largest, rng = greatest(products), np.random.default_rng(0)
    left, right = (
        jnp.asarray(rng.random(shape, np.float32))
        for shape in ((largest.rows, largest.inputs), (largest.inputs, largest.outputs))
    )
    product = jax.jit(jnp.matmul)
    return Built(
        sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        train,
        lambda: jax.block_until_ready(product(left, right)),
    )


def serve(build: Callable[[], Built], products: Sequence[Product], lines: Any, send: Callable[[Any], None]) -> None:
    """Builds, warms up, and answers the lines."""
    largest = greatest(products)
    compare.serve(build, {"train": 1, "product": largest.rows * largest.outputs}, lines, send)


def with_floor(measured: Mapping[str, Any], products: Sequence[Product]) -> dict[str, Any]:
    """Adds `floor`, the seconds of the multiply-adds at the rate of the greatest product, and a note to a row."""
    measures = dict(measured["measures"])
    if compare.OURS not in measures.get("product processor", {}):
        return dict(measured)
    largest = greatest(products)
    products_seconds = measures["product processor"][compare.OURS]
    rates = [largest.rows * largest.inputs * largest.outputs / seconds for seconds in products_seconds]
    total = sum(product.multiply_adds for product in products)
    floor = [total / rate for rate in rates]
    fraction = np.median(floor) / np.median(measures["train processor"][compare.OURS])
    note = (
        f"{total / 1e9:.3g} G multiply-adds a step at {np.median(rates) / 1e9:.3g} G/s, the rate of a product "
        f"[{largest.rows}, {largest.inputs}] x [{largest.inputs}, {largest.outputs}], are {fraction:.0%} of our step"
    )
    measures["floor"] = {compare.OURS: floor}
    ordered = {name: measures[name] for name in compare.MEASURES if name in measures}
    return {**measured, "measures": ordered, "note": note}
