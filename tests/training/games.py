"""Small games that have what the train step must carry: noise, batch statistics, a play that rests, learned state."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.contracts import Every, LossOutput, Play


class Net(nn.Module):
    """A dense network with batch normalisation; normalises by the batch where `batch_stats` is mutable."""

    features: int

    @nn.compact
    def __call__(self, x):
        h = nn.Dense(8, use_bias=False)(x)
        h = nn.BatchNorm(use_running_average=not self.is_mutable_collection("batch_stats"), momentum=0.9)(h)
        return nn.Dense(self.features)(nn.tanh(h))


@dataclass(frozen=True)
class Duel:
    """Two players: a critic each step, a generator with batch statistics every third, an equilibrium variable."""

    net: Net = Net(2)
    critic: nn.Module = nn.Sequential([nn.Dense(8), nn.tanh, nn.Dense(1)])
    optimizer: str = "adam"
    noise: float = 1.0

    monitor = ("distance", "min")

    def init(self, key, batch):
        a, b = jax.random.split(key)
        x = jnp.asarray(batch["x"], jnp.float32)
        return {
            "critic": {**self.critic.init(a, x), "equilibrium": {"k": jnp.float32(0)}},
            "generator": self.net.init(b, x),
        }

    def _fake(self, variables, key, like):
        z = self.noise * jax.random.normal(key, like.shape) + 0.5 * like[::-1]
        return self.net.apply(variables["generator"], z, mutable=["batch_stats"])

    def _critic(self, variables, x):
        return self.critic.apply({"params": variables["critic"]["params"]}, x)[:, 0]

    def critic_loss(self, variables, batch, key, clock):
        fake, _ = self._fake(variables, key, batch["x"])
        real, fake = self._critic(variables, batch["x"]), self._critic(variables, fake)
        k = variables["critic"]["equilibrium"]["k"]
        loss = (fake - real).mean() + (real**2 + fake**2).mean() + 0.1 * k * real.mean()
        new = jax.lax.stop_gradient(jnp.clip(k + 0.01 * (real - fake).mean(), -1, 1))
        return LossOutput(loss, {"k": new}, memory={"critic": {"equilibrium": {"k": new}}})

    def generator_loss(self, variables, batch, key, clock):
        fake, changed = self._fake(variables, key, batch["x"])
        return LossOutput(-self._critic(variables, fake).mean() + (fake**2).mean(), {}, {"generator": changed})

    def plays(self):
        make = {"adam": optax.adam, "sgd": optax.sgd}[self.optimizer]
        return {
            "critic": Play(("critic",), self.critic_loss, make(1e-2)),
            "generator": Play(("generator",), self.generator_loss, make(1e-2), Every(3)),
        }

    def sample(self, variables, key, n, context=None):
        return self.net.apply(variables["generator"], jax.random.normal(key, (n, 2)))

    def evaluate(self, variables, batch, key):
        fake = self.sample(variables, key, 64)
        return {"distance": jnp.abs(fake.mean(0) - batch["x"].mean(0)).sum()}


@dataclass(frozen=True)
class Exploding:
    """A loss that is not a number from a step on."""

    at: int

    monitor = ("loss", "min")

    def init(self, key, batch):
        return {"only": {"params": {"w": jnp.zeros(2)}}}

    def loss(self, variables, batch, key, clock):
        w = variables["only"]["params"]["w"]
        return LossOutput(((w - batch["x"]) ** 2).mean() + jnp.where(clock.step >= self.at, jnp.nan, 0.0))

    def plays(self):
        return {"descend": Play(("only",), self.loss, optax.sgd(0.1))}

    def sample(self, variables, key, n, context=None):
        return jnp.broadcast_to(variables["only"]["params"]["w"], (n, 2))

    def evaluate(self, variables, batch, key):
        return {"loss": ((variables["only"]["params"]["w"] - batch["x"]) ** 2).mean()}
