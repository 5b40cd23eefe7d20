"""What happens to runs: they are killed, disks fill up, folders cannot be written, files rot. Each is really done
here."""

import gc
import json
import multiprocessing
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import chex
import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.run import main
from experiments.flows import real_nvp
from jaxgen import Settings, fit, load, plotting
from jaxgen.contracts import LossOutput, Play
from jaxgen.data import ArraySource, Splits
from jaxgen.training import Interrupted, NonFiniteLoss, Phase
from jaxgen.training.checkpoints import DIGESTS, Checkpoints, restore, steps, write_digests
from jaxgen.training.folder import RunFolder
from jaxgen.training.recorder import checkpoint_trees
from jaxgen.training.run import Run
from tests.training.games import Duel, Exploding
from tests.training.runs import Deadly, game

ROOT = Path(__file__).parents[2]
X = np.random.default_rng(0).normal(1.0, 2.0, (200, 2)).astype(np.float32)
SHORT = Settings(steps=12, batch_size=16, log_every=4, eval_every=4, checkpoint_every=4, ema=0.9)
LONG = replace(SHORT, steps=600, log_every=7, eval_every=150, checkpoint_every=5, steps_per_call=5)
CLOCK = ("steps_per_second", "examples_per_second", "seconds/", "device_memory")
PROCESSES = multiprocessing.get_context("forkserver")  # what they import is imported once
PROCESSES.set_forkserver_preload(["tests.training.test_faults"])
FULL, READ_ONLY = "No space left on device", "Read-only file system"


def splits(source=ArraySource):
    return Splits(source({"x": X}), ArraySource({"x": X[:50]}), None)


def state(folder, settings, model, data):
    """Everything the last checkpoint holds, as arrays."""
    phases = (Phase(model.plays(), settings.steps, data.train),)
    run = Run(model, phases, data.valid, (settings,), (None,))
    step, trees, progress = restore(folder / "checkpoints", lambda step: checkpoint_trees(run.abstract[0]))
    return (
        step,
        jax.tree.map(lambda a: jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a, trees),
        progress,
    )


def lines(folder):
    """Lines of metrics.jsonl, without times."""
    return [{k: v for k, v in line.items() if not k.startswith(CLOCK)} for line in RunFolder(folder).lines()]


def assert_same_run(one, two, settings, model, data):
    (step, trees, progress), (other_step, other_trees, other_progress) = (
        state(folder, settings, model, data) for folder in (one, two)
    )
    assert step == other_step == settings.steps and progress == other_progress
    chex.assert_trees_all_equal(trees, other_trees)
    assert lines(one) == lines(two)
    chex.assert_trees_all_equal(*(load(folder, model=model).variables for folder in (one, two)))


# --- killed


def go_on(folder, removals):
    """Goes on with a run, in a process of its own, which dies when so many files were removed, if not before."""
    if removals is not None:
        unlink, left = os.unlink, [removals]

        def counted(*args, **keywords):
            if keywords.get("dir_fd") is not None:  # of a folder that is removed as a whole
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return unlink(*args, **keywords)

        os.unlink = counted
    model, data, _ = game("gan")
    fit(model, data, LONG, out=folder, resume=True, progress=False)


def half_written(folder):
    return next((folder / "checkpoints").glob("*-tmp*"), None) is not None


def last(folder):
    return max((int(p.name) for p in (folder / "checkpoints").glob("*") if p.name.isdigit()), default=0)


def half_removed(folder):
    """Checkpoints that are named but lack files."""
    found = []
    for checkpoint in (folder / "checkpoints").glob("*"):
        if checkpoint.name.isdigit():
            digests = checkpoint / DIGESTS
            names = json.loads(digests.read_text()) if digests.exists() else ["gone"]
            found += [checkpoint.name] * (not all((checkpoint / name).exists() for name in names))
    return found


