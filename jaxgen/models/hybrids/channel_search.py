"""A search for the numbers of channels of a network within a budget, by evolution.

Li et al. 2020, "GAN Compression: Efficient Architectures for Interactive Conditional GANs", arXiv:2003.08936, train one
network for all numbers of channels and then evaluate those within a budget of multiply-adds; the evolution is that of
the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgen.arguments import check_counts, check_number

Channels = tuple[int, ...]
TRIALS = 10_000
"""Random numbers of channels drawn for one within the budget."""


class Candidate(NamedTuple):
    """Numbers of channels by layer with their cost and score."""

    channels: Channels
    cost: float
    score: float


def search_channels(
    choices: Sequence[Sequence[int]],
    cost: Callable[[Channels], float],
    score: Callable[[Channels], float],
    budget: float,
    seed: int = 0,
    *,
    population: int = 100,
    generations: int = 500,
    parents: float = 0.25,
    mutation: float = 0.2,
    least: float = 0.9,
) -> list[Candidate]:
    """All evaluated candidates, the one with the lowest score first.

    The first generation is random. In each later one the best candidates so far, a fraction `parents` of `population`,
    have as many children as replace the rest: one half copies of a parent in which each layer is drawn anew with
    probability `mutation`, the others mixtures of two parents. `generations=0` is a random search, with `population=1`
    a random choice.

    Args:
        choices: numbers of channels to choose from, by layer.
        cost: of a candidate, for example multiply-adds.
        score: of a candidate, lower is better; called once for each.
        budget: candidates cost at most this, and at least `least` times this.

    Raises:
        ValueError: no candidate found within the budget.
    """
    check_counts(population=population)
    check_counts(0, generations=generations)
    check_number("budget", budget, 0, above=True)
    for name, value in (("parents", parents), ("mutation", mutation), ("least", least)):
        check_number(name, value, 0, 1)
    rng = np.random.default_rng(seed)

    def drawn(layer: int) -> int:
        return int(rng.choice(choices[layer]))

    def within(propose: Callable[[], Channels]) -> Channels:
        """The first proposal within the budget."""
        costs = []
        for _ in range(TRIALS):
            if least * budget <= (amount := cost(proposal := propose())) <= budget:
                return proposal
            costs.append(amount)
        raise ValueError(
            f"`budget` must allow channels of `choices` with costs from {least * budget:g} to {budget:g}, "
            f"got costs from {min(costs):g} to {max(costs):g}"
        )

    def mutated(parent: Channels) -> Channels:
        return tuple(drawn(i) if rng.random() < mutation else n for i, n in enumerate(parent))

    def mixed(one: Channels, other: Channels) -> Channels:
        return tuple(pair[rng.integers(2)] for pair in zip(one, other, strict=True))

    evaluated: dict[Channels, Candidate] = {}

    def evaluate(channels: Channels) -> None:
        if channels not in evaluated:
            evaluated[channels] = Candidate(channels, cost(channels), float(score(channels)))

    def best() -> list[Candidate]:
        return sorted(evaluated.values(), key=lambda candidate: candidate.score)

    for _ in range(population):
        evaluate(within(lambda: tuple(map(drawn, range(len(choices))))))
    for _ in range(generations):
        chosen = [candidate.channels for candidate in best()[: max(1, round(parents * population))]]
        for child in range(population - len(chosen)):
            one, other = (chosen[i] for i in rng.integers(len(chosen), size=2))
            evaluate(within(partial(mixed, one, other) if child % 2 else partial(mutated, one)))
    return best()


def multiply_adds(function: Callable[..., Any], *arguments: Any) -> float:
    """Half of the floating-point operations of a function, by XLA's count before it optimises.

    Normalisations and the like count too, and convolutions in the form in which this device computes them.

    Args:
        arguments: arrays, or their shapes (`jax.ShapeDtypeStruct`).
    """
    return jax.jit(function).lower(*arguments).cost_analysis()["flops"] / 2
