"""A falling temperature of the generator's relaxed symbols, as a term."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import LossOutput
from jaxgen.models.gans.terms import PLAYS, ForwardPass, Term
from jaxgen.nets.relaxations import COLLECTION, GumbelSoftmax

if TYPE_CHECKING:
    from jaxgen.models.gans.gan import GAN


@dataclasses.dataclass(frozen=True)
class Annealing(Term):
    """Lowers the temperature of a `GumbelSoftmax` geometrically to `final` over the first moves of the generator.

    Adds nothing to the losses. Metric of the generator's play: the `temperature` of its move.
    """

    accumulates: ClassVar = PLAYS

    final: float = 0.1
    moves: int = 10_000

    def __post_init__(self):
        check_number("final", self.final, 0, above=True)
        check_counts(moves=self.moves)

    def check(self, gan: GAN) -> None:
        if not isinstance(gan.relaxation, GumbelSoftmax):
            raise ValueError(f"`Annealing` requires relaxation=GumbelSoftmax(...), got {gan.relaxation!r:.80}")

    def generator_loss(self, computed: ForwardPass) -> LossOutput:
        held = computed.variables["generator"][COLLECTION]
        (now,) = jax.tree.leaves(held)
        left = jnp.maximum(self.moves - computed.clock.moves, 1)
        after = jnp.where(computed.clock.moves < self.moves, now * (self.final / now) ** (1 / left), now)
        memory = {"generator": {COLLECTION: jax.tree.map(lambda _: after, held)}}
        return LossOutput(jnp.zeros(()), {"temperature": now}, memory=memory)
