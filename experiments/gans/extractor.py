"""The trained classifier of `experiments.gans.feature_extractor` as what makes features of data and of samples."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxgen
from jaxgen.contracts import Array, Variables
from jaxgen.data import checks
from jaxgen.training import TrainedModel

ROWS = 1024
"""Rows that are in the network at a time."""
SEAL = "variables.sha256"


@dataclasses.dataclass(frozen=True)
class Extractor:
    """Features and classes of rows in data units.

    Attributes:
        bound: a classifier with its variables.
        folder: the name of the folder that it is from.
        sha256: of its variables, in hexadecimal digits.
    """

    bound: TrainedModel
    folder: str
    sha256: str

    @property
    def name(self) -> str:
        """The folder's name and the first digits of the variables' hash: what figures have to have in common."""
        return f"{self.folder} sha256:{self.sha256[:16]}"

    def features_of(self, x: Array) -> Array:
        """`features` of as many rows as fit into memory at once, for compiled code."""
        return self.bound.model.features(self.bound.variables, x)

    def features(self, x: Any) -> np.ndarray:
        """[B, F], of any number of rows."""
        return _by_parts(self.bound.features, x)

    def logits(self, x: Any) -> np.ndarray:
        """[B, classes], of any number of rows."""
        return _by_parts(self.bound.logits, x)


def load_extractor(folder: str | Path) -> Extractor:
    """The classifier of a run's folder.

    Raises:
        FileNotFoundError: no trained run there.
        ValueError: a run of another model, or variables that are not those that the run was sealed with.
    """
    folder = checks.location("folder", folder)
    bound = jaxgen.load(folder)
    if not hasattr(bound, "features") or not hasattr(bound, "logits"):
        raise ValueError(f"folder={str(folder)!r} holds a {type(bound.model).__name__}: a Classifier has features")
    found, seal = sha256(bound.variables), folder / SEAL
    if seal.exists() and seal.read_text(encoding="utf-8").strip() != found:
        raise ValueError(f"the variables in {str(folder)!r} are not those that {SEAL} was written of")
    return Extractor(bound, folder.resolve().name, found)


def seal(folder: str | Path, bound: TrainedModel) -> None:
    """Writes the hash of a trained classifier beside it."""
    (checks.location("folder", folder) / SEAL).write_text(sha256(bound.variables) + "\n", encoding="utf-8")


def sha256(variables: Variables) -> str:
    """Of the names, types, shapes and values of all variables, in hexadecimal digits."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]:
        leaf = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()


def _by_parts(method: Any, x: Any) -> np.ndarray:
    return np.concatenate([np.asarray(method(x[i : i + ROWS])) for i in range(0, len(x), ROWS)])
