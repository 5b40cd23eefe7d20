"""Checkpoints by Orbax: whole states to resume from, and best variables to use.

A checkpoint is a folder named by its step, written under another name and renamed when complete. It holds pytrees by
name, each of which can be restored alone, `progress`, a JSON mapping of the host's state, and `digests.json`, which
reveals damaged files before they are read.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.training.devices import on_first_process
from jaxgen.writing import writing

DIGESTS = "digests.json"
"""File of a checkpoint that maps the paths of its pytrees' and progress' files to their SHA-256."""
Like = Callable[[int], Mapping[str, Any]]
_METADATA = 2**18  # bytes of a checkpoint beside its arrays


class Checkpoints:
    """Writes the checkpoints of one folder and keeps the last `keep` of them; None keeps all. `restore` reads them.

    Saving is asynchronous: it returns when the arrays are copied or, with several processes, when they are written.
    Use as a context manager, or call `close`.
    """

    def __init__(self, folder: Path, keep: int | None = None):
        self._ocp = _orbax()
        self.folder = Path(folder).absolute()
        self._saving: int | None = None
        written = self._ocp.AsyncOptions(post_finalization_callback=self._written)
        options = self._ocp.CheckpointManagerOptions(
            async_options=written, max_to_keep=keep, cleanup_tmp_directories=True
        )
        with writing(self.folder):
            self._manager = self._ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Waits until the checkpoints are on disk.

        Raises:
            OSError: one cannot be written.
        """
        with writing(self.folder / str(self._saving)):
            try:
                self._manager.wait_until_finished()
            finally:
                self._manager.close()

    def save(self, step: int, trees: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
        """Saves pytrees of arrays by name, and a JSON mapping; does nothing if this step is saved already.

        Raises:
            OSError: this checkpoint, or the previous one, which was written in the background, cannot be written.
        """
        if step in self._manager.all_steps():
            return
        self._wait()
        self._saving = step
        on_first_process(lambda: self._check_room(trees))
        args = self._ocp.args
        # copies, because the next step reuses the state's memory while the checkpoint is being written
        items = {name: args.StandardSave(jax.tree.map(jnp.copy, tree)) for name, tree in trees.items()}
        with writing(self.folder / str(step)):
            self._manager.save(step, args=args.Composite(**items, progress=args.JsonSave(dict(progress))))
        if jax.process_count() > 1:
            # two managers share the names of the barriers between processes: one save after another
            self._wait()

    def _check_room(self, trees: Mapping[str, Any]) -> None:
        """Raises before Orbax begins, which leaves threads and long error messages behind when a disk fills up."""
        needed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(dict(trees)))
        with writing(self.folder / str(self._saving)):
            if shutil.disk_usage(self.folder).free < needed + _METADATA:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _written(self) -> None:
        """Runs in the background, in the first process only: a checkpoint is written but not renamed yet."""
        write_digests(next(self.folder.glob(f"{self._saving}.*"), self.folder / str(self._saving)))

    def _wait(self) -> None:
        with writing(self.folder / str(self._saving)):
            self._manager.wait_until_finished()

    def restore(self, like: Like, at_most: int | None = None) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
        """As the function `restore`; if an older checkpoint was taken, removes the unreadable newer ones."""
        restored = restore(self.folder, like, at_most)
        if restored is not None:
            for unreadable in self._manager.all_steps():
                if restored[0] < unreadable and (at_most is None or unreadable <= at_most):
                    self._manager.delete(unreadable)
        return restored


def steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a folder, oldest first."""
    try:
        return sorted(int(name) for name in os.listdir(folder) if re.fullmatch("[0-9]+", name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def restore(
    folder: Path, like: Like, at_most: int | None = None
) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
    """The newest intact checkpoint in a folder as `(step, trees, progress)`, or None if there are no checkpoints.

    Only reads. A run may save and remove checkpoints meanwhile: if one is removed while it is read, the newest
    remaining one is taken. A checkpoint that cannot be read, or differs from its digests, is skipped in favour of the
    previous one, with a warning that names it.

    Args:
        like: maps a step to the pytrees to restore, by name, their leaves `ShapeDtypeStruct`s with shardings; pytrees
            that are left out are not read.
        at_most: the last step to consider.

    Raises:
        ValueError: there are checkpoints and none can be read.
    """
    folder, unreadable = Path(folder).absolute(), {}
    while readable := [s for s in steps(folder) if s not in unreadable and (at_most is None or s <= at_most)]:
        step = readable[-1]
        try:
            trees, progress = _read(folder / str(step), like(step))
        except Exception as error:  # Orbax raises various types for a folder that is damaged or being removed
            unreadable[step] = str(error).strip().split("\n")[0][:200]
            continue
        for broken in sorted(set(unreadable) & set(steps(folder)), reverse=True):
            # the run itself removes older ones
            if broken > step:
                name, reason = folder / str(broken), unreadable[broken]
                warnings.warn(f"checkpoint {name} cannot be read ({reason}); went back to step {step}", stacklevel=2)
        return step, trees, progress
    if unreadable:
        raise ValueError(f"no checkpoint in {folder} can be read: {unreadable}")
    return None


def _read(checkpoint: Path, like: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pytrees by name, and progress; raises if a file is damaged or missing."""
    ocp = _orbax()
    on_first_process(lambda: check_digests(checkpoint))
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        restore = ocp.args.StandardRestore
        trees = {name: reader.restore(checkpoint / name, args=restore(tree)) for name, tree in like.items()}
    progress = json.loads((checkpoint / "progress" / "metadata").read_bytes())
    # TensorStore reads zeros for a missing chunk: the files must still exist after the read
    on_first_process(lambda: check_digests(checkpoint, contents=False))
    return trees, progress


def _orbax() -> Any:
    import orbax.checkpoint as ocp

    # errors are raised in a sentence; Orbax's log of them is pages long
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    return ocp


def write_digests(folder: Path) -> None:
    """Writes the SHA-256 of a checkpoint's files to `digests.json`."""
    # Orbax goes on writing its own metadata beside the pytrees
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.parent != folder)
    digests = {file.relative_to(folder).as_posix(): _digest(file) for file in files}
    (folder / DIGESTS).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


def check_digests(folder: Path, contents: bool = True) -> None:
    """Compares the files of a checkpoint with its digests.

    Args:
        contents: False: checks only that the files exist.

    Raises:
        ValueError: a file of the checkpoint, or the file of digests, is missing or damaged; the message names it.
    """
    try:
        digests = dict(json.loads((folder / DIGESTS).read_bytes()))
    except FileNotFoundError:
        # every checkpoint has them: this one is being removed
        raise ValueError(f"{DIGESTS} is missing") from None
    except ValueError:
        raise ValueError(f"{DIGESTS} is damaged") from None
    for name, digest in digests.items():
        if not (folder / name).is_file():
            raise ValueError(f"{name} is missing")
        if contents and _digest(folder / name) != digest:
            raise ValueError(f"{name} is damaged")


def _digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
