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
_NOTES = 2**18  # bytes of a checkpoint that are no numbers


class Checkpoints:
    """The checkpoints of one folder, the last `keep` of them; None keeps all.

    Saving is asynchronous: it returns when the arrays are copied, or where there are several processes, when it is done.
    Use as a context manager, or call `close`.

    Args:
        read_only: only read, as from a run that another process is at: nothing is saved, tidied up or removed.
    """

    def __init__(self, folder: Path, keep: int | None = None, *, read_only: bool = False):
        import orbax.checkpoint as ocp

        # what fails is raised, in a sentence; its log is pages long
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self._ocp = ocp
        self.folder, self.read_only = Path(folder).absolute(), read_only
        self._saving: int | None = None
        ways = dict(read_only=True) if read_only else dict(max_to_keep=keep, cleanup_tmp_directories=True)
        written = ocp.AsyncOptions(post_finalization_callback=self._written)
        options = ocp.CheckpointManagerOptions(async_options=written, **ways)
        with writing(self.folder):
            self._manager = ocp.CheckpointManager(self.folder, options=options)

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

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, oldest first."""
        return sorted(self._manager.all_steps())

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

    def restore(
        self, like: Callable[[int], Mapping[str, Any]], at_most: int | None = None
    ) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
        """The newest whole checkpoint as `(step, trees, progress)`, or None where there is none.

        Args:
            like: from a step to the pytrees to restore, by name, their leaves `ShapeDtypeStruct`s with shardings; not
                all that was saved need be asked for.
            at_most: the last step that will do.

        A checkpoint that cannot be read, or is not what its digests say, is passed over with a warning that names it, and
        removed once an older one was read in its place.

        Raises:
            ValueError: there are checkpoints and none can be read.
        """
        args = self._ocp.args
        unreadable = {}
        for step in reversed([step for step in self.steps() if at_most is None or step <= at_most]):
            items = {name: args.StandardRestore(tree) for name, tree in like(step).items()}
            try:
                on_first_process(lambda: check_digests(self.folder / str(step)))
                got = self._manager.restore(step, args=args.Composite(**items, progress=args.JsonRestore()))
            except Exception as error:  # whatever Orbax raises for a folder that is not whole
                unreadable[step] = str(error).strip().split("\n")[0][:200]
                continue
            for broken, reason in unreadable.items():
                name = str(self.folder / str(broken))
                warnings.warn(f"checkpoint {name} cannot be read ({reason}); went back to step {step}", stacklevel=2)
                if not self.read_only:
                    self._manager.delete(broken)
            return step, {name: got[name] for name in items}, got["progress"]
        if unreadable:
            raise ValueError(f"no checkpoint in {self.folder} can be read: {unreadable}")
        return None


def write_digests(folder: Path) -> None:
    """Writes down what the files of a checkpoint are."""
    # Orbax has notes of its own beside the pytrees, which it goes on writing
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.parent != folder)
    digests = {file.relative_to(folder).as_posix(): _digest(file) for file in files}
    (folder / DIGESTS).write_text(json.dumps(digests, indent=1) + "\n")


def check_digests(folder: Path) -> None:
    """A checkpoint without digests, of a version that did not write them, is accepted.

    Raises:
        ValueError: a file of the checkpoint is missing or is not what it was; the message names it.
    """
    file = folder / DIGESTS
    if not file.exists():
        return
    try:
        digests = dict(json.loads(file.read_bytes()))
    except ValueError:
        raise ValueError(f"{DIGESTS} is damaged") from None
    for name, digest in digests.items():
        if not (folder / name).is_file():
            raise ValueError(f"{name} is missing")
        if _digest(folder / name) != digest:
            raise ValueError(f"{name} is damaged")


def _digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
