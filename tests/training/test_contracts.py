"""Toys of the kinds of systems that the contracts are made for: pools, phases, growth, policies with a lagging copy.

`python -m tests.training.test_contracts FOLDER KILL_AT` trains the three phases and dies by SIGKILL at a step.
"""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.contracts import LossOutput, Model, Phase, Play, model_phases
from jaxgen.data import ArraySource, Zipped
from jaxgen.training import Settings, fit, init_state, make_train_step
from tests.training.games import Duel
from tests.training.runs import Deadly

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
DOMAINS = {"a": RNG.normal(-2, 0.5, (48, 1)).astype(np.float32), "b": RNG.normal(3, 0.5, (32, 1)).astype(np.float32)}


def domains():
    return Zipped({name: ArraySource({"x": x}) for name, x in DOMAINS.items()})


@dataclass(frozen=True)
class Translation:
    """A generator G(x) = x + s between two domains, and a critic that is shown a pool of earlier translations."""

    pool: int = 8
    monitor = ("distance", "min")

    def init(self, key, batch):
        critic = {"params": {"w": jnp.zeros(2)}, "pool": {"x": jnp.full((self.pool, 1), 7.0)}}
        return {"generator": {"params": {"s": jnp.zeros(())}}, "critic": critic}

    def _critic(self, variables, x):
        w = variables["critic"]["params"]["w"]
        return w[0] * x + w[1] * x**2

    def critic_loss(self, variables, batch, key, clock):
        fake = batch["a"]["x"] + variables["generator"]["params"]["s"]
        pool = variables["critic"]["pool"]["x"]
        new = jnp.concatenate([fake, pool])[: self.pool]
        on_real, on_fake = self._critic(variables, batch["b"]["x"]), self._critic(variables, pool)
        value = jax.nn.softplus(-on_real).mean() + jax.nn.softplus(on_fake).mean()
        return LossOutput(value, {}, memory={"critic": {"pool": {"x": jax.lax.stop_gradient(new)}}})

    def generator_loss(self, variables, batch, key, clock):
        fake = batch["a"]["x"] + variables["generator"]["params"]["s"]
        return LossOutput(jax.nn.softplus(-self._critic(variables, fake)).mean())

    def plays(self):
        return {
            "critic": Play(("critic",), self.critic_loss, optax.sgd(0.05)),
            "generator": Play(("generator",), self.generator_loss, optax.sgd(0.05)),
        }

    def translate(self, variables, x):
        return x + variables["generator"]["params"]["s"]

    def evaluate(self, variables, batch, key):
        return {"distance": jnp.abs(self.translate(variables, batch["a"]["x"]).mean() - batch["b"]["x"].mean())}


def test_a_pool_is_memory_that_averages_leave_as_it_is():
    model, batch = Translation(), {"a": {"x": DOMAINS["a"][:4]}, "b": {"x": DOMAINS["b"][:8]}}
    state = init_state(model, model.plays(), jax.random.key(0), batch)
    step = jax.jit(make_train_step(model.plays(), ema=0.9))
    for _ in range(2):
        before = float(state.params["generator"]["s"])
        state, _ = step(state, batch)
    pool = state.collections["critic"]["pool"]["x"]
    np.testing.assert_allclose(pool[:4], batch["a"]["x"] + before, rtol=1e-6)
    np.testing.assert_allclose(pool[4:], batch["a"]["x"], rtol=1e-6)  # before the first move the shift was zero
    chex.assert_trees_all_equal(state.average["critic"]["pool"], state.collections["critic"]["pool"])
    assert float(state.average["generator"]["params"]["s"]) != float(state.params["generator"]["s"])


def test_two_domains_of_batch_sizes_of_their_own_train_in_the_one_loop():
    settings = Settings(steps=200, batch_size=8, batch_sizes={"b": 4}, ema=0.0, log_every=50)
    trained = fit(Translation(), {name: {"x": x} for name, x in DOMAINS.items()}, settings, progress=False)
    assert trained.variables["critic"]["pool"]["x"].shape == (8, 1)
    start = abs(DOMAINS["a"].mean() - DOMAINS["b"].mean())
    assert abs(float(trained.translate(DOMAINS["a"]).mean()) - DOMAINS["b"].mean()) < 0.5 * start
    with pytest.raises(ValueError, match=r"`batch_sizes` must name parts of the data, \['a', 'b'\], got \['c'\]"):
        fit(Translation(), domains(), Settings(steps=1, batch_sizes={"c": 4}), progress=False)


