"""Back from a run's folder to a model that can be used."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
from flax.errors import FlaxError

from jaxgen.contracts import Model
from jaxgen.data import checks
from jaxgen.data.errors import one_line
from jaxgen.training.checkpoints import restore
from jaxgen.training.description import build
from jaxgen.training.folder import read_json
from jaxgen.training.trained import TrainedModel

_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "bfloat16", "float32", "float64")
_LONGEST = 1 << 31


def load(folder: str | Path, *, model: Model | None = None, which: Literal["best", "last"] = "best") -> TrainedModel:
    """The model of a run, bound to its trained variables: `load("runs/x").sample(key, 16)`.

    Args:
        folder: a run's folder; `~` is expanded.
        model: the run's model, needed where it has parts that are not this package's.
        which: the best variables by validation, or the last checkpoint's averages; the latter where there is no best.

    If the best variables cannot be read, a warning says so and the last checkpoint is taken instead. Only reads, also while
    the run goes on: a checkpoint that the run removes during the read is replaced by the newest one.

    Raises:
        FileNotFoundError: no run there, or none that has saved yet.
        ValueError: `model` is needed or does not match the run; a damaged `model.json`, or damaged checkpoints.
    """
    if which not in ("best", "last"):
        raise ValueError(f"which={which!r} was given: 'best' or 'last' is needed")
    folder = checks.location("folder", folder)
    file = folder / "model.json"
    if not file.exists():
        seeds = sorted(path.parent.name for path in folder.glob(f"seed-*/{file.name}"))
        hint = f", but {', '.join(seeds)} are runs" if seeds else ""
        raise FileNotFoundError(f"folder={str(folder)!r} holds no run: there is no {file.name} in it{hint}")
    description = read_json(file)
    if missing := {"model", "row"} - set(description):
        raise ValueError(f"{file} has no entry {sorted(missing)}, as a run writes it")
    batch = _batch(description["row"], file)
    if model is not None:
        _require_model(model, "model")
        abstract = jax.eval_shape(model.init, jax.random.key(0), batch)
    elif description["model"] is None:
        raise ValueError(f"the run in {str(folder)!r} has parts that are not this package's: pass its model=")
    else:
        model, abstract = _described(description["model"], batch, file)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    variables = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=device), abstract)
    unreadable = []
    for place in ("best", "checkpoints") if which == "best" else ("checkpoints",):
        if (folder / place).is_dir():
            try:
                restored = restore(folder / place, lambda step: {"average": variables})
            except ValueError as error:
                unreadable.append(str(error))
                continue
            if restored is not None:
                if unreadable:
                    last = folder / place / str(restored[0])
                    warnings.warn(f"{unreadable[0]}; took {last} in place of the best variables", stacklevel=2)
                return TrainedModel(model, restored[1]["average"])
    if unreadable:
        raise ValueError("; ".join(unreadable))
    raise FileNotFoundError(f"the run in {str(folder)!r} has not saved a checkpoint yet")


def _batch(row: Any, file: Path, rows: int = 2) -> Any:
    """Shapes and dtypes of a batch of the rows that a run was trained on."""
    if isinstance(row, Mapping):
        return {name: _batch(value, file, rows) for name, value in row.items()}
    match row:
        case [list(shape), str(dtype)] if dtype in _DTYPES and all(type(n) is int and 0 <= n < _LONGEST for n in shape):
            return jax.ShapeDtypeStruct((rows, *shape), jax.dtypes.canonicalize_dtype(dtype))
    raise ValueError(f"{file}: 'row' has {row!r:.80}, where a shape and the name of a dtype are needed")


def _described(description: Any, batch: Any, file: Path) -> tuple[Model, Any]:
    """The model of a description, and the shapes and dtypes of its variables."""
    try:
        model = build(description)
        _require_model(model, "it")
        return model, jax.eval_shape(model.init, jax.random.key(0), batch)
    except (ArithmeticError, AttributeError, FlaxError, LookupError, RecursionError, TypeError, ValueError) as error:
        # parts that do not fit together may fail anywhere inside of them
        raise ValueError(f"{file} describes no model of its rows: {type(error).__name__}: {one_line(error)}") from error


def _require_model(model: Any, what: str) -> None:
    if isinstance(model, type) or not (hasattr(model, "init") and hasattr(model, "evaluate")):
        raise ValueError(f"{what} is {type(model).__name__}: a model with its `init` and `evaluate` is needed")
