"""Back from a run's folder to a model that can be used."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.contracts import Model
from jaxgen.training.bound import Bound
from jaxgen.training.checkpoints import Checkpoints
from jaxgen.training.description import build
from jaxgen.training.folder import read


def load(folder: str | Path, *, model: Model | None = None, which: Literal["best", "last"] = "best") -> Bound:
    """The model of a run, bound to its trained variables: `load("runs/x").sample(key, 16)`.

    Args:
        folder: a run's folder.
        model: the run's model, needed where it has parts that are not this package's.
        which: the best variables by validation, or the last checkpoint's averages; the latter where there is no best.

    Where the best variables cannot be read, a warning says so and the last checkpoint stands in for them. Only reads: the
    run may be going on.

    Raises:
        FileNotFoundError: no run there, or none that has saved yet.
        ValueError: `model` is needed or does not match the run, or its checkpoints are damaged.
    """
    folder = Path(folder)
    file = folder / "model.json"
    if not file.exists():
        seeds = sorted(path.parent.name for path in folder.glob(f"seed-*/{file.name}"))
        hint = f", but {', '.join(seeds)} are runs" if seeds else ""
        raise FileNotFoundError(f"folder={str(folder)!r} holds no run: there is no {file.name} in it{hint}")
    description = read(file)
    if model is None:
        if description["model"] is None:
            raise ValueError(f"the run in {str(folder)!r} has parts that are not this package's: pass its model=")
        model = build(description["model"])
    abstract = jax.eval_shape(model.init, jax.random.key(0), _batch(description["row"]))
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    variables = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=device), abstract)
    unreadable = []
    for place in ("best", "checkpoints") if which == "best" else ("checkpoints",):
        if (folder / place).exists():
            try:
                with Checkpoints(folder / place, read_only=True) as saved:
                    restored = saved.restore(lambda step: {"average": variables})
            except ValueError as error:
                unreadable.append(str(error))
                continue
            if restored is not None:
                if unreadable:
                    last = folder / place / str(restored[0])
                    warnings.warn(f"{unreadable[0]}; took {last} in place of the best variables", stacklevel=2)
                return Bound(model, restored[1]["average"])
    if unreadable:
        raise ValueError("; ".join(unreadable))
    raise FileNotFoundError(f"the run in {str(folder)!r} has not saved a checkpoint yet")


def _batch(row: Any, rows: int = 2) -> Any:
    """A batch of zeros of the rows that a run was trained on."""
    if isinstance(row, Mapping):
        return {name: _batch(value, rows) for name, value in row.items()}
    shape, dtype = row
    return jnp.asarray(np.zeros((rows, *shape), dtype))
