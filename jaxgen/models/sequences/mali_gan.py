"""MaliGAN with mixed training (Che et al. 2017, "Maximum-Likelihood Augmented Discrete Generative Adversarial
Networks").

`SeqGAN` with a `MaliGANObjective` is the basic or the full variant. In the mixed one, sequences begin with the first N
tokens of the data, which are learned by maximum likelihood, and only what follows is judged by the critic:

    y_m ~ G(. | x_1..x_N),  m = 1..M
    policy   L = -sum_(t <= N) log G(x_t | x_<t) - sum_m (w_m - b / M) sum_(t > N) log G(y_m,t | y_m,<t)
             w = softmax_m a(y_m)

with weights among the completions of the same prefix, whose variance is small as long as N is large. N falls from T to
zero in stages, each a phase; the last one, N = 0, is the basic variant.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Batch, Clock, Key, LossOutput, Phase, Variables
from jaxgen.losses.sequences import effective_sample_size, maligan, sequence_log_probs, teacher_forcing
from jaxgen.models.forward import forward
from jaxgen.models.sequences.objectives import MaliGANObjective, Objective
from jaxgen.models.sequences.seq_gan import SeqGAN, as_tokens
from jaxgen.tokens import token_mask


@dataclasses.dataclass(frozen=True)
class MixedMaliGAN(SeqGAN):
    """`SeqGAN` whose rounds begin with prefixes of the data.

    Attributes:
        objective: of the last stage, without prefixes.
        completions: M, of each prefix; the policy has `critic_batch` prefixes, or `sequences` / M if those are fewer.
        released: tokens by which N falls from one stage to the next, from T - `released` to 0; stages have equally many
            steps.
        baseline: b in the stages with prefixes, from 0 to 1.
    """

    _: dataclasses.KW_ONLY
    objective: Objective = MaliGANObjective()
    completions: int = 8
    released: int = 5
    baseline: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_counts(2, completions=self.completions)
        check_counts(released=self.released)
        check_number("baseline", self.baseline, 0, 1)
        if not self.objective.uses_critic:
            raise ValueError(f"`objective` must use a critic, as the stages with prefixes do, got {self.objective}")

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """Maximum likelihood, the critic alone, and a phase for each N."""
        *before, rounds = super().phases(steps)
        if "policy" not in rounds.plays:
            return (*before, rounds)
        kept = [*range(self.generator.length - self.released, 0, -self.released), 0]
        share, stages = rounds.steps // len(kept), []
        for i, n in enumerate(kept):
            plays = dict(rounds.plays)
            if n:
                plays["policy"] = plays["policy"]._replace(loss=partial(self.mixed_loss, kept=n))
                plays["critic"] = plays["critic"]._replace(loss=partial(self.critic_loss, kept=n))
            last = i == len(kept) - 1
            stage = rounds._replace(plays=plays, steps=rounds.steps - share * i if last else share)
            stages.append(stage if i == 0 or last else stage._replace(enter=None))
        return (*before, *(stage for stage in stages if stage.steps))

    def mixed_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock, kept: int) -> LossOutput:
        """Metrics: `effective_samples`, of the M completions of a prefix; `prefix_nll` per kept token.

        Args:
            kept: N, from 1 to T - 1.
        """
        fixed, m = lax.stop_gradient(variables), self.completions
        x = as_tokens(batch)
        x = x[: max(1, min(len(x), self.sequences // m))]
        # [M B, T], completions of a prefix B rows apart
        y = self.sample(fixed, key, m * len(x), prefix=jnp.tile(x[:, :kept], (m, 1)))
        log_probs, _ = forward(self.generator, variables["generator"], y, method="log_probs")
        mask = token_mask(y, self.end)
        logits = self.critic_logits(fixed, y).reshape(m, -1)
        completed = sequence_log_probs(log_probs[:, kept:], mask[:, kept:]).reshape(m, -1)
        judged = jax.vmap(partial(maligan, baseline=self.baseline), 1)(completed, logits).mean()
        # the prefixes of all completions are the same
        prefix, counted = log_probs[: len(x), :kept], mask[: len(x), :kept]
        likelihood = teacher_forcing(prefix, counted)
        metrics = {
            "effective_samples": effective_sample_size(logits).mean(),
            "prefix_nll": likelihood * len(x) / counted.sum(),
        }
        return LossOutput(judged + likelihood, metrics)
