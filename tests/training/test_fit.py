"""`fit` and `load` as a notebook uses them, and what they say to what does not fit."""

import json
import os
import signal
import threading
import time

import jax
import numpy as np
import pytest

from jaxgen import Settings, fit, load
from jaxgen.contracts import LossOutput
from jaxgen.data import ArraySource, DataError, RecordSource, Splits, Zipped
from jaxgen.training import Interrupted, NonFiniteLoss
from jaxgen.training.folder import RunFolder
from tests.training.games import Duel, Exploding

X = np.random.default_rng(0).normal(1.0, 2.0, (200, 2)).astype(np.float32)
SHORT = Settings(steps=12, batch_size=16, log_every=4, eval_every=4, checkpoint_every=4, ema=0.9)


def splits(x=X):
    return Splits(ArraySource({"x": x}), ArraySource({"x": x[:50]}), None)


def timeless(lines):
    """Lines of metrics without times."""
    clock = ("steps_per_second", "examples_per_second", "seconds/", "device_memory")
    return [{k: v for k, v in line.items() if not k.startswith(clock)} for line in lines]


def test_three_lines():
    bound = fit(Exploding(10**6), X, steps=300, progress=False)
    # descends to the mean of the data
    np.testing.assert_allclose(bound.sample(jax.random.key(0), 2), [X.mean(0)] * 2, atol=0.3)


def test_data_on_the_device_and_streamed_see_the_same_batches():
    class Streamed(ArraySource):
        resident = False

    resident = fit(Exploding(10**6), ArraySource({"x": X}), SHORT, progress=False)
    streamed = fit(Exploding(10**6), Streamed({"x": X}), SHORT, progress=False)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), resident.variables, streamed.variables
    )
    assert RecordSource.resident is False


class Disk:
    """The rows of X as records that say who read them; those of one step's batch are damaged."""

    def __init__(self, damaged=None):
        self.readers = set()
        self.damaged = (
            () if damaged is None else ArraySource({"x": X}).indices_at(damaged, SHORT.batch_size, SHORT.seed)
        )

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        self.readers.add(threading.current_thread().name)
        if i in self.damaged:
            raise DataError(f"row {i} is damaged")
        return {"x": X[i]}


def on_disk(**how):
    return RecordSource(Disk(**how), {"x": "x"})


def test_the_check_before_compiling_and_the_first_call_share_a_trace():
    traces = []

    class Counted(Exploding):
        def loss(self, variables, batch, key, clock):
            traces.append(0)
            return super().loss(variables, batch, key, clock)

    fit(Counted(10**6), X, SHORT, progress=False)
    # the loop's body, and the shapes of its metrics before
    assert len(traces) == 2


def test_what_is_read_ahead_trains_as_what_is_read_in_time_and_resumes(tmp_path):
    before = set(threading.enumerate())
    reads, alone = on_disk(), on_disk()
    in_time = fit(Exploding(10**6), alone, Settings(**vars(SHORT) | {"workers": 0}), progress=False).variables
    ahead = fit(Exploding(10**6), reads, SHORT, progress=False).variables
    assert len(alone.records.readers) == 1 < len(reads.records.readers)
    fit(Exploding(10**6), on_disk(), SHORT, steps=8, out=tmp_path, progress=False)
    lines = RunFolder(tmp_path).lines()
    assert 0 < lines[0]["seconds/elapsed"] < lines[-1]["seconds/elapsed"] < 100
    lines[-1]["seconds/elapsed"] = 1000.0
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    resumed = fit(Exploding(10**6), on_disk(), SHORT, out=tmp_path, resume=True, progress=False).variables
    assert 1000 < RunFolder(tmp_path).seconds() < 1100
    for other in (ahead, resumed):
        np.testing.assert_array_equal(in_time["only"]["params"]["w"], other["only"]["params"]["w"])
    for thread in set(threading.enumerate()) - before:
        assert not thread.name.startswith("grain") or not thread.join(1) and not thread.is_alive()


def test_what_cannot_be_read_stops_the_run_with_its_sentence_at_its_step(tmp_path):
    data = on_disk()
    data.records = Disk(damaged=6)  # after the first rows, which initialise, were read
    data.head = lambda n: {"x": X[:n]}
    with pytest.raises(DataError, match=r"^row \d+ is damaged$"):
        fit(Exploding(10**6), data, SHORT, out=tmp_path, progress=False)
    # the checkpoint before it was written, and the run goes on from there once the row is mended
    assert [int(p.name) for p in (tmp_path / "checkpoints").iterdir()] == [4]
    mended = fit(Exploding(10**6), on_disk(), SHORT, out=tmp_path, resume=True, progress=False).variables
    whole = fit(Exploding(10**6), on_disk(), SHORT, progress=False).variables
    np.testing.assert_array_equal(mended["only"]["params"]["w"], whole["only"]["params"]["w"])