def test_memory_is_refused_where_devices_would_differ():
    settings = Settings(steps=1, batch_size=8, parallel="pmap")
    with pytest.raises(ValueError, match="'critic' keeps memory, which would differ between devices"):
        fit(Translation(), domains(), settings, progress=False)


@dataclass(frozen=True)
class Growing:
    """Scales w_0, w_1, w_2 of a mean, each learned in a phase of its own, and started from the one below."""

    monitor = ("error", "min")

    def init(self, key, batch):
        return {f"scale{i}": {"params": {"w": jax.random.normal(jax.random.fold_in(key, i), (2,))}} for i in range(3)}

    def loss(self, scale):
        def loss(variables, batch, key, clock):
            noise = 0.1 * jax.random.normal(key, batch["x"].shape)
            error = batch["x"] + noise - variables[f"scale{scale}"]["params"]["w"]
            counters = {"step": clock.step, "phase_step": clock.phase_step, "moves": clock.moves}
            return LossOutput((error**2).mean(), {name: jnp.float32(n) for name, n in counters.items()})

        return loss

    def play(self, scale):
        return Play((f"scale{scale}",), self.loss(scale), optax.adam(0.1))

    def plays(self):
        return {"shared": self.play(0)}

    def enter(self, scale):
        def enter(variables, batch, key):
            below = variables[f"scale{scale - 1}"]["params"]["w"]
            jitter = 0.01 * jax.random.normal(key, below.shape)
            return {**variables, f"scale{scale}": {"params": {"w": below + batch["x"].mean(0) + jitter}}}

        return enter

    def phases(self, steps):
        both = {"shared": self.play(0), "scale1": self.play(1)}
        return (
            Phase(self.plays(), steps - 16),
            Phase(both, 8, enter=self.enter(1), fresh_optimizers=False, batch_size=4),
            Phase({"shared": self.play(0), "scale2": self.play(2)}, 8, enter=self.enter(2)),
        )

    def evaluate(self, variables, batch, key):
        return {"error": jnp.abs(variables["scale2"]["params"]["w"] - batch["x"].mean(0)).sum()}


GROWING = Settings(steps=24, batch_size=8, log_every=1, checkpoint_every=5, eval_every=8, steps_per_call=3, ema=0.5)


def grow(folder, *, kill_at=None, resume=False):
    source = Deadly({"x": np.random.default_rng(1).normal(2.0, 1.0, (40, 2)).astype(np.float32)})
    source.kill_at = kill_at
    return fit(Growing(), source, GROWING, out=folder, resume=resume, progress=False)


def step_lines(folder):
    from jaxgen.training.folder import RunFolder

    clock = ("steps_per_second", "examples_per_second", "seconds/", "device_memory")
    return [{k: v for k, v in line.items() if not k.startswith(clock)} for line in RunFolder(folder).lines()]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grown")
    return grow(folder), step_lines(folder)


def test_clocks_count_the_run_the_phase_and_the_plays_own_moves(grown):
    lines = grown[1]
    counted = {name: [line.get(f"shared/{name}") for line in lines] for name in ("step", "phase_step", "moves")}
    assert counted["step"] == list(range(24))
    assert counted["phase_step"] == [i % 8 for i in range(24)]
    # carried into the second phase, fresh in the third
    assert counted["moves"] == [*range(16), *range(8)]
    assert [line["scale1/moves"] for line in lines[8:16]] == list(range(8))


@pytest.mark.slow
def test_a_phase_may_begin_from_what_the_one_before_learned():
    model = Growing()
    x = np.random.default_rng(2).normal(size=(8, 2)).astype(np.float32)
    first = fit(model, x, Settings(batch_size=8, ema=0.0), phases=model.phases(24)[:1], progress=False).variables
    entering = model.phases(24)[1]._replace(steps=1, batch_size=8)
    phases = (model.phases(24)[0], entering._replace(plays={"shared": model.play(0)}))
    entered = fit(model, x, Settings(batch_size=8, ema=0.0), phases=phases, progress=False).variables
    below, above = first["scale0"]["params"]["w"], entered["scale1"]["params"]["w"]
    assert 0 < float(jnp.abs(above - below - x.mean(0)).max()) < 0.1  # the jitter of the phase's key
    # the averages follow: each scale's own average enters, not the raw variables
    averaged = fit(model, x, Settings(batch_size=8, ema=0.9), phases=phases, progress=False).variables
    assert float(jnp.abs(averaged["scale1"]["params"]["w"] - above).max()) > 1e-3