@pytest.mark.slow
def test_killed_twenty_times(tmp_path):
    """At random moments, when a checkpoint is half written, and when an old one is half removed."""
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    rng = random.Random(0)
    ways = ["anywhere"] * 8 + ["writing"] * 7 + ["removing"] * 5
    rng.shuffle(ways)
    kills, seen = 0, {"half written": 0, "half removed": 0}
    for way in ways:
        removals = rng.randrange(60) if way == "removing" else None
        process = PROCESSES.Process(target=go_on, args=(killed, removals))
        process.start()
        began, before = time.monotonic(), last(killed)
        enough, more = rng.uniform(0.0, 2.5) if way == "anywhere" else 120, 5 * rng.randrange(4)
        # no further than to the fifth checkpoint, so that twenty times are not too often for the run
        while process.is_alive() and time.monotonic() - began < enough and last(killed) <= before + 25:
            if way == "writing" and last(killed) >= before + more and half_written(killed):
                time.sleep(rng.choice((0.0, 0.005, 0.02)))
                break
            time.sleep(0.0005)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, f"it ended by itself after {kills} kills"
        kills += 1
        seen["half written"] += half_written(killed)
        seen["half removed"] += bool(half_removed(killed))
    assert kills == 20 and seen["half written"] >= 5 and seen["half removed"] >= 1, seen
    assert 0 < last(killed) < LONG.steps
    for folder in (killed, undisturbed):
        process = PROCESSES.Process(target=go_on, args=(folder, None))
        process.start()
        process.join()
        assert process.exitcode == 0
    model, data, _ = game("gan")
    assert_same_run(killed, undisturbed, LONG, model, data)


@pytest.mark.slow
@pytest.mark.parametrize("left", [[], [".config.json.new"], ["config.json"], ["config.json", "samples", "model.json"]])
def test_killed_before_the_first_checkpoint(left, tmp_path):
    fit(Exploding(10**6), splits(), SHORT, out=tmp_path / "whole", progress=False)
    cut = tmp_path / "cut"
    cut.mkdir()
    for name in left:
        there = tmp_path / "whole" / name.removeprefix(".").removesuffix(".new")
        shutil.copytree(there, cut / name) if there.is_dir() else (cut / name).write_bytes(there.read_bytes())
    fit(Exploding(10**6), splits(), SHORT, out=cut, resume=True, progress=False)
    assert lines(cut) == lines(tmp_path / "whole")


def overwrite(folder):
    """Dies when everything is removed that goes before the new config is written."""
    RunFolder._write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    RunFolder(folder).open({}, overwrite=True)


