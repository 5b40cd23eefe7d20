"""A proximal term, which keeps a generator near its earlier parameters: weight E |G(z) - G_old(z)|^2."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array, Batch, Key, LossOutput, Variables
from jaxgen.losses.penalties import proximal
from jaxgen.models.gans.terms import PLAYS, ForwardPass, Term, with_collection

if TYPE_CHECKING:
    from jaxgen.models.gans.gan import GAN


@dataclasses.dataclass(frozen=True)
class Proximal(Term):
    """Added to the generator's loss; the earlier parameters are its memory `previous`. Metric: `proximal`.

    Attributes:
        weight: of squared distances, summed over an event on the networks' scale.
        every: moves of the generator after which the earlier parameters become the present ones. With 1 the two are
            equal when the gradient is taken, so that the term does nothing.
        decay: above 0, the earlier parameters are instead a moving average, updated at each move.
    """

    accumulates: ClassVar = PLAYS

    weight: float = 1.0
    every: int = 10
    decay: float = 0.0

    def __post_init__(self):
        check_counts(every=self.every)

    def init(self, gan: GAN, variables: Variables, batch: Batch, key: Key) -> Variables:
        previous = jax.tree.map(jnp.copy, variables["generator"]["params"])
        return with_collection(variables, "generator", "previous", previous)

    def generator_loss(self, computed: ForwardPass) -> LossOutput:
        generator = computed.variables["generator"]
        previous = self.refresh(generator["previous"], generator["params"], computed.clock.moves)
        value = proximal(computed.fake, computed.generate(previous), self.weight)
        return LossOutput(value, {"proximal": value}, memory={"generator": {"previous": previous}})

    def refresh(self, previous: dict, present: dict, moves: Array) -> dict:
        """The earlier parameters at a move of the generator, `moves` moves after its first."""
        present = lax.stop_gradient(present)
        keep = self.decay if self.decay else jnp.where(moves % self.every == 0, 0.0, 1.0)
        return jax.tree.map(lambda old, new: jnp.asarray(keep * old + (1 - keep) * new, new.dtype), previous, present)
