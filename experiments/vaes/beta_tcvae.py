"""The beta-TCVAE (Chen et al. 2018, "Isolating Sources of Disentanglement in Variational Autoencoders", arXiv:1802.04942).

Of the divergence's parts the total correlation of the latents alone weighs more, by beta, estimated from each batch by
minibatch-weighted or minibatch-stratified sampling. Beside what other autoencoders report stands the total correlation
over test rows, by enumeration, whatever estimate was trained on.

Weights and the ten latents are the paper's on dSprites, where it trains dense networks of 1,200 units (`--width 1200`)
by Adam of 1e-3 on batches of 2,048, for 50 epochs; batch and width are those of a first run. Large batches estimate better.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import jax

from experiments.autoencoding import INFORMED_ROWS, AutoencoderConfig, autoencoder, experiment, moments
from experiments.shell import Experiment, main
from jaxgen.data import Splits
from jaxgen.metrics import total_correlation
from jaxgen.models.vaes import TotalCorrelation
from jaxgen.training import TrainedModel


@dataclass(frozen=True, kw_only=True)
class BetaTCVAEConfig(AutoencoderConfig):
    batch_size: int = 256
    latents: int = 10
    alpha: float = 1.0
    """Weight of the mutual information of data and latents."""
    beta: float = 6.0
    """Weight of the latents' total correlation."""
    gamma: float = 1.0
    """Weight of each latent's divergence to the prior."""
    estimator: Literal["weighted", "stratified"] = "weighted"
    """How a batch stands for all rows; the paper's is `weighted`."""


def build(config: BetaTCVAEConfig, data: Splits) -> Experiment:
    stratified = config.estimator == "stratified"
    objective = TotalCorrelation(len(data.train), config.alpha, config.beta, config.gamma, stratified)
    shared = experiment(config, data, dataclasses.replace(autoencoder(config, data), objective=objective))

    def report(bound: TrainedModel) -> dict[str, float]:
        mean, log_variance = (a[:INFORMED_ROWS] for a in moments(bound, data.test, config.eval_batch))
        correlation = jax.jit(total_correlation)(mean, log_variance, jax.random.key(config.seed))
        return {**shared.report(bound), "total correlation in nats": float(correlation)}

    return shared._replace(report=report)


if __name__ == "__main__":
    main(BetaTCVAEConfig, build)