def test_zipped_sources():
    class Pair(Exploding):
        def loss(self, variables, batch, key, clock):
            w = variables["only"]["params"]["w"]
            return LossOutput(((w - batch["a"]["x"].mean(0) - batch["b"]["x"].mean(0)) ** 2).mean())

    data = Zipped({"a": ArraySource({"x": X}), "b": ArraySource({"x": X[:64] + 10})})
    bound = fit(Pair(10**6), data, Settings(steps=200, batch_size=32), progress=False)
    w = bound.variables["only"]["params"]["w"]
    np.testing.assert_allclose(w, X.mean(0) + X[:64].mean(0) + 10, atol=1.5)


def test_the_best_variables_are_kept(tmp_path):
    """The loss descends to 1 and then, its target moved far away, grows: the best are those of the turn."""

    class Turning(Exploding):
        def loss(self, variables, batch, key, clock):
            target = jax.numpy.where(clock.step < 8, 0.0, 50.0)
            w = variables["only"]["params"]["w"]
            return LossOutput(((w - target - batch["x"]) ** 2).mean())

    bound = fit(Turning(0), splits(), SHORT, out=tmp_path / "run", progress=False)
    valid = {line["step"]: line["valid/loss"] for line in RunFolder(tmp_path / "run").lines() if "valid/loss" in line}
    assert valid[8] < valid[4] and valid[8] < valid[12]
    last = load(tmp_path / "run", model=Turning(0), which="last")
    assert np.abs(last.variables["only"]["params"]["w"] - bound.variables["only"]["params"]["w"]).max() > 1
    in_memory = fit(Turning(0), splits(), SHORT, progress=False)
    np.testing.assert_array_equal(in_memory.variables["only"]["params"]["w"], bound.variables["only"]["params"]["w"])
    assert (tmp_path / "run" / "samples" / "0000008.png").stat().st_size > 1000


def test_tensorboard_events_are_written(tmp_path):
    settings = Settings(**vars(SHORT) | {"tensorboard": True})
    fit(Exploding(10**6), splits(), settings, out=tmp_path, progress=False)
    (events,) = (tmp_path / "tensorboard").iterdir()
    written = events.read_bytes()
    assert b"descend/loss" in written and b"valid/loss" in written


def test_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(NonFiniteLoss, match=r"loss or gradient of play 'descend'.*step 10.*loss"):
        fit(Exploding(10), splits(), SHORT, out=tmp_path, progress=False)
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == [4, 8]
    w = load(tmp_path, model=Exploding(10), which="last").variables["only"]["params"]["w"]
    assert np.isfinite(w).all() and (w != 0).all()


def test_moves_that_are_not_finite_can_be_skipped(tmp_path, capsys):
    settings = Settings(**vars(SHORT) | {"on_nan": "skip"})
    bound = fit(Exploding(6), splits(), settings, out=tmp_path, progress=False)
    short = fit(Exploding(6), splits(), settings, steps=6, progress=False)
    # nothing moved from step 6 on
    np.testing.assert_array_equal(bound.variables["only"]["params"]["w"], short.variables["only"]["params"]["w"])
    said = capsys.readouterr().err
    assert "skipped" in said and "by step 12" in said
    lines = {line["step"]: line for line in RunFolder(tmp_path).lines() if "steps_per_second" in line}
    assert "descend/loss" in lines[4] and "descend/loss" not in lines[12]


def test_lines_say_where_the_time_goes(tmp_path):
    class Slow(ArraySource):
        resident = False

        def batch_at(self, *where):
            time.sleep(0.03)
            return super().batch_at(*where)

    settings = Settings(**vars(SHORT) | {"workers": 0})
    fit(Exploding(10**6), Splits(Slow({"x": X}), ArraySource({"x": X}), None), settings, out=tmp_path, progress=False)
    first, second, third = (line for line in RunFolder(tmp_path).lines() if "steps_per_second" in line)
    for line in (first, second, third):
        assert 4 * 0.03 <= line["seconds/data"] < 4 and 0 < line["examples_per_second"] < 4 * 16 / (4 * 0.03)
    # the first call compiles; what is saved and evaluated at a step stands in the line after it
    assert first["seconds/first_call"] > 0 and "seconds/first_call" not in second
    assert "seconds/checkpoints" not in first and second["seconds/checkpoints"] > 0 < third["seconds/evaluation"]


def test_a_profile_is_a_trace_of_some_steps(tmp_path):
    settings = Settings(**vars(SHORT) | {"profile": 3})
    fit(Exploding(10**6), splits(), settings, out=tmp_path, progress=False)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    with pytest.raises(ValueError, match="profile=3"):
        fit(Exploding(10**6), splits(), settings, progress=False)


