"""A conditional sequence GAN for translation (Yang et al. 2018, "Improving Neural Machine Translation with Conditional
Sequence Generative Adversarial Nets", CSGAN-NMT).

A generator G of translations y of a source x is a policy; a critic D of pairs (x, y) and the sentence BLEU Q against
the reference give the reward:

    mle        L = -sum_t log G(y_t | y_<t, x),  y the reference
    critic     L = -E log D(x, y) - E log(1 - D(x, y')),  y' ~ G
    policy     L = -sum_t R_t log G(y'_t | y'_<t, x),  y' ~ G
               R_t = E [lambda (D(x, y'') - b) + (1 - lambda) Q(y'')],  y'' = y'_1..y'_t, completed by G

in three phases: maximum likelihood with Adam; the critic alone, with RMSProp, until its accuracy on new pairs is 0.82;
then rounds of a critic step, a policy step and a step of maximum likelihood (teacher forcing), with RMSProp. Rewards
after the end token do not count. In the authors' Transformer code the policy's loss lacks the logarithm: its gradient
is that of sum_t R_t G(y'_t), which prefers tokens that are probable already.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Phase, Play, Variables
from jaxgen.losses.clipping import clip_weights
from jaxgen.losses.sequences import policy_gradient
from jaxgen.metrics.sentence_bleu import sentence_bleu
from jaxgen.models.forward import forward, without_statistics
from jaxgen.models.hybrids.gate import waiting
from jaxgen.models.sequences.conditional import ConditionalSequences, tokens_and_context
from jaxgen.nets.token_sampling import rollout_rewards, sample_tokens
from jaxgen.tokens import token_mask

PRETRAINING = "pretraining"
"""The critic's collection, memory, with its running `accuracy` and whether it has `reached` the target."""
DECAY = 0.95
"""Of the running accuracy."""


