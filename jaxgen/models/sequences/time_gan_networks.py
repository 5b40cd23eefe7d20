"""TimeGAN with the networks of the authors' code, or of the paper's game."""

from __future__ import annotations

from typing import Any

from flax import linen as nn

from jaxgen.models.sequences.time_gan import TimeGAN
from jaxgen.nets.stacked_rnn import ClosedLoopRNN, StackedRNN


def time_gan(
    event_shape: tuple[int, int], width: int = 24, layers: int = 3, closed_loop: bool = False, **fields: Any
) -> TimeGAN:
    """The authors' networks: GRUs, with one layer less in the supervisor, and dense layers with sigmoids.

    Args:
        event_shape: (T, D); z_t has D dimensions too.
        width: units of a layer, and dimension of the latents.
        closed_loop: the paper's game, whose generator is recurrent in its own latents, without a supervisor.
        fields: other fields of the model.
    """

    def latents(network: type[StackedRNN], layers: int) -> StackedRNN:
        return network(width, layers, features=width, activation=nn.sigmoid)

    return TimeGAN(
        latents(StackedRNN, layers),
        StackedRNN(width, layers, features=event_shape[-1], activation=nn.sigmoid),
        latents(ClosedLoopRNN if closed_loop else StackedRNN, layers),
        None if closed_loop else latents(StackedRNN, max(1, layers - 1)),
        StackedRNN(width, layers, features=1),
        event_shape, **{"latent_dim": event_shape[-1], **fields},
    )  # fmt: skip