@pytest.mark.slow
def test_killed_while_it_is_overwritten(tmp_path):
    """What is left is a run still, which can be overwritten again."""
    fit(Exploding(10**6), splits(), SHORT, out=tmp_path, progress=False)
    child = PROCESSES.Process(target=overwrite, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL and (tmp_path / "config.json").exists()
    fit(Exploding(10**6), splits(), SHORT, out=tmp_path, overwrite=True, progress=False)
    assert lines(tmp_path)[-1]["step"] == 12


# --- told to stop


class Stopped(ArraySource):
    """A validation split that sends SIGTERM to its process in the middle of an evaluation."""

    evaluations = 0
    stop_in: tuple[int, ...] = ()

    def batches(self, size):
        self.evaluations += 1
        for i, batch in enumerate(super().batches(size)):
            if i == 2 and self.evaluations in self.stop_in:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch
            assert i < 2 or self.evaluations not in self.stop_in, "it went on with the evaluation"


@pytest.mark.slow
def test_an_evaluation_that_sigterm_cut_short_is_made_up_for(tmp_path):
    def data(*stop_in):
        valid = Stopped({"x": X[:50]})
        valid.stop_in = stop_in
        return Splits(ArraySource({"x": X}), valid, None)

    model = Exploding(10**6)
    settings, disturbed, whole = replace(SHORT, eval_batch=8), tmp_path / "disturbed", tmp_path / "whole"
    fit(model, data(), settings, out=whole, progress=False)
    with pytest.raises(Interrupted, match="SIGTERM: saved at step 8"):
        fit(model, data(2), settings, out=disturbed, progress=False)
    assert last(disturbed) == 8 and [line["step"] for line in lines(disturbed)] == [4, 4, 8]
    # again, in the evaluation that is made up for
    with pytest.raises(Interrupted, match="SIGTERM: saved at step 8"):
        fit(model, data(1), settings, out=disturbed, resume=True, progress=False)
    # and again, when that is done, and the run has come no further than to its line
    with pytest.raises(Interrupted, match="SIGTERM: saved at step 12"):
        fit(model, data(2), settings, out=disturbed, resume=True, progress=False)
    shutil.rmtree(disturbed / "checkpoints" / "12")
    fit(model, data(), settings, out=disturbed, resume=True, progress=False)
    assert_same_run(disturbed, whole, settings, model, data())


LONG_CALLS = ["--width", "16", "--depth", "1", "--scales", "1", "--steps-per-call", "500"]
LONG_EVALUATION = [
    "--width",
    "4",
    "--depth",
    "1",
    "--scales",
    "1",
    "--eval-every",
    "20",
    "--eval-draws",
    "300",
    "--eval-batch",
    "2",
]


def processor_seconds(pid):
    """That a process has used; Linux alone says so."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [LONG_CALLS, LONG_EVALUATION], ids=["steps", "evaluation"])
def test_sigterm_saves_and_ends_within_ten_seconds(arguments, tmp_path):
    command = [sys.executable, "-m", "experiments.flows.real_nvp", "--out", str(tmp_path / "run"), "--log-every", "20"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [*command, "--steps", "1000000", *arguments], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    began = time.monotonic()
    while not lines(tmp_path / "run"):
        assert process.poll() is None and time.monotonic() - began < 300
        time.sleep(0.05)
    time.sleep(1.0)
    used, told = processor_seconds(process.pid), time.monotonic()
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # the processor's seconds where others are at work on the machine
    of_its_own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - used
    took = min(time.monotonic() - told, of_its_own)
    print(f"ended in {time.monotonic() - told:.1f} s, {of_its_own:.1f} s of the processor")
    assert process.returncode == 128 + signal.SIGTERM and took < 10, (process.returncode, took, said)
    step = last(tmp_path / "run")
    assert step >= 20 and f"SIGTERM: saved at step {step} in {tmp_path / 'run'}" in said and "Traceback" not in said
    if "--eval-draws" in arguments:
        assert step == 20 and not any("valid/loss" in line for line in lines(tmp_path / "run"))


# --- disks and folders


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own, or a skipped test."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    ) if shutil.which("mount") else None  # fmt: skip
    if mounted is None or mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted and mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk):
    """Leaves no byte free."""
    with open(disk / "filler", "ab", buffering=0) as stream:
        for size in (2**20, 2**12, 1):
            try:
                while stream.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


class Filling(Deadly):
    """A source that fills the disk when it is asked for the batch of a step."""

    disk: Path | None = None

    def indices_at(self, step, size, seed):
        if self.disk is not None and step == 10:
            while half_written(self.disk / "run"):  # that of step 8
                time.sleep(0.01)
            fill(self.disk)
        return super().indices_at(step, size, seed)


@pytest.mark.slow
def test_a_disk_that_fills_up(disk, tmp_path):
    """A checkpoint that cannot be written ends the run in a sentence; the one before is whole, and the run goes on from
    it."""
    data = splits(Filling)
    data.train.disk = disk
    run, whole = disk / "run", tmp_path / "whole"
    # no evaluation and no line before the checkpoint of step 12
    settings = replace(SHORT, steps=40, eval_every=40, log_every=20)
    fit(Duel(), splits(), settings, out=whole, progress=False)
    with pytest.raises(OSError, match=rf"^{run}/checkpoints/12 cannot be written: {FULL}$") as stopped:
        fit(Duel(), data, settings, out=run, progress=False)
    assert stopped.value.__suppress_context__ and stopped.value.__cause__ is None
    assert steps(run / "checkpoints") == [4, 8]
    assert not half_written(run)  # Orbax, whose errors are pages, had not begun
    assert np.isfinite(load(run, model=Duel()).sample(jax.random.key(0), 2)).all()
    # still full
    with pytest.raises(OSError, match=rf"^{run}/.* cannot be written: {FULL}$"):
        fit(Duel(), data, settings, out=run, resume=True, progress=False)
    (disk / "filler").unlink()
    data.train.disk = None
    fit(Duel(), data, settings, out=run, resume=True, progress=False)
    assert_same_run(run, whole, settings, Duel(), splits())


def many_lines(folder):
    for step in range(1000):  # the last page of a file has room still
        folder.append({"step": step})


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("metrics.jsonl", many_lines),
        ("metrics.jsonl", lambda folder: folder.cut(0)),
        ("result.json", lambda folder: folder.result({"test": {}})),
        ("config.json", lambda folder: folder.open({}, resume=True)),
        ("samples/1.png", lambda folder: plotting.save(plotting.spectrum([1.0, 2.0]), folder.samples / "1.png")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("reason", [FULL, READ_ONLY])
def test_no_file_of_a_run_can_be_written(name, write, reason, disk):
    folder = RunFolder(disk / "run")
    folder.open({})
    for step in range(3):
        folder.append({"step": step})
    folder.cut(1)
    fill(disk)
    if reason == READ_ONLY:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    before = {
        file: file.read_bytes() for file in folder.path.rglob("*") if file.is_file() and file.name != "metrics.jsonl"
    }
    with pytest.raises(OSError, match=rf"^{folder.path}/{name} cannot be written: {reason}$"):
        write(folder)
    assert all(file.read_bytes() == content for file, content in before.items() if not file.name.startswith("."))
    assert [line["step"] for line in folder.lines()][:2] == [0, 1]


def command_line(out, *arguments, monkeypatch):
    tiny = ["--width", "4", "--depth", "1", "--scales", "1", "--batch-size", "16", "--steps", "6"]
    monkeypatch.setattr(sys, "argv", ["real_nvp", "--out", str(out), *tiny, *arguments])
    with pytest.raises(SystemExit) as stopped:
        main(real_nvp.RealNVPConfig, real_nvp.build)
    return stopped.value.code


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_said_before_anything_is_compiled(disk, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("a file")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    refused = {
        disk / "run": f"{disk}/run cannot be written: {READ_ONLY}",
        tmp_path / "file": f"`out` must be a folder, got the file '{tmp_path}/file'",
        tmp_path / "file" / "run": f"{tmp_path}/file/run cannot be written: Not a directory",
    }
    data = splits()
    for out, said in refused.items():
        with pytest.raises(OSError, match=f"^{said}$"):
            fit(Duel(), data, SHORT, out=out, progress=False)
    assert not compiled
    for out, said in refused.items():
        assert command_line(out, monkeypatch=monkeypatch) == 2
        assert capsys.readouterr().err == f"error: {said}\n"
    fit(Exploding(1), data, SHORT, steps=1, progress=False)
    assert compiled


@pytest.mark.slow
def test_a_run_on_a_read_only_disk_is_loaded_and_not_gone_on_with(disk):
    fit(Duel(), splits(), SHORT, out=disk / "run", progress=False)
    (disk / "run" / "best" / "99.orbax-checkpoint-tmp").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for which in ("best", "last"):
        assert np.isfinite(load(disk / "run", model=Duel(), which=which).sample(jax.random.key(0), 2)).all()
    with pytest.raises(OSError, match=f"config.json cannot be written: {READ_ONLY}"):
        fit(Duel(), splits(), SHORT, out=disk / "run", resume=True, progress=False)


@pytest.mark.slow
def test_loading_leaves_a_run_that_is_going_on_alone(tmp_path):
    fit(Duel(), splits(), SHORT, out=tmp_path, progress=False)
    for place in ("best", "checkpoints"):
        (tmp_path / place / "99.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "checkpoints" / "12" / "average" / "manifest.ocdbt").unlink()
    before = sorted(tmp_path.rglob("*"))
    with pytest.warns(UserWarning, match="checkpoints/12 cannot be read .*manifest.ocdbt is missing.*step 8"):
        load(tmp_path, model=Duel(), which="last")
    load(tmp_path, model=Duel())
    assert sorted(tmp_path.rglob("*")) == before


# --- files that rot


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(content)


def files(folder):
    return sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file() and file.stat().st_size)


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    """A folder of two checkpoints, of arrays that compress badly; what they are."""
    folder, rng = tmp_path_factory.mktemp("two"), np.random.default_rng(0)
    trees = {step: {"a": rng.normal(size=5000).astype(np.float32), "b": np.float32(step)} for step in (1, 2)}
    with Checkpoints(folder) as saved:
        for step, tree in trees.items():
            saved.save(step, {"tree": jax.tree.map(jnp.asarray, tree)}, {"best": step / 3})
    return folder, trees


def restored(folder):
    like = {"a": jax.ShapeDtypeStruct((5000,), jnp.float32), "b": jax.ShapeDtypeStruct((), jnp.float32)}
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=device), like)
    with Checkpoints(folder) as saved:
        return saved.restore(lambda step: {"tree": like})


@pytest.mark.parametrize(
    "damage", [flip, Path.unlink, lambda file: file.write_bytes(b"")], ids=["flip", "unlink", "empty"]
)
def test_a_damaged_file_leads_to_the_checkpoint_before(damage, two_checkpoints, tmp_path, recwarn):
    folder, trees = two_checkpoints
    went_back = set()
    for i, file in enumerate(files(folder / "2")):
        shutil.copytree(folder, tmp_path / str(i))
        damage(tmp_path / str(i) / "2" / file)
        recwarn.clear()
        step, got, progress = restored(tmp_path / str(i))
        chex.assert_trees_all_equal(got["tree"], trees[step])
        assert progress == {"best": step / 3}
        if step == 1:
            went_back.add(file)
            said = str(recwarn.pop(UserWarning).message)
            assert said.startswith(f"checkpoint {tmp_path}/{i}/2 cannot be read (") and said.endswith(
                "went back to step 1"
            )
            assert str(file) in said or file.parent == Path(".")
            assert not (tmp_path / str(i) / "2").exists()
    # of what is read, everything; beside it are Orbax's notes
    assert {file for file in files(folder / "2") if len(file.parts) > 1} <= went_back


def test_every_checkpoint_of_a_run_has_digests_of_all_it_holds(tmp_path):
    fit(Duel(), splits(), SHORT, out=tmp_path, progress=False)
    for checkpoint in (*(tmp_path / "checkpoints").iterdir(), *(tmp_path / "best").iterdir()):
        named = {Path(name) for name in json.loads((checkpoint / DIGESTS).read_text())}
        assert named == {
            f.relative_to(checkpoint) for f in checkpoint.rglob("*") if f.is_file() and f.parent != checkpoint
        }
        assert {"progress", "average"} <= {name.parts[0] for name in named}


@pytest.mark.slow
def test_damaged_best_variables_are_not_taken(tmp_path):
    fit(Duel(), splits(), SHORT, out=tmp_path, progress=False)
    (best,) = (tmp_path / "best").iterdir()
    flip(max((f for f in (best / "average").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size))
    with pytest.warns(
        UserWarning, match=f"/best can be read: .* is damaged.*; took {tmp_path}/checkpoints/12 in place"
    ):
        taken = load(tmp_path, model=Duel())
    chex.assert_trees_all_equal(taken.variables, load(tmp_path, model=Duel(), which="last").variables)
    for checkpoint in (tmp_path / "checkpoints").iterdir():
        shutil.rmtree(checkpoint / "average")
    with pytest.raises(
        ValueError, match="no checkpoint in .*best can be read.*no checkpoint in .*checkpoints can be read.*missing"
    ):
        load(tmp_path, model=Duel())


def test_lines_and_config_that_rotted(tmp_path):
    fit(Exploding(10**6), splits(), SHORT, out=tmp_path, progress=False)
    whole, metrics = lines(tmp_path), tmp_path / "metrics.jsonl"
    text = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(
        b"".join([text[0], text[1].replace(b'"step"', b'"stfp"'), b"\xff" + text[2], *text[3:], text[0][:9]])
    )
    assert lines(tmp_path) == [whole[0], *whole[3:]]
    for name in ("config.json", "model.json"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-3])
    with pytest.raises(ValueError, match="config.json cannot be read as JSON"):
        fit(Exploding(10**6), splits(), SHORT, out=tmp_path, resume=True, progress=False)
    with pytest.raises(ValueError, match="model.json cannot be read as JSON"):
        load(tmp_path, model=Exploding(10**6))


class Trap:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return Path.touch, (Path(self.trace),)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what Orbax leaves of a failed read
def test_nothing_in_a_runs_folder_is_unpickled(tmp_path, recwarn):
    run, trace = tmp_path / "run", tmp_path / "trace"
    fit(Duel(), splits(), SHORT, out=run, progress=False)
    places = sorted(file.relative_to(run) for file in run.rglob("*") if file.is_file())
    assert len(places) > 40
    # every file of a kind at once: what is read of it is a pickle
    for name in {file.name if len(file.name) < 30 else "d" for file in places}:
        evil = tmp_path / f"evil-{name}"
        shutil.copytree(run, evil)
        for file in places:
            if file.name == name or (name == "d" and file.parent.name == "d"):
                (evil / file).write_bytes(pickle.dumps(Trap(trace)))
        if name != DIGESTS:
            for checkpoint in (*(evil / "checkpoints").iterdir(), *(evil / "best").iterdir()):
                write_digests(checkpoint)  # the old ones would find it before anything is read
        for read in (
            lambda evil=evil: load(evil, model=Duel()),
            lambda evil=evil: load(evil, model=Duel(), which="last"),
            lambda evil=evil: fit(Duel(), splits(), SHORT, out=evil, resume=True, progress=False),
        ):
            try:
                read()
            except (ValueError, OSError):
                continue
    gc.collect()
    assert not trace.exists()
    pickle.loads(pickle.dumps(Trap(trace)))
    assert trace.exists()


# --- spikes


class Spiking(Exploding):
    """A loss whose gradient is `height` at step 6, moved by a flow's optimizer."""

    def __init__(self, height):
        super().__init__(10**6)
        object.__setattr__(self, "height", height)

    def loss(self, variables, batch, key, clock):
        w = variables["only"]["params"]["w"]
        return LossOutput(((w - batch["x"]) ** 2).mean() + jnp.where(clock.step == 6, self.height, 0.0) * w.sum())

    def plays(self):
        return {"descend": Play(("only",), self.loss, game("flow")[0].plays()["flow"].optimizer)}


def test_a_flow_goes_on_learning_after_a_gradient_that_is_finite_and_huge(tmp_path):
    def learned(height, on_nan="stop"):
        settings = replace(SHORT, steps=200, on_nan=on_nan)
        return fit(Spiking(height), X, settings, progress=False).variables["only"]["params"]["w"]

    # clipped: Adam alone would divide by the spike from there on, and stand still
    calm = learned(0.0)
    assert (learned(1e15) > 0.2 * calm).all() and (calm > 0.1).all()
    # the squares of a norm beyond 1e19 overflow: it counts as not finite
    with pytest.raises(NonFiniteLoss, match="gradient of play 'descend' is not finite at step 6"):
        fit(Spiking(1e30), splits(), replace(SHORT, checkpoint_every=7), out=tmp_path, progress=False)
    assert last(tmp_path) == 0
    np.testing.assert_allclose(learned(1e30, "skip"), calm, rtol=0.05)
