"""GANomaly (Akcay et al. 2018, "GANomaly: Semi-Supervised Anomaly Detection via Adversarial Training",
arXiv:1805.06725).

Result on MNIST, each digit held out in turn, 400 steps with `--preset small --width 8 --train-examples 10000` in 20
seconds of one core: an AUC of 0.764 in the mean over digits by latents, 0.614 by pixels; an autoencoder with the same
networks has 0.607, principal components 0.736 (`experiments.studies.anomaly`). By latents 0 is the easiest with 0.909,
9 the hardest with 0.500. On magnetic tiles it has 0.645, the autoencoder 0.645, and principal components 0.684.

The paper's protocol for MNIST and CIFAR-10: `--held-out` is the anomalous class in turn, the nine others are normal.
`--normal` is that of one normal class. Training and validation examples are normal; the checkpoint has the least
`pixel_error` on the latter. Test examples are only scored. The paper shows its AUCs in a figure; the authors' code
reports the epoch that is best on the test set, scored with the statistics of test batches.

`--adversarial-weight 0 --latent-weight 0` is an autoencoder with the same networks, scored by its `pixels`. The scores
of a VAE on the same data and protocol are `experiments.vaes.anomaly`.

The defaults are the paper's for 32x32 pixels; `--preset small` is for a CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import optax

from experiments.config import Experiment
from experiments.detection import DetectionConfig, Task, detection_fields, detection_task
from experiments.run import main
from jaxgen import plotting
from jaxgen.contracts import Array
from jaxgen.data import Source, Splits
from jaxgen.models.hybrids import GANomaly
from jaxgen.models.hybrids.ganomaly import Score
from jaxgen.nets import DCGANCritic, DCGANGenerator, TransposedConv
from jaxgen.nets.decoders import halved, halvings
from jaxgen.training import TrainedModel
from jaxgen.training.latents import map_batches
from jaxgen.training.ranges import Count, Fraction, NonNegative

COLUMNS = 10
"""Images in a row of a plot."""


@dataclass(frozen=True, kw_only=True)
class GANomalyConfig(DetectionConfig):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {"width": 16, "latents": 32, "learning_rate": 5e-4, "ema": 0.99},
    }

    preset: Literal["paper", "small"] = "paper"
    """Defaults: the paper's, or those for a CPU."""
    steps: Count = 12_000
    """Batches; the paper's 15 epochs of 50,000 examples are 11,700."""
    batch_size: Count = 64
    width: Count = 64
    """Channels of the first convolution of both encoders and the critic, doubled with each further one."""
    latents: Count = 100
    """Dimension of z."""
    learning_rate: NonNegative = 2e-4
    """Adam's learning rate, for both plays."""
    b1: Fraction = 0.5
    """Adam's beta_1, for both plays."""
    adversarial_weight: NonNegative = 1.0
    """w_adv, of the squared difference of the critic's features; 0: no critic."""
    reconstruction_weight: NonNegative = 50.0
    """w_con, of the absolute difference of pixels on [-1, 1]."""
    latent_weight: NonNegative = 1.0
    """w_enc, of the squared difference of latents; 0: no second encoder."""


def build(config: GANomalyConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: as `detection_task`; data that are not images.
    """
    shape = data.train.event_shape
    if len(shape) != 3:
        raise ValueError(f"`data` must hold images [H, W, C], got {config.data!r} with examples of shape {shape}")
    task = detection_task(config, data)
    widths = tuple(config.width << i for i in range(max(1, halvings(shape))))
    model = GANomaly(
        DCGANCritic(widths), DCGANGenerator(halved(shape, len(widths)), widths[::-1], upsampling=TransposedConv), shape,
        latent_dim=config.latents, levels=data.train.levels, adversarial_weight=config.adversarial_weight,
        reconstruction_weight=config.reconstruction_weight, latent_weight=config.latent_weight,
    )  # fmt: skip

    def score(trained: TrainedModel, source: Source, by: str) -> Array:
        return map_batches(lambda batch: trained.anomaly_score(batch["x"], by=by), source, config.eval_batch)

    methods = get_args(Score) if config.latent_weight else ("pixels",)
    fields = detection_fields(config, data, task, methods, score)
    if plotting.drawable(data.test.head(1)["x"]):
        fields["plots"]["reconstructions"] = partial(plot_reconstructions, data=data, task=task)
    adam = optax.adam(config.learning_rate, config.b1)
    return Experiment(model, optimizers=dict.fromkeys(model.plays(), adam), draws=1, **fields)


def plot_reconstructions(trained: TrainedModel, data: Splits, task: Task) -> Any:
    """Normal and anomalous test examples, and their reconstructions."""
    rows = {}
    count = min(COLUMNS, task.test.sum(), (~task.test).sum())
    for name, mask in (("normal", ~task.test), ("anomalous", task.test)):
        chosen = np.flatnonzero(mask)
        x = data.test.take(chosen[np.linspace(0, len(chosen) - 1, count).round().astype(int)])["x"]
        rows |= {name: x, f"{name}, reconstructed": np.asarray(trained.reconstruct(x))}
    return plotting.rows(rows)


if __name__ == "__main__":
    main(GANomalyConfig, build)
