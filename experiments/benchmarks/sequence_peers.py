"""SeqGAN's steps that `sequences.py` times, ours and the same written by hand in PyTorch.

`python -m experiments.benchmarks.sequence_peers LIBRARY ROW` (a row as JSON) is the process of one of them, see
`compare.py`.

The same on both sides: an LSTM as generator, SeqGAN's critic with few filters, their initial scales, the losses, one
fixed batch, float32, Adam; calls block until their results are computed. Measured are a step of maximum likelihood,
sampling a batch, completing every prefix of a batch, and a round: a policy step with these completions, and critic
steps on data and new samples. PyTorch samples with `torch.multinomial`. At each position it steps only the prefixes
that are given before it; ours compiles five loops, in which a few more wait.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarks import compare

L2, DROPOUT = 0.2, 0.25
GENERATOR_STD = 0.1


@dataclass(frozen=True)
class Row:
    """The sizes of a SeqGAN.

    Attributes:
        words, length: of the sequences.
        width: units and vectors of the generator.
        batch: sequences of a step of maximum likelihood and of the policy; a critic step has half as many of the data
            and half as many samples.
        rollouts: completions of each prefix.
        critic_steps: of a round.
        filters: pairs of a width and the number of filters.
        embedding: dimension of the critic's vectors.
    """

    words: int = 5_000
    length: int = 20
    width: int = 32
    batch: int = 64
    rollouts: int = 4
    critic_steps: int = 5
    filters: tuple[tuple[int, int], ...] = ((2, 100), (3, 200))
    embedding: int = 64

    def data(self) -> np.ndarray:
        """Tokens, uniform, [batch, length]."""
        return np.random.default_rng(0).integers(0, self.words, (self.batch, self.length), dtype=np.int32)

    @property
    def tokens(self) -> dict[str, int]:
        """The tokens that a call samples."""
        prefixes = self.length - 1
        return {
            "sample": self.batch * self.length,
            "rollouts": self.batch * self.rollouts * prefixes * (prefixes + 1) // 2,
        }


ROWS = {"seq_gan": Row()}


class Built(NamedTuple):
    """A library's SeqGAN: functions without arguments.

    Attributes:
        parameters: number of parameters of generator and critic.
        train: a round.
        mle: a step of maximum likelihood.
        sample: a batch of samples.
        rollouts: completions of a batch.
    """

    parameters: int
    train: Callable[[], Any]
    mle: Callable[[], Any]
    sample: Callable[[], Any]
    rollouts: Callable[[], Any]


def jaxgen(row: Row) -> Built:
    from functools import partial

    import jax
    import jax.numpy as jnp
    import optax

    from jaxgen.contracts import Every
    from jaxgen.heap import free_memory_early
    from jaxgen.models.sequences import PolicyGradient, RolloutReward, SeqGAN
    from jaxgen.nets import TokenConvCritic, TokenRNN, rollouts
    from jaxgen.training import init_state, make_train_step

    free_memory_early()
    model = SeqGAN(
        TokenRNN(row.words, row.length, row.width, initial_std=GENERATOR_STD),
        TokenConvCritic(row.words, row.filters, row.embedding, DROPOUT),
        objective=PolicyGradient(RolloutReward(row.rollouts)), sequences=row.batch, l2=L2,
    )  # fmt: skip
    plays = {name: play._replace(optimizer=optax.adam(compare.LEARNING_RATE)) for name, play in model.plays().items()}
    games = {
        "mle": {"mle": plays["mle"]},
        "train": {
            "policy": plays["policy"]._replace(when=Every(row.critic_steps, start=1 - row.critic_steps)),
            "critic": plays["critic"],
        },
    }
    data = jnp.asarray(row.data())
    batches = {"mle": {"x": data}, "train": {"x": data[: row.batch // 2]}}

    def trainer(name: str) -> Callable[[], Any]:
        step, batch = make_train_step(games[name], ema=0.0), batches[name]
        state = jax.jit(partial(init_state, model, games[name]))(jax.random.key(0), batch)
        moves = row.critic_steps if name == "train" else 1

        @partial(jax.jit, donate_argnums=0)
        def call(state: Any, batch: Any) -> Any:
            return jax.lax.scan(lambda state, _: step(state, batch), state, None, moves)

        def train() -> Any:
            nonlocal state
            state, metrics = call(state, batch)
            return jax.block_until_ready(metrics["mle" if name == "mle" else "critic"]["loss"][-1])

        return train

    variables = jax.jit(model.init)(jax.random.key(0), batches["mle"])
    keys = iter(jax.random.split(jax.random.key(1), 100_000))
    sample = jax.jit(lambda variables, key: model.sample(variables, key, row.batch))
    complete = jax.jit(
        lambda variables, key: rollouts(model.generator, variables["generator"], key, data, row.rollouts)
    )
    return Built(
        sum(leaf.size for leaf in jax.tree.leaves(variables)),
        trainer("train"),
        trainer("mle"),
        lambda: jax.block_until_ready(sample(variables, next(keys))),
        lambda: jax.block_until_ready(complete(variables, next(keys))),
    )


def torch(row: Row) -> Built:
    import torch
    from torch import nn
    from torch.nn import functional

    compare.prepare_torch()
    data = torch.tensor(row.data(), dtype=torch.long)

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.beginning = nn.Parameter(torch.zeros(row.width))
            self.embed = nn.Embedding(row.words, row.width)
            self.lstm = nn.LSTM(row.width, row.width, batch_first=True)
            self.last = nn.Linear(row.width, row.words)
            for parameter in self.parameters():
                nn.init.normal_(parameter, std=GENERATOR_STD)

        def log_probs(self, tokens):
            first = self.beginning.expand(len(tokens), 1, -1)
            h, _ = self.lstm(torch.cat([first, self.embed(tokens[:, :-1])], 1))
            logits = self.last(h).flatten(0, 1)
            return -functional.cross_entropy(logits, tokens.flatten(), reduction="none").view_as(tokens)

        def begin(self, n):
            zero = torch.zeros(n, row.width)
            return zero, zero, self.beginning.expand(n, -1)

        def cell(self, h, c, x):
            weights = self.lstm.weight_ih_l0, self.lstm.weight_hh_l0, self.lstm.bias_ih_l0, self.lstm.bias_hh_l0
            return torch.lstm_cell(x, (h, c), *weights)

        def token(self, h):
            return torch.multinomial(functional.softmax(self.last(h), -1), 1)[:, 0]

        @torch.no_grad()
        def sample(self, n):
            (h, c, x), tokens = self.begin(n), []
            for _ in range(row.length):
                h, c = self.cell(h, c, x)
                tokens.append(self.token(h))
                x = self.embed(tokens[-1])
            return torch.stack(tokens, 1)

        @torch.no_grad()
        def states(self, tokens):
            """After each prefix: h, c and the next input."""
            state, states = self.begin(len(tokens)), []
            for t in range(row.length - 1):
                state = (*self.cell(*state), self.embed(tokens[:, t]))
                states.append(state)
            return states

        @torch.no_grad()
        def complete(self, tokens, states):
            """Every prefix completed once, [T - 1, B, T]."""
            completions = tokens.repeat(row.length - 1, 1, 1)
            state = tuple(a[:0] for a in states[0])
            for t in range(1, row.length):
                h, c, x = (torch.cat(pair) for pair in zip(state, states[t - 1], strict=True))
                h, c = self.cell(h, c, x)
                drawn = self.token(h)
                completions[:t, :, t] = drawn.view(t, len(tokens))
                state = h, c, self.embed(drawn)
            return completions

    class Critic(nn.Module):
        def __init__(self):
            super().__init__()
            features = sum(number for _, number in row.filters)
            self.embed = nn.Embedding(row.words, row.embedding)
            self.convs = nn.ModuleList(nn.Conv1d(row.embedding, number, width) for width, number in row.filters)
            self.value, self.gate = nn.Linear(features, features), nn.Linear(features, features)
            self.drop, self.last = nn.Dropout(DROPOUT), nn.Linear(features, 2)

        def forward(self, tokens):
            x = self.embed(tokens).transpose(1, 2)
            h = torch.cat([functional.relu(conv(x)).amax(2) for conv in self.convs], 1)
            gate = torch.sigmoid(self.gate(h))
            return self.last(self.drop(gate * functional.relu(self.value(h)) + (1 - gate) * h))

    generator, critic = Generator(), Critic()

    @torch.no_grad()
    def rewards(tokens):
        critic.eval()
        states, total = generator.states(tokens), 0.0
        for _ in range(row.rollouts):
            completions = generator.complete(tokens, states)
            logits = critic(completions.flatten(0, 1))
            total = total + functional.softmax(logits, 1)[:, 1].view(row.length - 1, len(tokens))
        last = functional.softmax(critic(tokens), 1)[:, 1]
        critic.train()
        return torch.cat([total / row.rollouts, last[None]]).T

    def policy_loss():
        tokens = generator.sample(row.batch)
        return -(rewards(tokens) * generator.log_probs(tokens)).sum(1).mean()

    def critic_loss():
        half = row.batch // 2
        tokens = torch.cat([data[:half], generator.sample(half)])
        labels = torch.cat([torch.ones(half, dtype=torch.long), torch.zeros(half, dtype=torch.long)])
        penalty = sum((p**2).sum() for p in critic.last.parameters())
        return functional.cross_entropy(critic(tokens), labels) + L2 / 2 * penalty

    policy_step = compare.torch_step(list(generator.parameters()), policy_loss)
    critic_step = compare.torch_step(list(critic.parameters()), critic_loss)

    def train():
        policy_step()
        return [critic_step() for _ in range(row.critic_steps)][-1]

    def complete():
        states = generator.states(data)
        return torch.stack([generator.complete(data, states) for _ in range(row.rollouts)])

    parameters = sum(p.numel() for network in (generator, critic) for p in network.parameters())
    mle = compare.torch_step(list(generator.parameters()), lambda: -generator.log_probs(data).sum(1).mean())
    return Built(parameters, train, mle, lambda: generator.sample(row.batch), complete)


LIBRARIES: dict[str, Callable[[Row], Built]] = {"jaxgen": jaxgen, "torch": torch}
"""Builders by package name; the first is ours."""


def serve(library: str, row: Row, lines: Any, send: Callable[[Any], None]) -> None:
    sizes = {"train": 1, "mle": 1, "sample": row.batch * row.length}
    sizes["rollouts"] = row.rollouts * (row.length - 1) * row.batch * row.length
    compare.serve(lambda: LIBRARIES[library](row), sizes, lines, send)


def main(library: str, row: str) -> None:
    fields = json.loads(row)
    row = Row(**fields | {"filters": tuple(map(tuple, fields["filters"]))})
    compare.answer(lambda lines, send: serve(library, row, lines, send))


if __name__ == "__main__":
    main(*sys.argv[1:])
