"""Terms that variants of a GAN add to its two losses, as values: `GAN(..., terms=(ClassLoss(10), Bottleneck(0.1)))`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Variables
from jaxgen.models.gans.networks import CriticOutput

if TYPE_CHECKING:
    from jaxgen.models.gans.gan import GAN

PLAYS = ("critic", "generator")


class ForwardPass(NamedTuple):
    """What the networks have computed in a play or an evaluation, for terms to build on.

    Attributes:
        z: [B, ...], latents and the codes of a term.
        context: [B, D] or None.
        fake: samples [B, ...]; in the critic's play transformed and packed, as the critic sees them.
        on_fake: the critic's output for them.
        real, on_real: the same of the data; None in the generator's play.
        criticize: the critic as a function of examples as it sees them, and of a context, by default the batch's; None
            in evaluations.
        generate: samples from the same z, by other parameters of the generator; in the generator's play alone.
        key: the term's own.
    """

    variables: Variables
    z: Array
    context: Array | None
    fake: Array
    on_fake: CriticOutput
    real: Array | None = None
    on_real: CriticOutput | None = None
    criticize: Callable[..., CriticOutput] | None = None
    generate: Callable[[Any], Array] | None = None
    key: Key | None = None
    clock: Clock = Clock()

    def score(self, x: Array) -> Array:
        """The critic's scores of examples as it sees them, [B]."""
        return self.criticize(x).score


class Term:
    """What a variant adds to a GAN. Each method has a default that adds nothing.

    Attributes:
        accumulates: the plays whose loss stays a mean over examples with this term (`jaxgen.contracts.Play`).
        hides_context: whether the critic ignores the context unless `GAN.critic_condition` is given.
        extra_latents: number of latents that the term appends to z; at most one term of a GAN has any.
    """

    accumulates: ClassVar[tuple[str, ...]] = ()
    hides_context: ClassVar[bool] = False
    extra_latents: ClassVar[int] = 0

    def check(self, gan: GAN) -> None:
        """Raises ValueError if the term does not fit the GAN."""

    def init(self, gan: GAN, variables: Variables, batch: Batch, key: Key) -> Variables:
        """The variables with the term's own players and collections (`with_collection`)."""
        return variables

    def players(self, play: str) -> tuple[str, ...]:
        """The term's own players that move with a play."""
        return ()

    def codes(self, key: Key, n: int) -> Array:
        """Samples of the latents that the term appends to z, [n, extra_latents]."""
        return jnp.zeros((n, 0))

    def critic_layer(self, deterministic: bool) -> nn.Module | None:
        """A layer before the critic's head (`Critic.layers`); `deterministic` in the generator's play."""
        return None

    def transform(self, variables: Variables, x: Array, key: Key) -> Array:
        """The critic's input in training, data and samples, after `GAN.transforms`: [B, ...] to itself."""
        return x

    def critic_loss(self, computed: ForwardPass) -> LossOutput:
        """Added to the critic's loss."""
        return LossOutput(jnp.zeros(()))

    def generator_loss(self, computed: ForwardPass) -> LossOutput:
        """Added to the generator's loss."""
        return LossOutput(jnp.zeros(()))

    def evaluate(self, computed: ForwardPass) -> Mapping[str, Array]:
        """Added to the evaluation metrics."""
        return {}


def check_terms(gan: GAN) -> None:
    """Raises:
    ValueError: not a tuple of terms; a term that does not fit the GAN; several that add codes.
    """
    if not isinstance(gan.terms, tuple) or not all(isinstance(term, Term) for term in gan.terms):
        raise ValueError(f"`terms` must be a tuple of `Term`s, got {gan.terms!r:.80}")
    if sum(term.extra_latents > 0 for term in gan.terms) > 1:
        raise ValueError(f"`terms` must have at most one that adds codes to the latents, got {gan.terms!r:.80}")
    for term in gan.terms:
        term.check(gan)


def with_collection(variables: Variables, player: str, collection: str, value: Any) -> Variables:
    """The variables with one more collection of a player.

    Raises:
        ValueError: the player has it already: two terms would share it.
    """
    collections = variables.get(player, {})
    if collection in collections:
        raise ValueError(f"`terms` must not share variables, got two that add {collection!r} to player {player!r}")
    return {**variables, player: {**collections, collection: value}}


def add_terms(loss: LossOutput, terms: Iterable[LossOutput]) -> LossOutput:
    """The loss with terms added: values, and metrics of one name, are summed; memory is merged."""
    for term in terms:
        metrics = {**loss.metrics, **{name: loss.metrics.get(name, 0) + v for name, v in term.metrics.items()}}
        memory = {p: {**loss.memory.get(p, {}), **term.memory.get(p, {})} for p in {**loss.memory, **term.memory}}
        loss = loss.replace(value=loss.value + term.value, metrics=metrics, memory=memory)
    return loss
