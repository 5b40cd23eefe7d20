"""A trained classifier as a feature extractor, identified by the hash of its variables."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgen.contracts import Array, Variables
from jaxgen.data import checks
from jaxgen.training.chunks import in_chunks
from jaxgen.training.load import load
from jaxgen.training.trained import TrainedModel

__all__ = ["Extractor", "load_extractor", "seal"]

ROWS = 1024
"""Examples per call of the network."""
SEAL = "variables.sha256"


@dataclasses.dataclass(frozen=True)
class Extractor:
    """Features and class logits of examples in data units.

    Attributes:
        trained: a classifier with its variables.
        folder: the name of its run folder.
        sha256: hash of its variables, in hexadecimal digits.
    """

    trained: TrainedModel
    folder: str
    sha256: str

    @property
    def name(self) -> str:
        """The folder's name and the first digits of the hash; metrics compare only under the same name."""
        return f"{self.folder} sha256:{self.sha256[:16]}"

    def features_of(self, x: Array) -> Array:
        """Features [B, F] for compiled code, in one call of the network."""
        return self.trained.model.features(self.trained.variables, x)

    def features(self, x: Any) -> np.ndarray:
        """Features [B, F] of any number of examples."""
        return in_chunks(self.trained.features, x, size=ROWS)

    def logits(self, x: Any) -> np.ndarray:
        """Logits [B, K] of any number of examples."""
        return in_chunks(self.trained.logits, x, size=ROWS)


def load_extractor(folder: str | Path) -> Extractor:
    """Loads the classifier in a run folder.

    Raises:
        FileNotFoundError: no trained run there.
        ValueError: a run of another model, or variables that differ from those that the run was sealed with.
    """
    folder = checks.location("folder", folder)
    trained = load(folder)
    if not hasattr(trained, "features") or not hasattr(trained, "logits"):
        raise ValueError(f"`folder` must hold a Classifier, got a {type(trained.model).__name__} in {str(folder)!r}")
    digest, sealed = sha256(trained.variables), folder / SEAL
    if sealed.exists() and sealed.read_text(encoding="utf-8").strip() != digest:
        raise ValueError(f"the variables in {str(folder)!r} must have the hash in {SEAL}, got {digest}")
    return Extractor(trained, folder.resolve().name, digest)


def seal(folder: str | Path, trained: TrainedModel) -> None:
    """Writes the hash of a trained classifier into its run folder."""
    (checks.location("folder", folder) / SEAL).write_text(sha256(trained.variables) + "\n", encoding="utf-8")


def sha256(variables: Variables) -> str:
    """Hash of the names, types, shapes and values of all variables, in hexadecimal digits."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]:
        leaf = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()