@pytest.mark.slow
def test_a_broken_checkpoint_is_passed_over(tmp_path):
    fit(Duel(), splits(), SHORT, out=tmp_path, progress=False)
    whole = [line for line in RunFolder(tmp_path).lines()]
    for file in (tmp_path / "checkpoints" / "12").rglob("*"):
        if file.is_file() and "ocdbt" in str(file):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.warns(UserWarning, match=r"checkpoints/12 cannot be read .* went back to step 8"):
        fit(Duel(), splits(), SHORT, out=tmp_path, resume=True, progress=False)
    assert timeless(RunFolder(tmp_path).lines()) == timeless(whole)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_before_leaving(signum, tmp_path):
    settings = Settings(steps=10**6, batch_size=16, eval_every=10**6, checkpoint_every=10**6)
    out = tmp_path / "run"

    def send():
        while not (out / "model.json").exists():
            time.sleep(0.05)
        time.sleep(1.0)
        os.kill(os.getpid(), signum)

    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    threading.Thread(target=send, daemon=True).start()
    with pytest.raises(Interrupted, match="--resume") as stopped:
        fit(Duel(), splits(), settings, out=out, progress=False)
    assert stopped.value.signum == signum
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    (step,) = (int(p.name) for p in (out / "checkpoints").iterdir())
    assert step > 0
    resumed = fit(Duel(), splits(), settings, out=out, resume=True, steps=step + 2, progress=False)
    assert json.loads((out / "config.json").read_text())["steps"] == step + 2 and resumed is not None


def test_figures_of_ones_own_are_monitored_and_the_variables_themselves_are_evaluated_too(tmp_path):
    def furthest(variables, batch, key):
        return {"height": variables["only"]["params"]["w"].sum()}

    class Climber(Exploding):
        monitor = ("height", "min")

    settings = Settings(**vars(SHORT) | {"eval_raw": True})
    bound = fit(Climber(10**6), splits(), settings, metrics=furthest, out=tmp_path, progress=False)
    lines = [line for line in RunFolder(tmp_path).lines() if "valid/height" in line]
    assert [line["step"] for line in lines] == [4, 8, 12]
    averages, raw = ([line[f"{kind}/height"] for line in lines] for kind in ("valid", "raw"))
    # w descends to the data's means, 1 each, from 0: averages follow the variables, and the lowest are the first
    assert averages[0] < averages[1] < averages[2] and all(a < r for a, r in zip(averages, raw, strict=True))
    assert float(bound.variables["only"]["params"]["w"].sum()) == pytest.approx(averages[0], rel=1e-5)
    assert all({"valid/loss", "raw/loss"} <= set(line) for line in lines)


def test_a_folder_is_never_overwritten_in_part(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    fit(Exploding(10**6), splits(), SHORT, out=run, progress=False)
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
    with pytest.raises(FileExistsError, match="--resume.*--overwrite"):
        fit(Exploding(10**6), splits(), SHORT, out=run, progress=False)
    with pytest.raises(ValueError, match=r"batch_size=16, got 8; seed=0, got 1$"):
        fit(Exploding(10**6), splits(), Settings(**vars(SHORT) | {"batch_size": 8, "seed": 1}), out=run, resume=True)
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()} == before
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    for way in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(FileExistsError, match="other files"):
            fit(Exploding(10**6), splits(), SHORT, out=other, progress=False, **way)
    assert (other / "thesis.tex").read_text() == "years of work"
    fit(Exploding(10**6), splits(), Settings(**vars(SHORT) | {"seed": 1}), out=run, overwrite=True, progress=False)
    assert json.loads((run / "config.json").read_text())["seed"] == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (dict(data=X, steps=0), "`steps` must be at least 1"),
        (dict(data=X, settings=Settings(ema=1.0)), "`ema` must be at least 0 and below 1"),
        (dict(data=X, settings=Settings(devices=99)), "`devices` must be at most .* got 99"),
        (dict(data=X, settings=Settings(accumulate=0)), "`accumulate` must be at least 1"),
        (dict(data=X, settings=Settings(batch_size=16, accumulate=3)), "devices times accumulate=3, got 16"),
        (dict(data=X[:5], steps=5), "`batch_size` must be at most the 5 examples of .*, got 128"),
        (dict(data=np.full((200, 2), np.nan, np.float32), steps=5), "x"),
        (dict(data={"y": X}, steps=5), "x"),
        (dict(data=np.array([["a", "b"]] * 200), steps=5), "x"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_does_not_fit_is_said_in_a_sentence(given, said):
    with pytest.raises(ValueError, match=said):
        fit(Exploding(1), given.pop("data"), progress=False, **given)


def test_loading_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a run's, got .* has no model.json"):
        load(tmp_path)
    fit(Exploding(10**6), splits(), SHORT, out=tmp_path, progress=False)
    with pytest.raises(ValueError, match="`model` must be the run's, got None"):
        load(tmp_path)
