"""How a run is trained, in one place; every experiment's config extends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jaxgen.data import checks


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a run is trained. Frequencies are in steps; a step is one batch."""

    steps: int = 10_000
    """Batches to train on."""
    batch_size: int = 128
    """Examples in a batch, over all devices."""
    batch_sizes: dict[str, int] = field(default_factory=dict)
    """Examples in a batch from parts of the data, by name, such as `labelled 100`; other parts have `batch_size`."""
    seed: int = 0
    """Seeds initialisation, noise and data order: 0 to 2^32 - 1."""
    ema: float = 0.999
    """Decay of the variables' moving averages, which figures and samples are made from; 0 for none."""
    log_every: int = 100
    """Steps that a line of metrics.jsonl averages over."""
    eval_every: int = 500
    """Steps between evaluations on the validation split."""
    eval_batch: int = 512
    """Rows of a batch in evaluations."""
    eval_draws: int = 1
    """Draws of the model's own noise that each figure is averaged over."""
    eval_raw: bool = False
    """Evaluate the variables themselves too, beside their averages."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    keep: int = 2
    """Checkpoints kept, beside the best one."""
    steps_per_call: int = 200
    """The most steps in one compiled call, where the data are on the device."""
    accumulate: int = 1
    """Parts of a batch whose gradients are taken one after another and averaged, where a batch does not fit."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What networks compute in while they train. Coordinates, losses, parameters and figures are float32."""
    on_nan: Literal["stop", "skip"] = "stop"
    """Where a loss or gradient is not finite: stop the run, or leave out the move."""
    devices: int | None = None
    """Devices to split each batch over; all of them by default."""
    parallel: Literal["jit", "pmap"] = "jit"
    """`jit`: one global view of the batch. `pmap`: each device sees its own rows."""
    workers: int = 8
    """Threads that read data which do not fit into memory, each a batch ahead of the steps; 0 reads between the steps."""
    profile: int = 0
    """Steps to trace into the run's folder, for TensorBoard and Perfetto; the first call, which compiles, is not."""
    tensorboard: bool = False
    """Write TensorBoard events too (extra `tensorboard`)."""

    def check(self) -> None:
        """Raises:
        ValueError: a number that is out of its range.
        """
        for name in ("steps", "batch_size", "log_every", "eval_every", "eval_batch", "eval_draws", "checkpoint_every",
                     "keep", "steps_per_call", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} was given; it has to be at least 1")
        for name in ("workers", "profile"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} was given; it has to be at least 0")
        checks.seed(self.seed)
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema={self.ema} was given; it has to be at least 0 and below 1")
        if self.devices is not None and self.devices < 1:
            raise ValueError(f"devices={self.devices} was given; it has to be at least 1")
