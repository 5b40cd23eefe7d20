"""The VQGAN (Esser et al. 2021, "Taming Transformers for High-Resolution Image Synthesis").

An autoencoder with a codebook (`quantized_autoencoder`, with L_rec and L_VQ) against a critic D of patches:

    autoencoder:  L_rec + L_VQ + lambda w L_G(x')        critic:  L_D(x, x')
    lambda = |dL_rec / dk| / (|dL_G / dk| + epsilon),    k the kernel of the decoder's last layer

lambda is a constant for the gradient: with w = 1, L_G moves the last layer as far as L_rec does. The gradients of L_rec
and L_G in the reconstructions x' give lambda, and their weighted sum is passed back through decoder and encoder once.

`TAMING` is what the authors' code does differently: hinge losses, another epsilon, and adversarial terms that begin
late. Its critic is untrained when L_G enters; here the critic trains from the first step (`critic_start`).
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
from jaxgen.contracts import Array, Batch, Clock, Every, Key, LossOutput, Play, Variables
from jaxgen.losses.adaptive_weight import adaptive_weight
from jaxgen.models.forward import forward
from jaxgen.models.gans.adversarial_losses import AdversarialLoss, Hinge, NonSaturating
from jaxgen.models.hybrids.quantized_autoencoder import QuantizedAutoencoder
from jaxgen.nets.patch_critic import PatchCritic

TAMING = {
    "adversarial_loss": Hinge(), "critic_weight": 0.5, "adversarial_weight": 0.8, "epsilon": 1e-4,
    "adversarial_start": 10_000, "critic_start": 10_000,
}  # fmt: skip
"""The fields of the authors' code, with its configuration for new data: `dataclasses.replace(model, **TAMING)`."""


@dataclasses.dataclass(frozen=True)
class VQGAN(QuantizedAutoencoder):
    """Player `critic` beside those of the `QuantizedAutoencoder`, and its play, before the autoencoder's in each step.

    Attributes:
        critic: any network from images to scores [B, ...], with its last layer.
        adversarial_loss: L_D and L_G, functions of the scores.
        critic_weight: of L_D.
        adversarial_weight, adversarial_start: w, and the step of the phase from which it counts; before, it is 0.
        critic_start: the step from which the critic trains.
        epsilon, greatest: of lambda, and its bound.

    Raises:
        ValueError: as `QuantizedAutoencoder`; a number out of range.
    """

    _: dataclasses.KW_ONLY
    critic: nn.Module = PatchCritic()
    adversarial_loss: AdversarialLoss = NonSaturating()
    critic_weight: float = 1.0
    adversarial_weight: float = 1.0
    adversarial_start: int = 0
    critic_start: int = 0
    epsilon: float = 1e-6
    greatest: float = 1e4

    def __post_init__(self):
        super().__post_init__()
        check_counts(0, adversarial_start=self.adversarial_start, critic_start=self.critic_start)
        for name in ("critic_weight", "adversarial_weight", "epsilon", "greatest"):
            check_number(name, getattr(self, name), 0)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: as `QuantizedAutoencoder.init`.
        """
        key, critic_key = jax.random.split(key)
        return {**super().init(key, batch), "critic": self.critic.init(critic_key, self.scaled(batch["x"]))}

    def plays(self) -> Mapping[str, Play]:
        # where the critic plays first, XLA computes the reconstructions of a step once, for both
        when = Every(start=self.critic_start) if self.critic_start else None
        critic = Play(("critic",), self.critic_loss, optax.adam(4.5e-6 * 12, b1=0.5, b2=0.9), when)
        return {"critic": critic, **super().plays()}

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """L_D; metrics: the mean scores `real` and `fake`."""
        model_key, real_key, fake_key = jax.random.split(key, 3)
        critic, seen = variables["critic"], self.scaled(batch["x"])
        fake = lax.stop_gradient(self.autoencode(variables, seen, model_key)[2])
        on_real, statistics = forward(self.critic, critic, seen, key=real_key)
        on_fake, statistics = forward(self.critic, {**critic, **statistics}, fake, key=fake_key)
        value = self.critic_weight * self.adversarial_loss.critic(on_real, on_fake)
        return LossOutput(value, {"real": on_real.mean(), "fake": on_fake.mean()}, {"critic": statistics})

    def further_terms(
        self, variables: Variables, x: Array, h: Array, gradient: Array, key: Key, clock: Clock
    ) -> tuple[Array, Array, dict[str, Array]]:
        """w lambda L_G; metrics: `adversarial`, which is L_G, and `adaptive_weight`, lambda. All are 0 before
        `adversarial_start`.
        """

        def adversarial(x: Array) -> Array:
            return self.adversarial_loss.generator(forward(self.critic, variables["critic"], x, key=key)[0])

        def balanced(x: Array) -> tuple[Array, Array, Array]:
            value, of_value = jax.value_and_grad(adversarial)(x)
            kernels = [self._kernel_gradients(variables, h, g) for g in (gradient, of_value)]
            weight = adaptive_weight(*kernels, self.epsilon, self.greatest)
            return value, weight, self.adversarial_weight * weight * of_value

        def absent(x: Array) -> tuple[Array, Array, Array]:
            return jnp.zeros(()), jnp.zeros(()), jnp.zeros_like(x)

        if self.adversarial_start:
            started = jnp.asarray(clock.phase_step) >= self.adversarial_start
            value, weight, of_value = lax.cond(started, balanced, absent, x)
        else:
            value, weight, of_value = balanced(x)
        metrics = {"adversarial": value, "adaptive_weight": weight}
        return self.adversarial_weight * weight * value, of_value, metrics

    def _kernel_gradients(self, variables: Variables, h: Array, gradient: Array) -> list[Array]:
        """The gradient in the last layer's kernel, not in its bias, from that in its output."""
        head, params = self._decoder.head, lax.stop_gradient(variables["decoder"]["params"]["head"])
        _, of_params = jax.vjp(lambda params: head.apply({"params": params}, h)[..., 0], params)
        leaves = jax.tree_util.tree_leaves_with_path(of_params(gradient)[0])
        return [leaf for path, leaf in leaves if path[-1].key == "kernel"]
