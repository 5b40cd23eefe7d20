"""Loads a trained model from a run's folder."""

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
from jaxgen.training.description import UnknownName, build
from jaxgen.training.folder import read_json
from jaxgen.training.trained import TrainedModel

_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "bfloat16", "float32", "float64")
_MAX_LENGTH = 1 << 31


def load(folder: str | Path, *, model: Model | None = None, which: Literal["best", "last"] = "best") -> TrainedModel:
    """The model of a run with its trained variables: `load("runs/x").sample(key, 16)`.

    Args:
        folder: a run's folder; `~` is expanded.
        model: the run's model, required if it has classes or functions of other packages.
        which: the best variables by validation, or the last checkpoint's averages, also used if there are no best ones.

    If the best variables cannot be read, the last checkpoint is taken with a warning. Only reads, also beside a running
    run: if it removes a checkpoint during the read, the newest one is taken.

    Raises:
        FileNotFoundError: the folder holds no run, or one without a checkpoint.
        ValueError: `model` is required or does not match the run; another version of jaxgen wrote the folder;
            `model.json` or all checkpoints are damaged.
    """
    if which not in ("best", "last"):
        raise ValueError(f"`which` must be 'best' or 'last', got {which!r}")
    folder = checks.location("folder", folder)
    file = folder / "model.json"
    if not file.exists():
        seeds = sorted(path.parent.name for path in folder.glob(f"seed-*/{file.name}"))
        hint = f"; {', '.join(seeds)} are runs" if seeds else ""
        raise FileNotFoundError(f"`folder` must be a run's, got {str(folder)!r}, which has no {file.name}{hint}")
    description = read_json(file)
    if {"model", "row"} - set(description):
        raise ValueError(f"{file} must have the entries 'model' and 'row', got {f'{sorted(description)}':.80}")
    batch = _batch(description["row"], file)
    if model is not None:
        _require_model(model, "`model`")
        abstract = jax.eval_shape(model.init, jax.random.key(0), batch)
    elif description["model"] is None:
        raise ValueError(
            f"`model` must be the run's, got None: {str(folder)!r} has classes or functions of other packages"
        )
    else:
        model, abstract = _build(description["model"], batch, file)
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


def _batch(spec: Any, file: Path) -> Any:
    """Shapes and dtypes of a batch of two examples, from those of one."""
    if isinstance(spec, Mapping):
        return {name: _batch(value, file) for name, value in spec.items()}
    match spec:
        case [list(shape), str(dtype)] if dtype in _DTYPES and all(
            type(n) is int and 0 <= n < _MAX_LENGTH for n in shape
        ):
            return jax.ShapeDtypeStruct((2, *shape), jax.dtypes.canonicalize_dtype(dtype))
    raise ValueError(f"{file}: 'row' must hold pairs of a shape and a dtype's name, got {spec!r:.80}")


def _build(description: Any, batch: Any, file: Path) -> tuple[Model, Any]:
    """A described model, and the shapes and dtypes of its variables."""
    try:
        model = build(description)
        _require_model(model, "'model'")
        return model, jax.eval_shape(model.init, jax.random.key(0), batch)
    except UnknownName as error:
        raise ValueError(f"`folder` was written by another version of jaxgen: {file}: {error}") from error
    except (ArithmeticError, AttributeError, FlaxError, LookupError, RecursionError, TypeError, ValueError) as error:
        # modules that do not fit together may fail anywhere inside them
        raise ValueError(
            f"{file} must describe a model of its data: {type(error).__name__}: {one_line(error)}"
        ) from error


def _require_model(model: Any, name: str) -> None:
    if isinstance(model, type) or not (hasattr(model, "init") and hasattr(model, "evaluate")):
        raise ValueError(f"{name} must be a model with `init` and `evaluate`, got {type(model).__name__}")
