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
        ValueError: more devices asked for than there are.
    """
    there = jax.devices()
    n = devices or len(there)
    if n > len(there):
        raise ValueError(f"devices={n} asked for, but this process sees {len(there)} {there[0].platform} device(s)")
    return jax.make_mesh((n,), (AXIS,), axis_types=(AxisType.Auto,), devices=there[:n])


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of the state: whole on each device."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """The sharding of a batch: its axis `axis` divided over the devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))


def jit_step(step: TrainStep, mesh: Mesh, axis: int = 0) -> TrainStep:
    """Compiles a step over a mesh in the global view; the batch's axis `axis` is divided.

    The step is ordinary single-device code: batch normalisation sees the global batch, noise is drawn for it, and
    training does not depend on the number of devices. The old state's memory is reused (donated).
    """
    whole = replicated(mesh)
    step = sharded_as(split(mesh))(step)
    return jax.jit(step, in_shardings=(whole, split(mesh, axis)), out_shardings=(whole, whole), donate_argnums=0)


def jit_many(many: Callable, mesh: Mesh, axis: int = 1) -> Callable:
    """Compiles `many_steps` over a mesh: rows are gathered from replicated arrays, each device its part of the batch,
    along the axis `axis` of the indices."""
    whole, many = replicated(mesh), sharded_as(split(mesh))(many)
    return jax.jit(
        many, in_shardings=(whole, whole, split(mesh, axis), whole), out_shardings=(whole, whole), donate_argnums=0
    )


def pmap_step(step: TrainStep, devices: int | None = None) -> TrainStep:
    """Runs a step by `jax.pmap` in the per-device view.

    `step` is `make_train_step(plays, axis_name="data")`. It equals the global view for losses that are means over
    examples and draw no noise. Elsewhere it differs: noise is drawn on each device, batch statistics are of each
    device's rows (then averaged), and a loss over pairs of examples sees a device's pairs alone. `jax.pmap` is in
    maintenance and no faster; `jit_step` is the way to take.

    Raises:
        ValueError: a batch that the number of devices does not divide.
    """
    n = devices or jax.device_count()
    mapped = jax.pmap(step, axis_name=AXIS, in_axes=(None, 0), out_axes=(None, None), devices=jax.devices()[:n])

    def per_device(a: Any) -> Any:
        if a.shape[0] % n:
            raise ValueError(f"a batch of {a.shape[0]} rows cannot be divided over {n} devices")
        return a.reshape(n, a.shape[0] // n, *a.shape[1:])

    def run(state, batch):
        return mapped(state, jax.tree.map(per_device, batch))

    return run


def on_first_process(action: Callable[[], bool | None]) -> bool:
    """Does something once, in the first process of a run, while the others wait; whether it returned true, in all.

    Raises:
        RuntimeError: in the others, where it raised in the first, which raises what it raised.
    """
    if jax.process_count() == 1:
        return bool(action())
    from jax.experimental import multihost_utils

    outcome, error = 0, None
    if jax.process_index() == 0:
        try:
            outcome = 2 if action() else 1
        except Exception as raised:
            error = raised
    outcome = int(multihost_utils.broadcast_one_to_all(np.int32(outcome)))
    if error is not None:
        raise error
    if outcome == 0:
        raise RuntimeError("the first process of this run stopped: its message says why")
    return outcome == 2