@pytest.mark.parametrize("kill_at", [8, 18])
def test_phases_that_are_killed_resume_bit_for_bit(kill_at, grown, tmp_path):
    """At the boundary, where the state was saved before `enter`, and within the last phase."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.training.test_contracts", str(tmp_path), str(kill_at)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
    resumed = grow(tmp_path, resume=True)
    chex.assert_trees_all_equal(resumed.variables, grown[0].variables)
    assert step_lines(tmp_path) == grown[1]


def test_entering_keeps_the_structure():
    broken = Phase(Growing().plays(), 1, enter=lambda variables, batch, key: {"scale0": variables["scale0"]})
    x = np.zeros((8, 2), np.float32)
    with pytest.raises(ValueError, match="`Phase.enter` must keep the structure"):
        fit(Growing(), x, Settings(batch_size=4), phases=(Phase(Growing().plays(), 1), broken), progress=False)


def test_optimizers_that_go_on_are_the_same():
    other = {"shared": Growing().play(0)._replace(optimizer=optax.sgd(0.1))}
    phases = (Phase(Growing().plays(), 1), Phase(other, 1, fresh_optimizers=False))
    with pytest.raises(ValueError, match="`fresh_optimizers` must be True: play 'shared' has another optimizer"):
        fit(Growing(), np.zeros((8, 2), np.float32), Settings(batch_size=4), phases=phases, progress=False)


def test_a_phase_is_judged_by_its_own_monitor(tmp_path):
    x = np.random.default_rng(3).normal(size=(16, 2)).astype(np.float32)
    model = Growing()

    def spread(variables, batch, key):
        return {"norm": jnp.abs(variables["scale0"]["params"]["w"]).sum()}

    phases = (Phase(model.plays(), 4, monitor=("norm", "max")), Phase(model.plays(), 4, monitor=("norm", "max")))
    from jaxgen.data import Splits

    source = ArraySource({"x": x})
    settings = Settings(batch_size=8, eval_every=2, checkpoint_every=8)
    fit(model, Splits(source, source, None), settings, phases=phases, metrics=spread, out=tmp_path, progress=False)
    best = max((tmp_path / "best").iterdir(), key=lambda path: path.name)
    lines = {line["step"]: line["valid/norm"] for line in step_lines(tmp_path) if "valid/norm" in line}
    assert int(best.name) == max(lines, key=lines.get)
    # another metric begins anew, however good the one before it was
    phases = (phases[0], Phase(model.plays(), 4))
    fit(
        model,
        Splits(source, source, None),
        settings,
        phases=phases,
        metrics=spread,
        out=tmp_path,
        overwrite=True,
        progress=False,
    )
    assert all(int(path.name) > 4 for path in (tmp_path / "best").iterdir())


@dataclass(frozen=True)
class Policy:
    """A policy over five actions by its policy gradient, sampled from a copy that lags: memory of its player."""

    lag: float = 0.8
    monitor = ("reward", "max")
    rewards = (0.0, 0.1, 1.0, 0.2, 0.0)

    def init(self, key, batch):
        return {"policy": {"params": {"logits": jnp.zeros(5)}, "lagging": {"logits": jnp.full(5, -1.0)}}}

    def loss(self, variables, batch, key, clock):
        logits, lagging = variables["policy"]["params"]["logits"], variables["policy"]["lagging"]["logits"]
        actions = jax.random.categorical(key, lagging, shape=(len(batch["x"]),))
        rewards = jnp.asarray(self.rewards)[actions]
        log_prob = jax.nn.log_softmax(logits)[actions]
        behind = self.lag * lagging + (1 - self.lag) * logits
        memory = {"policy": {"lagging": {"logits": jax.lax.stop_gradient(behind)}}}
        return LossOutput(-((rewards - rewards.mean()) * log_prob).mean(), {"reward": rewards.mean()}, memory=memory)

    def plays(self):
        return {"policy": Play(("policy",), self.loss, optax.sgd(1.0))}

    def evaluate(self, variables, batch, key):
        return {"reward": jax.nn.softmax(variables["policy"]["params"]["logits"]) @ jnp.asarray(self.rewards)}


def test_a_lagging_policy_is_memory_and_follows_by_its_own_rule():
    model, batch = Policy(), {"x": np.zeros((64, 1), np.float32)}
    state = init_state(model, model.plays(), jax.random.key(0), batch)
    step, lagging = jax.jit(make_train_step(model.plays(), ema=0.99)), np.full(5, -1.0)
    for _ in range(40):
        lagging = 0.8 * lagging + 0.2 * np.asarray(state.params["policy"]["logits"])
        state, metrics = step(state, batch)
        np.testing.assert_allclose(state.collections["policy"]["lagging"]["logits"], lagging, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(
        state.average["policy"]["lagging"]["logits"], state.collections["policy"]["lagging"]["logits"]
    )
    assert int(np.argmax(state.params["policy"]["logits"])) == 2 and float(metrics["policy"]["reward"]) > 0.4


@pytest.mark.parametrize("model", [Translation(), Growing(), Policy(), Duel()])
def test_toys_are_models(model):
    assert isinstance(model, Model)


def test_models_without_phases_have_one_and_phases_add_up():
    assert [(phase.steps, set(phase.plays)) for phase in model_phases(Policy(), 7)] == [(7, {"policy"})]

    class Wrong(Policy):
        def phases(self, steps):
            return (Phase(self.plays(), steps + 1),)

    with pytest.raises(ValueError, match="`Wrong.phases` must add up to steps=7, got 8"):
        model_phases(Wrong(), 7)


def test_a_run_begins_from_given_variables_and_with_given_optimizers():
    x = np.random.default_rng(4).normal(size=(16, 2)).astype(np.float32)
    given = {"scale1": {"params": {"w": np.float32([5.0, 6.0])}}}
    settings = Settings(batch_size=8, ema=0.0)
    still = {"shared": optax.sgd(0.0)}
    phases = (Phase(Growing().plays(), 2),)
    trained = fit(Growing(), x, settings, phases=phases, optimizers=still, start=given, progress=False).variables
    fresh = Growing().init(jax.random.split(jax.random.key(0))[0], {"x": x})
    np.testing.assert_array_equal(trained["scale1"]["params"]["w"], [5.0, 6.0])
    np.testing.assert_array_equal(trained["scale0"]["params"]["w"], fresh["scale0"]["params"]["w"])
    with pytest.raises(ValueError, match="`start` must have players among"):
        fit(Growing(), x, settings, phases=phases, start={"nobody": {}}, progress=False)
    with pytest.raises(ValueError, match="`start` must have the structure, shapes and dtypes of the model's player"):
        fit(Growing(), x, settings, phases=phases, start={"scale1": {"params": {"w": np.zeros(3)}}}, progress=False)
    with pytest.raises(ValueError, match=r"`optimizers` must be keyed by the plays \['shared'\], got \['critic'\]"):
        fit(Growing(), x, settings, phases=phases, optimizers={"critic": optax.sgd(0.1)}, progress=False)


@pytest.mark.parametrize("ignored", [{"steps": 3}, {"plays": Growing().plays()}])
def test_arguments_that_phases_would_override_are_refused(ignored):
    with pytest.raises(ValueError, match="`steps` and `plays` must be None if"):
        fit(Growing(), np.zeros((8, 2), np.float32), phases=(Phase(Growing().plays(), 1),), **ignored)


def test_host_metrics_are_reported_at_each_evaluation_and_may_be_monitored(tmp_path):
    from jaxgen.data import Splits

    class Monitored(Growing):
        monitor = ("host", "max")

    seen = []

    def host_metrics(trained):
        seen.append(np.asarray(trained.variables["scale0"]["params"]["w"]))
        return {"host": len(seen) % 3}

    source = ArraySource({"x": np.zeros((16, 2), np.float32)})
    settings = Settings(batch_size=8, eval_every=2, log_every=2, checkpoint_every=8)
    phases = (Phase(Growing().plays(), 8),)
    fit(
        Monitored(),
        Splits(source, source, None),
        settings,
        phases=phases,
        host_metrics=host_metrics,
        out=tmp_path,
        progress=False,
    )
    assert [line["valid/host"] for line in step_lines(tmp_path) if "valid/host" in line] == [1, 2, 0, 1]
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["4"]
    assert len(np.unique(np.stack(seen)[:, 0])) == 4


if __name__ == "__main__":
    grow(Path(sys.argv[1]), kill_at=int(sys.argv[2]))
    sys.exit("it was not killed")
