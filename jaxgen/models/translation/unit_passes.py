"""Forward passes of the networks of a `UNIT`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax

from jaxgen.contracts import Array, Key, Variables
from jaxgen.models.forward import forward

if TYPE_CHECKING:
    from jaxgen.models.translation.unit import UNIT

AUTOENCODER = ("encoder", "latent_encoder", "latent_decoder", "decoder")
"""The networks of a VAE, in their order; the domains may share those called latent."""


class Passes:
    """Forward passes with one set of variables: in training mode, with statistics updated, if there is a key."""

    def __init__(self, model: UNIT, variables: Variables, key: Key | None = None):
        self.model, self.variables, self.key = model, dict(variables), key
        self.statistics: dict[str, Mapping[str, Any]] = {}
        self._draws = 0

    def updates(self, players: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
        """The updated statistics of players."""
        return {player: self.statistics[player] for player in players}

    def _next_key(self) -> Key | None:
        self._draws += 1
        return None if self.key is None else jax.random.fold_in(self.key, self._draws)

    def apply(self, role: str, domain: str, x: Array) -> Any:
        network, player = self.model.network(role, domain)
        y, statistics = forward(network, self.variables[player], x, key=self._next_key())
        self.variables[player] = {**self.variables[player], **statistics}
        self.statistics[player] = statistics
        return y

    def code(self, x: Array, domain: str) -> Array:
        return self.apply("latent_encoder", domain, self.apply("encoder", domain, x))

    def sample(self, mean: Array) -> Array:
        return mean + jax.random.normal(self._next_key(), mean.shape, mean.dtype)

    def decode(self, z: Array, domain: str) -> Array:
        return self.apply("decoder", domain, self.apply("latent_decoder", domain, z))

    def scores(self, x: Array, domain: str) -> tuple[Array, ...]:
        return self.model.scores(self, x, domain)
