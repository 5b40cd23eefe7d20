"""Orbax behind one door: whole states to go on from, best variables to use.

A checkpoint is a folder named by its step, written beside and renamed when whole. It holds pytrees by name, each of
which can be restored alone, and `progress`, a JSON mapping of what the host knows.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp


class Checkpoints:
    """The checkpoints of one folder, the last `keep` of them; None keeps all.

    Saving is asynchronous: it returns when the arrays are copied, or where there are several processes, when it is done. Use as a context manager, or call `close`.
    """

    def __init__(self, folder: Path, keep: int | None = None):
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.ERROR)
        self._ocp = ocp
        self.folder = Path(folder).absolute()
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True),
        )

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Waits until what was saved is on disk."""
        self._manager.close()

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, trees: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
        """Saves pytrees of arrays by name, and a JSON mapping; does nothing where this step is saved already."""
        if step in self._manager.all_steps():
            return
        args = self._ocp.args
        # copies, because the next step reuses the state's memory while this one is being written
        items = {name: args.StandardSave(jax.tree.map(jnp.copy, tree)) for name, tree in trees.items()}
        self._manager.save(step, args=args.Composite(**items, progress=args.JsonSave(dict(progress))))
        if jax.process_count() > 1:
            # processes meet at barriers whose names two managers share: one save after another
            self._manager.wait_until_finished()

    def restore(
        self, like: Callable[[int], Mapping[str, Any]], at_most: int | None = None
    ) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
        """The newest whole checkpoint as `(step, trees, progress)`, or None where there is none.

        Args:
            like: from a step to the pytrees to restore, by name, their leaves `ShapeDtypeStruct`s with shardings; not
                all that was saved need be asked for.
            at_most: the last step that will do.

        A checkpoint that cannot be read is passed over with a warning that names it, and removed once an older one was
        read in its place.

        Raises:
            ValueError: there are checkpoints and none can be read.
        """
        args = self._ocp.args
        unreadable = {}
        for step in reversed([step for step in self.steps() if at_most is None or step <= at_most]):
            items = {name: args.StandardRestore(tree) for name, tree in like(step).items()}
            try:
                got = self._manager.restore(step, args=args.Composite(**items, progress=args.JsonRestore()))
            except Exception as error:  # whatever Orbax raises for a folder that is not whole
                unreadable[step] = str(error).strip().split("\n")[0][:200]
                continue
            for broken, reason in unreadable.items():
                name = str(self.folder / str(broken))
                warnings.warn(f"checkpoint {name} cannot be read ({reason}); went back to step {step}", stacklevel=2)
                self._manager.delete(broken)
            return step, {name: got[name] for name in items}, got["progress"]
        if unreadable:
            raise ValueError(f"no checkpoint in {self.folder} can be read: {unreadable}")
        return None
