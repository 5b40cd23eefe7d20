"""How a run is trained, in one place; every experiment's config extends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jaxgen.data import checks
from jaxgen.training.ranges import Count, Fraction, Natural, Seed, check_ranges


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a run is trained. Frequencies are in steps; a step is one batch."""

    steps: Count = 10_000
    """Batches to train on."""
    batch_size: Count = 128
    """Examples in a batch, over all devices."""
    batch_sizes: dict[str, Count] = field(default_factory=dict)
    """Examples in a batch from parts of the data, by name, such as `labelled 100`; other parts have `batch_size`."""
    seed: Seed = 0
    """Seeds initialisation, noise and data order: 0 to 2^32 - 1."""
    ema: Fraction = 0.999
    """Decay of the moving averages of the variables, used for metrics and samples; 0: no averages."""
    log_every: Count = 100
    """Steps between lines of metrics.jsonl, each an average over these steps."""
    eval_every: Count = 500
    """Steps between evaluations on the validation split."""
    eval_batch: Count = 512
    """Examples in a batch of an evaluation."""
    eval_draws: Count = 1
    """Samples of the model's own noise that evaluation metrics are averaged over."""
    eval_raw: bool = False
    """Evaluate the variables themselves too, not only their averages."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    keep: Count = 2
    """Checkpoints to keep, beside the best one."""
    steps_per_call: Count = 200
    """Maximum number of steps in one compiled call, if the data are on the device."""
    accumulate: Count = 1
    """Gradient accumulation: parts of a batch that are processed one after another to save memory."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the networks in training. Coordinates, losses, parameters and metrics are float32."""
    on_nan: Literal["stop", "skip"] = "stop"
    """If a loss or gradient is not finite: stop the run, or skip the update."""
    devices: Count | None = None
    """Devices to split each batch over; all of them by default."""
    parallel: Literal["jit", "pmap"] = "jit"
    """`jit`: one global view of the batch. `pmap`: each device sees its own rows."""
    workers: Natural = 8
    """Threads that read batches ahead, if the data do not fit into memory; 0 reads between the steps."""
    profile: Natural = 0
    """Steps to trace into the run's folder for TensorBoard and Perfetto, after the first call, which compiles."""
    tensorboard: bool = False
    """Write TensorBoard events too (extra `tensorboard`)."""

    def check(self) -> None:
        """Raises:
        ValueError: a number that is not in the range of its field.
        """
        check_ranges(self)
        checks.seed(self.seed)