@dataclasses.dataclass(frozen=True)
class ConditionalSequenceGAN(ConditionalSequences):
    """Players `generator` and `critic`; plays `mle`, `critic_pretraining`, `critic`, `policy` and `teacher_forcing`.

    Attributes:
        critic: from tokens [B, T] and sources [B, S] to the logit of each pair [B], such as `jaxgen.nets.PairCritic`.
        mle_steps: of the first phase.
        critic_steps: of the second phase: at most so many steps of the critic, which stops at `accuracy`.
        accuracy: of the critic before the third phase, an average over about 20 steps, each measured before it learns
            from the pairs. With .95 or .6 the paper's translations are worse.
        rollouts: completions of each prefix; 0: the score of the whole translation is the reward of all its tokens.
        critic_weight: lambda.
        baseline: b.
        unknown: the token of unknown words, which BLEU counts as wrong; None: none.

    Raises:
        ValueError: a number out of range; a critic with batch statistics.
    """

    _: dataclasses.KW_ONLY
    critic: nn.Module
    mle_steps: int = 10_000
    critic_steps: int = 2_000
    accuracy: float = 0.82
    rollouts: int = 20
    critic_weight: float = 0.7
    baseline: float = 0.6
    unknown: int | None = 1

    def __post_init__(self):
        check_counts(0, mle_steps=self.mle_steps, critic_steps=self.critic_steps, rollouts=self.rollouts)
        check_number("critic_weight", self.critic_weight, 0, 1)
        check_number("accuracy", self.accuracy, 0, 1)

    def init(self, key: Key, batch: Batch) -> Variables:
        generator_key, critic_key = jax.random.split(key)
        critic = without_statistics("critic", self.critic.init(critic_key, *tokens_and_context(batch)))
        pretraining = {"accuracy": jnp.float32(0.5), "reached": jnp.bool_(False)}
        return {**super().init(generator_key, batch), "critic": {**critic, PRETRAINING: pretraining}}

    def plays(self) -> Mapping[str, Play]:
        """All plays; `phases` has the schedule."""
        critic = optax.chain(optax.clip(1.0), optax.rmsprop(1e-4), clip_weights(1.0))
        generator = optax.chain(optax.clip_by_global_norm(5.0), optax.rmsprop(1e-5))
        return {
            **super().plays(),
            "critic_pretraining": Play(("critic",), self.critic_pretraining_loss, waiting(critic)),
            "critic": Play(("critic",), self.critic_loss, critic),
            "policy": Play(("generator",), self.policy_loss, generator),
            "teacher_forcing": Play(("generator",), self.mle_loss, generator, accumulates=True),
        }

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """`mle_steps`, `critic_steps`, and the rest in rounds of one step."""
        plays, mle = dict(self.plays()), min(steps, self.mle_steps)
        critic = min(steps - mle, self.critic_steps)
        phases = (
            Phase({"mle": plays["mle"]}, mle),
            Phase({"critic_pretraining": plays["critic_pretraining"]}, critic),
            Phase({name: plays[name] for name in ("critic", "policy", "teacher_forcing")}, steps - mle - critic),
        )
        return tuple(phase for phase in phases if phase.steps)

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metric `accuracy`, on both halves."""
        value, accuracy = self._cross_entropy(variables, batch, key)
        return LossOutput(value, {"accuracy": accuracy})

    def critic_pretraining_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The critic's loss until its running accuracy has reached the target, then zero, at no cost.

        Metrics: the running `accuracy`, and whether the target is `reached`.
        """
        before = variables["critic"][PRETRAINING]
        value, now = lax.cond(
            before["reached"],
            lambda variables: (jnp.zeros(()), before["accuracy"]),
            lambda variables: self._cross_entropy(variables, batch, key),
            variables,
        )
        running = DECAY * before["accuracy"] + (1 - DECAY) * now
        after = {
            "accuracy": jnp.where(before["reached"], before["accuracy"], running),
            "reached": before["reached"] | (running >= self.accuracy),
        }
        metrics = {"accuracy": after["accuracy"], "reached": after["reached"].astype(jnp.float32)}
        return LossOutput(value, metrics, memory={"critic": {PRETRAINING: lax.stop_gradient(after)}})

    def policy_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the means over samples of the `reward` of the whole, of D as `critic` and of `bleu`."""
        sample_key, rollout_key = jax.random.split(key)
        references, context = tokens_and_context(batch)
        fixed = lax.stop_gradient(variables)
        tokens = self.sample(fixed, sample_key, len(context), context)
        options = {"n": self.rollouts, "context": context, "end": self.end}

        def score(tokens: Array, context: Array) -> Array:
            return self.rewards(fixed, tokens, context, references)["reward"]

        parts = self.rewards(fixed, tokens, context, references)
        if self.rollouts:
            rewards = rollout_rewards(score, self.generator, fixed["generator"], rollout_key, tokens, **options)
        else:
            rewards = jnp.broadcast_to(parts["reward"][:, None], tokens.shape)
        log_probs, _ = forward(self.generator, variables["generator"], tokens, context, method="log_probs")
        value = policy_gradient(log_probs, rewards, token_mask(tokens, self.end))
        return LossOutput(value, {name: part.mean() for name, part in parts.items()})

    def rewards(self, variables: Variables, x: Array, context: Array, references: Array) -> dict[str, Array]:
        """The `reward` of translations [M, T] of sources [M, S], with D as `critic` and `bleu`: [M] each.

        Args:
            references: [B, T], M a multiple of B: translation i has the reference i mod B.
        """
        references = jnp.tile(references, (len(x) // len(references), 1))
        critic = nn.sigmoid(self.critic_logits(variables, x, context))
        bleu = sentence_bleu(x, references, self.end, unknown=self.unknown)
        reward = self.critic_weight * (critic - self.baseline) + (1 - self.critic_weight) * bleu
        return {"reward": reward, "critic": critic, "bleu": bleu}

    def critic_logits(self, variables: Variables, x: Array, context: Array) -> Array:
        """The critic's logits of pairs, without dropout: [B]."""
        return forward(self.critic, variables["critic"], x, context, train=False)[0]

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """As `ConditionalSequences`; `critic_accuracy` on data and as many samples, and `critic_accuracy_shuffled` with
        the sources of other pairs: a critic that looks at the sources takes these for samples.
        """
        tokens, context = tokens_and_context(batch)
        fakes, other = self.sample(variables, key, len(tokens), context), jnp.roll(context, 1, 0)

        def accuracy(context: Array) -> Array:
            real, fake = (self.critic_logits(variables, y, context) for y in (tokens, fakes))
            return ((real > 0).mean() + (fake <= 0).mean()) / 2

        metrics = {"critic_accuracy": accuracy(context), "critic_accuracy_shuffled": accuracy(other)}
        return {**super().evaluate(variables, batch, key), **metrics}

    def _cross_entropy(self, variables: Variables, batch: Batch, key: Key) -> tuple[Array, Array]:
        """The critic's loss on data and samples, and its accuracy."""
        sample_key, critic_key = jax.random.split(key)
        real, context = tokens_and_context(batch)
        collections = lax.stop_gradient(variables["generator"])
        fake = sample_tokens(self.generator, collections, sample_key, len(real), context, end=self.end)
        pairs = jnp.concatenate([real, fake]), jnp.concatenate([context, context])
        on_real, on_fake = jnp.split(forward(self.critic, variables["critic"], *pairs, key=critic_key)[0], 2)
        value = nn.softplus(-on_real).mean() + nn.softplus(on_fake).mean()
        return value, ((on_real > 0).mean() + (on_fake <= 0).mean()) / 2
