"""SeqGAN (Yu et al. 2017, "SeqGAN: Sequence Generative Adversarial Nets with Policy Gradient", arXiv:1609.05473).

A generator G of sequences of tokens y_1..y_T is a policy, and a critic D gives the reward:

    maximum likelihood   L = -sum_t log G(x_t | x_<t)
    critic               L = mean cross-entropy of D on data and samples + l2 / 2 |last layer|^2
    policy               L = -sum_t Q_t log G(y_t | y_<t),  y ~ G,  Q_t = E D(y_1..y_t, completed by G)

in three phases: maximum likelihood, the critic alone, then rounds of one policy step and many critic steps. Maximum
likelihood and policy have an optimizer each, as in the authors' code. Each critic step takes new samples; the authors'
code takes three epochs of as many samples as data. The policy minimises `objective`: with `MaliGANObjective` the model
is MaliGAN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import as_integers, check_counts, check_number
from jaxgen.contracts import Array, Batch, Clock, Every, Key, LossOutput, Phase, Play, Variables
from jaxgen.losses.sequences import sequence_log_probs
from jaxgen.models.forward import forward
from jaxgen.models.sequences.likelihood import maximum_likelihood
from jaxgen.models.sequences.objectives import Objective, PolicyGradient, true_labels
from jaxgen.models.sequences.rewards import PolicyStep
from jaxgen.nets.token_sampling import sample_tokens
from jaxgen.tokens import log_probs_of, token_mask


@dataclasses.dataclass(frozen=True)
class SeqGAN:
    """Players `generator` and `critic`, plays `mle`, `policy` and `critic`, on data `"x"`, integers [B, T].

    Attributes:
        generator: a token network (`jaxgen.nets.TokenRNN`).
        critic: from tokens [B, T] to the logit of each sequence [B]; its last layer is named `last`.
        end: the token after which a sequence has only this token; None: none.
        objective: of the policy.
        sequences: samples in a policy step.
        mle_steps: of the first phase, published: 120 epochs of 156 batches.
        critic_steps: of the second phase, published: 50 x 3 epochs of 9,984 sequences and as many samples.
        moves_per_round: critic steps for each policy step in the third phase, published: 5 x 3 epochs.
        critic_batch: data in a critic step, with as many samples; None: the run's batch size.
        labels: `(key, labels) -> labels`: what the critic learns; `shuffled_labels` is a control.
        l2: weight of the critic's last layer.
        monitor: the metric of `evaluate` that chooses the best checkpoint, and its direction.

    Raises:
        ValueError: a number out of range.
    """

    generator: nn.Module
    critic: nn.Module
    end: int | None = None
    _: dataclasses.KW_ONLY
    objective: Objective = PolicyGradient()
    sequences: int = 64
    mle_steps: int = 120 * 156
    critic_steps: int = 50 * 3 * 312
    moves_per_round: int = 5 * 3 * 312
    critic_batch: int | None = 32
    labels: Callable[[Key, Array], Array] = true_labels
    l2: float = 0.2
    monitor: tuple[str, str] = ("nll", "min")

    def __post_init__(self):
        check_counts(0, mle_steps=self.mle_steps, critic_steps=self.critic_steps)
        check_counts(sequences=self.sequences, moves_per_round=self.moves_per_round)
        if self.critic_batch is not None:
            check_counts(critic_batch=self.critic_batch)
        check_number("l2", self.l2, 0)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: the data are not integers [B, T]; the critic has no layer `last`.
        """
        generator_key, critic_key = jax.random.split(key)
        tokens = as_tokens(batch)
        generator = self.generator.init(generator_key, tokens)
        critic = self.critic.init(critic_key, tokens)
        if self.l2 and "last" not in critic["params"]:
            raise ValueError(f"`critic` must have a layer `last` unless l2=0, got {sorted(critic['params'])}")
        return {"generator": self.objective.begin(generator), "critic": critic}

    def plays(self) -> Mapping[str, Play]:
        """All plays; `phases` has the schedule."""
        # the authors clip sums over positions, or over positions and batch; here losses are means over the batch
        length = self.generator.length
        first_of_each = Every(self.moves_per_round, start=1 - self.moves_per_round)
        return {
            "mle": Play(("generator",), self.mle_loss, self.adam(1e-2, 5.0 * length), accumulates=True),
            "policy": Play(("generator",), self.policy_loss, self.adam(1e-2, 5.0 / self.sequences), first_of_each),
            "critic": Play(("critic",), self.critic_loss, optax.adam(1e-4)),
        }

    @staticmethod
    def adam(learning_rate: float, greatest_norm: float) -> optax.GradientTransformation:
        """Adam of gradients whose norm is clipped."""
        return optax.chain(optax.clip_by_global_norm(greatest_norm), optax.adam(learning_rate))

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """`mle_steps`, `critic_steps`, and the rest in rounds; without a critic a round is one step."""
        plays = dict(self.plays())
        mle = min(steps, self.mle_steps)
        critic = min(steps - mle, self.critic_steps) if self.objective.uses_critic else 0
        rounds = {name: plays[name] for name in ("policy", "critic")}
        if not self.objective.uses_critic:
            rounds = {"policy": plays["policy"]._replace(when=None)}
        batch_size = self.critic_batch
        phases = (
            Phase({"mle": plays["mle"]}, mle),
            Phase({"critic": plays["critic"]}, critic, batch_size=batch_size),
            Phase(rounds, steps - mle - critic, None, batch_size, self.begin_rounds, fresh_optimizers=False),
        )
        return tuple(phase for phase in phases if phase.steps)

    def begin_rounds(self, variables: Variables, batch: Batch, key: Key) -> Variables:
        """The variables with the objective's memory as of now."""
        return {**variables, "generator": self.objective.begin(variables["generator"])}

    def mle_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """-log G(x) in nats; metric `nll` per token."""
        return maximum_likelihood(self.generator, variables, as_tokens(batch), None, self.end, key)

    def policy_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The objective's loss of new samples; its metrics, and `nll` of the samples per token, the entropy."""
        sample_key, objective_key = jax.random.split(key)
        generator, fixed = variables["generator"], lax.stop_gradient(variables)
        tokens = self.sample(fixed, sample_key, self.sequences)
        log_probs, _ = forward(self.generator, generator, tokens, method="log_probs")
        step = PolicyStep(
            tokens, log_probs, (self.generator, fixed["generator"]), partial(self.critic_logits, fixed), objective_key,
            clock, self.end,
        )  # fmt: skip
        value, metrics = self.objective.loss(step)
        mask = token_mask(tokens, self.end)
        metrics = {**metrics, "nll": -(mask * log_probs).sum() / mask.sum()}
        return LossOutput(value, metrics, memory={"generator": self.objective.memory(generator)})

    def critic_loss(
        self, variables: Variables, batch: Batch, key: Key, clock: Clock, kept: int = 0
    ) -> LossOutput:
        """Metric `accuracy`, on both halves.

        Args:
            kept: the samples begin with so many tokens of the data.
        """
        sample_key, label_key, critic_key = jax.random.split(key, 3)
        real = as_tokens(batch)
        prefix = real[:, :kept] if kept else None
        tokens = jnp.concatenate([real, self.sample(variables, sample_key, len(real), prefix=prefix)])
        labels = self.labels(label_key, jnp.concatenate([jnp.ones(len(real)), jnp.zeros(len(real))]))
        logits, statistics = forward(self.critic, variables["critic"], tokens, key=critic_key)
        value = optax.sigmoid_binary_cross_entropy(logits, labels).mean()
        if self.l2:
            last = variables["critic"]["params"]["last"]
            value += self.l2 / 2 * sum((leaf**2).sum() for leaf in jax.tree.leaves(last))
        accuracy = ((logits > 0) == (labels > 0.5)).mean()
        return LossOutput(value, {"accuracy": accuracy}, {"critic": statistics})

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`nll` of the data per token; `critic_accuracy`, half the fraction of data taken for real and half that of as
        many samples taken for samples.
        """
        tokens = as_tokens(batch)
        log_probs, mask = self.log_probs(variables, tokens), token_mask(tokens, self.end)
        real, fake = (self.critic_logits(variables, y) for y in (tokens, self.sample(variables, key, len(tokens))))
        return {
            "nll": -(mask * log_probs).sum() / mask.sum(),
            "critic_accuracy": ((real > 0).mean() + (fake <= 0).mean()) / 2,
        }

    def sample(
        self, variables: Variables, key: Key, n: int, context: None = None, temperature: float | Array = 1.0,
        top_k: int | None = None, prefix: Array | None = None,
    ) -> Array:  # fmt: skip
        """n sequences of tokens, int32 [n, T] (`sample_tokens`)."""
        options = {"temperature": temperature, "top_k": top_k, "end": self.end, "prefix": prefix}
        return sample_tokens(self.generator, variables["generator"], key, n, context, **options)

    def log_prob(self, variables: Variables, x: Array) -> Array:
        """log G(x) in nats: [B, T] to [B]."""
        return sequence_log_probs(self.log_probs(variables, x), token_mask(x, self.end))

    def log_probs(self, variables: Variables, x: Array, temperature: float | Array = 1.0) -> Array:
        """log G(x_t | x_<t) in nats, [B, T], of the distribution that is sampled with this temperature."""
        tokens = as_integers("B T", x=x).astype(jnp.int32)
        logits, _ = forward(self.generator, variables["generator"], tokens)
        return log_probs_of(logits / temperature, tokens)

    def critic_logits(self, variables: Variables, x: Array) -> Array:
        """The critic's logits of sequences [B, T], without dropout: [B]."""
        return forward(self.critic, variables["critic"], x, train=False)[0]


def as_tokens(batch: Batch) -> Array:
    """The data, int32 [B, T]."""
    return as_integers("B T", x=batch["x"]).astype(jnp.int32)
