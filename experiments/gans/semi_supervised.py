"""The semi-supervised GAN (Salimans et al. 2016, arXiv:1606.03498, section 5 and table 1).

Result: accuracy 0.839 on MNIST with 100 labels after 3,600 of the paper's 180,000 steps, five minutes on two cores,
by `python -m experiments.studies.gans`.

`--labels` training examples keep their labels, the same number of each class, chosen by the seed. On MNIST with 100
labels the paper reports 93 +- 6.5 errors in 10,000, an accuracy of 0.9907, after 300 epochs of 600 batches of 100, Adam
at 3e-3 (0.5): `--data mnist.npz --steps 180000`. Its networks are dense: a generator of two layers of 500 softplus
units with batch normalisation, and a weight-normalised critic of 1000, 500, 250, 250, 250 with Gaussian noise on each
layer. Here the critic wins at that rate, and the default is a tenth of it. The baselines see only labelled examples.
"""

from dataclasses import dataclass, replace

from flax import linen as nn

from experiments.adversarial import AdversarialConfig, experiment, fields
from experiments.config import Experiment, Published
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.data.baselines import classifiers
from jaxgen.data.labels import semi_supervised
from jaxgen.distributions import Uniform
from jaxgen.models.gans import SemiSupervisedGAN
from jaxgen.nets import MLP, NoisyMLP
from jaxgen.nets.normalization import BatchNorm
from jaxgen.training.ranges import Count, Natural, NonNegative

PUBLISHED = {
    data: Published("accuracy", 0.9907, "Salimans et al. 2016, table 1: 100 labels, 93 errors in 10,000", 180_000)
    for data in ("tfds:mnist", "mnist.npz")
}


@dataclass(frozen=True, kw_only=True)
class SemiSupervisedConfig(AdversarialConfig):
    steps: Count = 6_000
    batch_size: Count = 100
    """Examples per batch from each source, labelled and unlabelled."""
    labels: Natural = 100
    """Training examples that keep their labels."""
    width: Count = 500
    """Units of the generator's layers."""
    widths: tuple[Count, ...] = (1000, 500, 250, 250, 250)
    """Units of the critic's layers."""
    learning_rate: NonNegative = 3e-4
    critic_rate: NonNegative = 3e-4


def build(config: SemiSupervisedConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: `conditional`; labels that do not fit (`jaxgen.data.labels.semi_supervised`).
    """
    config.check_unconditional("the generator of the semi-supervised GAN has no class")
    train = semi_supervised(data.train, config.labels, config.seed)
    generator = MLP((config.width,) * 2, nn.softplus, norm=BatchNorm)
    model = SemiSupervisedGAN(
        generator, NoisyMLP(config.widths, first=0.6), **fields(config, data), prior=Uniform((config.latents,)),
        num_classes=data.train.num_classes,
    )  # fmt: skip
    model = replace(model, monitor=("accuracy", "max"))
    baselines = classifiers(train.sources["labelled"], data.test)
    return experiment(config, data, model, data=data._replace(train=train), baselines=baselines)


if __name__ == "__main__":
    main(SemiSupervisedConfig, build, PUBLISHED)
