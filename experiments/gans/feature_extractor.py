"""A small classifier of labelled images: the default extractor of features that generated samples are judged by.

Two stages of convolutions, a dense layer whose outputs are the features, and the logits; Adam, its rate falling along a
cosine. `experiments.gans.extractor.load_extractor` opens its folder, which has the hash of its variables. On MNIST,
above 99 % in a few minutes of one core: `--data mnist.npz --widths 16 32 --steps 4000 --ema 0.999 --eval-every 500`.
"""

from dataclasses import dataclass

import jax
import optax

from experiments.gans.extractor import seal
from experiments.shell import Config, Experiment, main
from jaxgen.data import Splits
from jaxgen.models.classifier import Classifier
from jaxgen.nets.features import ConvFeatures
from jaxgen.training import TrainedModel


@dataclass(frozen=True, kw_only=True)
class FeatureExtractorConfig(Config):
    steps: int = 600
    ema: float = 0.99
    eval_every: int = 50
    widths: tuple[int, ...] = (32, 64)
    """Channels of each stage; each halves the resolution."""
    features: int = 64
    """Their number; judging a model takes more samples than this."""
    dropout: float = 0.3
    """Share of units that drop before and after the dense layer."""
    learning_rate: float = 2e-3
    """Of Adam, at first."""


def build(config: FeatureExtractorConfig, data: Splits) -> Experiment:
    train = data.train
    if len(train.event_shape) != 3 or train.classes is None:
        raise ValueError(
            f"data={config.data!r} has rows of shape {train.event_shape} and classes={train.classes}: images [H, W, C] "
            "with labels are needed"
        )
    network = ConvFeatures(config.widths, config.features, config.dropout)
    model = Classifier(network, train.event_shape, num_classes=train.classes, levels=train.levels)
    adam = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps))

    def sealed(bound: TrainedModel) -> dict[str, float]:
        if jax.process_index() == 0:
            seal(config.out, bound)
        return {}

    plays = {name: play._replace(optimizer=adam) for name, play in model.plays().items()}
    return Experiment(model, plays, report=sealed, draws=1)


if __name__ == "__main__":
    main(FeatureExtractorConfig, build)
