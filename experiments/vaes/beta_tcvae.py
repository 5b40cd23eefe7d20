"""The beta-TCVAE (Chen et al. 2018, arXiv:1802.04942).

The objective weights one part of the KL divergence, the total correlation of the latents, by beta. Each batch estimates
it by minibatch-weighted or minibatch-stratified sampling. The test metrics include the total correlation over test
examples by enumeration, whichever estimator was used in training.

The weights and the ten latents are the paper's on dSprites, where it trains dense networks of 1,200 units (`--width
1200`) by Adam at 1e-3 on batches of 2,048, for 50 epochs; the default batch and width suit a first run. Large batches
reduce the estimator's bias.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import jax

from experiments.autoencoding import MUTUAL_INFORMATION_EXAMPLES, AutoencoderConfig, autoencoder, experiment
from experiments.config import Experiment
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.metrics import total_correlation
from jaxgen.models.vaes import TotalCorrelation
from jaxgen.training import TrainedModel
from jaxgen.training.latents import posterior_moments
from jaxgen.training.ranges import Count, NonNegative


@dataclass(frozen=True, kw_only=True)
class BetaTCVAEConfig(AutoencoderConfig):
    batch_size: Count = 256
    latents: Count = 10
    alpha: NonNegative = 1.0
    """Weight of the mutual information of data and latents."""
    beta: NonNegative = 6.0
    """Weight of the latents' total correlation."""
    gamma: NonNegative = 1.0
    """Weight of each latent's divergence to the prior."""
    estimator: Literal["weighted", "stratified"] = "weighted"
    """Minibatch estimator of the aggregate posterior; the paper uses `weighted`."""


def build(config: BetaTCVAEConfig, data: Splits) -> Experiment:
    stratified = config.estimator == "stratified"
    objective = TotalCorrelation(len(data.train), config.alpha, config.beta, config.gamma, stratified)

    def final_metrics(trained: TrainedModel) -> dict[str, float]:
        mean, log_variance = posterior_moments(trained, data.test, config.eval_batch)
        few, key = slice(MUTUAL_INFORMATION_EXAMPLES), jax.random.key(config.seed)
        return {"total correlation in nats": float(jax.jit(total_correlation)(mean[few], log_variance[few], key))}

    model = dataclasses.replace(autoencoder(config, data), objective=objective)
    return experiment(config, data, model, final_metrics=final_metrics)


if __name__ == "__main__":
    main(BetaTCVAEConfig, build)
