"""Orbax behind one door: whole states to go on from, best variables to use.

A checkpoint is a folder named by its step, written beside and renamed when whole. It holds pytrees by name, each of
which can be restored alone, `progress`, a JSON mapping of what the host knows, and `digests.json`, by which damage to
them is found before they are read.
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
"""By the path of each file of a checkpoint's pytrees and progress: its SHA-256."""
Like = Callable[[int], Mapping[str, Any]]
_NOTES = 2**18  # bytes of a checkpoint that are no numbers


class Checkpoints:
    """Writes the checkpoints of one folder and keeps the last `keep` of them; None keeps all. `restore` reads them.

    Saving is asynchronous: it returns when the arrays are copied, or with several processes, when they are written.
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
        """Waits until what was saved is on disk.

        Raises:
            OSError: it cannot be written.
        """
        with writing(self.folder / str(self._saving)):
            try:
                self._manager.wait_until_finished()
            finally:
                self._manager.close()

    def save(self, step: int, trees: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
        """Saves pytrees of arrays by name, and a JSON mapping; does nothing where this step is saved already.

        Raises:
            OSError: this one or the one before, which went on in the background, cannot be written.
        """
        if step in self._manager.all_steps():
            return
        self._wait()
        self._saving = step
        on_first_process(lambda: self._check_room(trees))
        args = self._ocp.args
        # copies, because the next step reuses the state's memory while this one is being written
        items = {name: args.StandardSave(jax.tree.map(jnp.copy, tree)) for name, tree in trees.items()}
        with writing(self.folder / str(step)):
            self._manager.save(step, args=args.Composite(**items, progress=args.JsonSave(dict(progress))))
        if jax.process_count() > 1:
            # processes meet at barriers whose names two managers share: one save after another
            self._wait()

    def _check_room(self, trees: Mapping[str, Any]) -> None:
        """Refuses before Orbax begins, which leaves threads and pages of their errors behind where a disk fills up."""
        needed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(dict(trees)))
        with writing(self.folder / str(self._saving)):
            if shutil.disk_usage(self.folder).free < needed + _NOTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _written(self) -> None:
        """Of the first process alone, in the background: a checkpoint is written and has not its name yet."""
        beside = next(self.folder.glob(f"{self._saving}.*"), self.folder / str(self._saving))
        write_digests(beside)

    def _wait(self) -> None:
        with writing(self.folder / str(self._saving)):
            self._manager.wait_until_finished()

    def restore(self, like: Like, at_most: int | None = None) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
        """As the function `restore`; removes the checkpoints that could not be read once an older one was."""
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
    """The newest whole checkpoint in a folder as `(step, trees, progress)`, or None if there are no checkpoints.

    Only reads. A run may save and remove checkpoints meanwhile: when one vanishes while it is read, the newest one that
    is there by then is taken.

    Args:
        like: maps a step to the pytrees to restore, by name, their leaves `ShapeDtypeStruct`s with shardings; may be a
            part of what was saved.
        at_most: the last step to consider.

    A checkpoint that cannot be read, or differs from its digests, is skipped in favour of the previous one, with a
    warning that names it.

    Raises:
        ValueError: there are checkpoints and none can be read.
    """
    folder, unreadable = Path(folder).absolute(), {}
    while left := [step for step in steps(folder) if step not in unreadable and (at_most is None or step <= at_most)]:
        step = left[-1]
        try:
            trees, progress = _read(folder / str(step), like(step))
        except Exception as error:  # whatever Orbax raises for a folder that is damaged or being removed
            unreadable[step] = str(error).strip().split("\n")[0][:200]
            continue
        for broken in sorted(set(unreadable) & set(steps(folder)), reverse=True):
            # an older one is being removed by its run
            if broken > step:
                name, reason = folder / str(broken), unreadable[broken]
                warnings.warn(f"checkpoint {name} cannot be read ({reason}); went back to step {step}", stacklevel=2)
        return step, trees, progress
    if unreadable:
        raise ValueError(f"no checkpoint in {folder} can be read: {unreadable}")
    return None


def _read(checkpoint: Path, like: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pytrees by name, and progress; raises what it finds."""
    ocp = _orbax()
    on_first_process(lambda: check_digests(checkpoint))
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        restore = ocp.args.StandardRestore
        trees = {name: reader.restore(checkpoint / name, args=restore(tree)) for name, tree in like.items()}
    progress = json.loads((checkpoint / "progress" / "metadata").read_bytes())
    # TensorStore reads zeros where a chunk is missing: the files must still be there after they were read
    on_first_process(lambda: check_digests(checkpoint, contents=False))
    return trees, progress


def _orbax() -> Any:
    import orbax.checkpoint as ocp

    # errors are raised, in a sentence; Orbax's log of them is pages long
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    return ocp


def write_digests(folder: Path) -> None:
    """Writes down what the files of a checkpoint are."""
    # Orbax has notes of its own beside the pytrees, which it goes on writing
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.parent != folder)
    digests = {file.relative_to(folder).as_posix(): _digest(file) for file in files}
    (folder / DIGESTS).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


def check_digests(folder: Path, contents: bool = True) -> None:
    """Compares the files of a checkpoint with its digests.

    Args:
        contents: False: only that the files are there.

    Raises:
        ValueError: a file of the checkpoint, or the digests themselves, are missing or damaged; the message names it.
    """
    try:
        digests = dict(json.loads((folder / DIGESTS).read_bytes()))
    except FileNotFoundError:
        # written with every checkpoint: without them it is being removed
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
