"""Lagging inference: several moves of the encoder for one of the decoder."""

from __future__ import annotations

import optax

from jaxgen.contracts import Every, Play
from jaxgen.models.vaes.vae import VAE


def lagging_inference(model: VAE, encoder_steps: int) -> dict[str, Play]:
    """Two plays of one bound: `inference` at each step, `generation` once every `encoder_steps` steps.

    He et al. 2019, "Lagging Inference Networks and Posterior Collapse in Variational Autoencoders", algorithm 1, with a
    fixed number of moves of the encoder instead of their stopping rule.
    """
    inference = ("encoder", *model.posterior.players)
    generation = tuple(player for player in model.players if player not in inference)
    return {
        "inference": Play(inference, model.loss, optax.adam(1e-3), accumulates=model.accumulates),
        "generation": Play(generation, model.loss, optax.adam(1e-3), Every(encoder_steps), model.accumulates),
    }
