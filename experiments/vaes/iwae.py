"""The importance-weighted autoencoder (Burda et al. 2016, arXiv:1509.00519), table 1: 84.78 nats with k = 50.

Result: 92.16 nats with k = 50 after 39,000 steps, 3 seeds in 38 minutes on two cores, by `python -m
experiments.studies.vaes`; the paper has 84.78 after 9,840,000.

The paper's set-up, on MNIST binarized anew each epoch: 784-200-200-50 tanh networks with Glorot initialisation and the
output bias at the data's mean, batches of 20, Adam with epsilon 1e-4, at a rate of 1e-3 * 10^(-i/7) for 3^i epochs,
i = 0, ..., 7: 3,280 epochs, 9,840,000 steps, `--data mnist.npz`. The defaults are those of a first run on 8x8 digits,
about two minutes on two cores. `python -m experiments.studies.vaes` has all of the table for one stochastic layer.

`--doubly-reparameterized` uses the encoder gradient of Tucker et al. 2019 (arXiv:1810.04152).
"""

import dataclasses
from dataclasses import dataclass

import optax

from experiments.autoencoding import AutoencoderConfig, autoencoder, experiment
from experiments.config import Experiment, Published
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.distributions import Bernoulli
from jaxgen.models.vaes import BurdaInitializer, ImportanceWeighted
from jaxgen.training.ranges import Count, NonNegative

PUBLISHED = {
    data: Published("-log p(x) in nats, by 5,000 samples", 84.78, "Burda et al. 2016, table 1: IWAE, k = 50", 9_840_000)
    for data in ("tfds:mnist", "mnist.npz")
}
STAGES = 8
"""Number of rates in the paper's schedule."""


@dataclass(frozen=True, kw_only=True)
class IWAEConfig(AutoencoderConfig):
    samples: Count = 50
    """Importance samples per example in training, the paper's k."""
    chunk: Count = 50
    """Importance samples computed at once: a divisor of `samples`, or more."""
    doubly_reparameterized: bool = False
    """Use the encoder gradient of Tucker et al. 2019, which has less variance for large k."""
    learning_rate: NonNegative = 1e-3
    """Adam's learning rate in the first epoch."""
    eval_batch: Count = 100


def burda_schedule(steps_per_epoch: int, learning_rate: float = 1e-3) -> optax.Schedule:
    """The paper's rates: `learning_rate` * 10^(-i/7) for 3^i epochs, i = 0, ..., 7, the last one also thereafter."""
    starts = [steps_per_epoch * (3**i - 1) // 2 for i in range(1, STAGES)]
    return optax.piecewise_constant_schedule(learning_rate, {start: 10 ** (-1 / 7) for start in starts})


def build(config: IWAEConfig, data: Splits) -> Experiment:
    chunk = config.chunk if config.chunk < config.samples else None
    objective = ImportanceWeighted(config.samples, doubly=config.doubly_reparameterized, chunk=chunk)
    model = autoencoder(config, data)
    initializer = BurdaInitializer(output_bias=isinstance(model.likelihood, Bernoulli))
    model = dataclasses.replace(model, objective=objective, initializer=initializer)
    schedule = burda_schedule(len(data.train) // config.batch_size, config.learning_rate)
    return experiment(config, data, model, dict.fromkeys(model.plays(), optax.adam(schedule, eps=1e-4)))


if __name__ == "__main__":
    main(IWAEConfig, build, PUBLISHED)
