"""One step on several devices: the state replicated, the batch split along its first axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxgen.sharding import sharded_as
from jaxgen.training.step import TrainStep

AXIS = "data"


def make_mesh(devices: int | None = None) -> Mesh:
    """A one-axis mesh over the first `devices` devices; all of them by default.

    Raises:
        ValueError: there are fewer devices.
    """
    available = jax.devices()
    n = devices or len(available)
    if n > len(available):
        raise ValueError(f"`devices` must be at most the {len(available)} {available[0].platform} devices, got {n}")
    return jax.make_mesh((n,), (AXIS,), axis_types=(AxisType.Auto,), devices=available[:n])


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of the state: whole on each device."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """The sharding of a batch: its axis `axis` divided over the devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))


def placed(tree: Any, sharding: NamedSharding) -> Any:
    """Shapes and dtypes of a tree of arrays with this sharding."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), tree)


def jit_step(step: TrainStep, mesh: Mesh, axis: int = 0) -> TrainStep:
    """Compiles a step over a mesh in the global view; the batch's axis `axis` is divided.

    The step is ordinary single-device code: batch normalisation sees the global batch, noise is drawn for it, and
    training does not depend on the number of devices. The old state's memory is reused (donated).
    """
    whole = replicated(mesh)
    step = sharded_as(split(mesh))(step)
    return jax.jit(step, in_shardings=(whole, split(mesh, axis)), out_shardings=(whole, whole), donate_argnums=0)


def jit_many(many: Callable, mesh: Mesh, axis: int = 1) -> Callable:
    """Compiles `many_steps` over a mesh: examples are gathered from replicated arrays; the axis `axis` of the indices
    is divided over the devices."""
    whole, many = replicated(mesh), sharded_as(split(mesh))(many)
    return jax.jit(
        many, in_shardings=(whole, whole, split(mesh, axis), whole), out_shardings=(whole, whole), donate_argnums=0
    )


def pmap_step(step: TrainStep, devices: int | None = None) -> TrainStep:
    """Runs a step by `jax.pmap` in the per-device view.

    `step` is `make_train_step(plays, axis_name="data")`. It equals the global view for losses that are means over
    examples and draw no noise. Otherwise it differs: noise is drawn on each device, batch statistics are computed from
    each device's examples (then averaged), and a loss over pairs of examples sees the pairs within a device. `jax.pmap`
    is in maintenance mode and no faster; prefer `jit_step`.

    Raises:
        ValueError: the number of devices does not divide the batch.
    """
    n = devices or jax.device_count()
    mapped = jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=(None, None), devices=jax.devices()[:n])

    def per_device(a: Any) -> Any:
        if a.shape[0] % n:
            raise ValueError(f"the batch must be divisible over {n} devices, got {a.shape[0]} examples")
        return a.reshape(n, a.shape[0] // n, *a.shape[1:])

    def run(state, batch):
        return mapped(state, jax.tree.map(per_device, batch))

    return run


def on_first_process(action: Callable[[], bool | None]) -> bool:
    """Calls `action` in the first process of a run while the others wait; returns its truth value in all of them.

    Raises:
        Exception: what `action` raises, in the first process; RuntimeError in the others.
    """
    if jax.process_count() == 1:
        return bool(action())
    from jax.experimental import multihost_utils

    outcome, error = 0, None  # 0: raised, 1: false, 2: true
    if jax.process_index() == 0:
        try:
            outcome = 2 if action() else 1
        except Exception as exception:
            error = exception
    outcome = int(multihost_utils.broadcast_one_to_all(np.int32(outcome)))
    if error is not None:
        raise error
    if outcome == 0:
        raise RuntimeError("the first process of this run stopped; see its message")
    return outcome == 2
