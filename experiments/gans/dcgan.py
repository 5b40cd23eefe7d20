"""DCGAN (Radford, Metz and Chintala 2016, arXiv:1511.06434).

Result: Frechet distance 96.9 on MNIST after 3,000 steps, four minutes on two cores, by `python -m
experiments.studies.gans`.

Strided convolutions, batch normalisation, rectified units, uniform noise of 100 dimensions, Adam 2e-4 (0.5), batches of
128, weights from N(0, 0.02^2). On MNIST: `--data mnist.npz --batch-size 128`. The paper evaluates features on CIFAR-10
and SVHN, and in its appendix a nearest neighbour that is trained on samples of MNIST. `--augment`, `--instance-noise`
and `--packing` come from later papers.
"""

from dataclasses import dataclass

from experiments.adversarial import AdversarialConfig, experiment, fields, networks
from experiments.config import Experiment
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.distributions import Uniform
from jaxgen.models.gans import GAN
from jaxgen.training.ranges import Count


@dataclass(frozen=True, kw_only=True)
class DCGANConfig(AdversarialConfig):
    batch_size: Count = 128


def build(config: DCGANConfig, data: Splits) -> Experiment:
    model = GAN(*networks(config, data), **fields(config, data), prior=Uniform((config.latents,)))
    return experiment(config, data, model)


if __name__ == "__main__":
    main(DCGANConfig, build)
