"""Command lines that ask for what cannot be: status 2 and one sentence, before anything is compiled."""

import importlib
import inspect
import pkgutil
import re
import sys
import typing

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import experiments
from experiments.config import Config
from experiments.run import main
from jaxgen.training import recorder, run
from jaxgen.training.ranges import ranges_of
from tests.experiments.test_experiments import RUNS
from tests.malformed import LONGEST, examples


# a run's folder is opened, its checkpoints are not yet
OPENED = (recorder, "Checkpoints")


class Taken(BaseException):
    """Everything given was taken: training would begin."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    arrays = {
        "vectors": rng.normal(size=(300, 3)).astype(np.float32),
        "one": rng.normal(size=(300, 1)).astype(np.float32),
        "numbers": rng.normal(size=300).astype(np.float32),
        "bytes": rng.integers(0, 255, (300, 6)).astype(np.uint8),
        "odd": rng.integers(0, 255, (300, 7, 5, 1)).astype(np.uint8),
        "deep": np.zeros((300, 2, 2, 2, 2), np.uint8),
        "greys": rng.random((300, 8, 8, 1)).astype(np.float32),
        "few": rng.integers(0, 255, (30, 8, 8, 1)).astype(np.uint8),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.savez(folder / "identifiers.npz", x=arrays["vectors"], label=np.arange(300) * 10**6)
    (folder / "text.txt").write_text("Some words, and others. " * 200)
    (folder / "file").write_text("no folder")
    return folder


def taken(*_, **__):
    raise Taken


def said(module, *words, until=(run.Run, "go")):
    """What `python -m experiments.<module> <words>` says on stderr with status 2; None where it comes to `until`."""
    name = f"experiments.{module}"
    place = importlib.import_module(name)
    config = inspect.get_annotations(place.build, eval_str=True)["config"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, words)])
        patch.setattr(*until, taken)
        patch.setattr(sys, "stderr", stderr := _Lines())
        try:
            main(config, place.build, getattr(place, "PUBLISHED", None))
        except Taken:
            return None
        except SystemExit as stopped:
            assert stopped.code == 2
    text = "".join(stderr.lines)
    assert "Traceback" not in text and text.strip()
    assert not text.startswith("error: ") or (len(text) <= LONGEST and text.count("\n") <= 2), text
    return text


class _Lines:
    """A stream that is read afterwards."""

    encoding = "utf-8"

    def __init__(self):
        self.lines = []

    def write(self, text):
        self.lines.append(text)
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return False


def tiny(module, *without):
    """A short command line, without some of its options."""
    words, kept = RUNS[module], []
    for i, word in enumerate(words):
        option = next(w for w in reversed(words[: i + 1]) if w.startswith("--"))
        kept += [] if option in without else [word]
    return kept


def test_every_default_is_in_its_range():
    configs = set()
    for found in pkgutil.walk_packages(experiments.__path__, "experiments."):
        if "peers" not in found.name and "benchmarks" not in found.name:
            configs |= {c for c in vars(importlib.import_module(found.name)).values() if isinstance(c, type)}
    configs = {config for config in configs if issubclass(config, Config)}
    assert len(configs) > 40
    for config in configs:
        config().check()


def test_every_number_has_a_range():
    """Also where an experiment replaces a default: its annotation replaces the range too."""
    for module in RUNS:
        build = importlib.import_module(f"experiments.{module}").build
        config = inspect.get_annotations(build, eval_str=True)["config"]
        for field, hint in typing.get_type_hints(config, include_extras=True).items():
            plain = str(typing.get_type_hints(config)[field])
            if re.search(r"\b(int|float)\b", plain):
                assert list(ranges_of(hint)), f"{module}: {field}"


# Fields with counts and fractions, by experiment.
COUNTS = {
    "flows.real_nvp": ["width", "scales", "depth"],
    "flows.glow": ["width", "scales", "depth"],
    "flows.nice": ["couplings"],
    "flows.maf": ["width", "depth"],
    "flows.neural_spline": ["bins", "depth"],
    "vaes.vae": ["width", "latents", "importance-samples", "chunk", "encoder-steps"],
    "vaes.vq_vae": ["codes", "dimension"],
    "vaes.iwae": ["samples", "latents"],
    "vaes.sequence_vae": ["width", "latents"],
    "gans.gan": ["width", "latents", "packing", "critic-steps", "proximal-every"],
    "gans.infogan": ["values", "latents"],
    "gans.wgan_gp": ["width", "critic-steps"],
    "gans.feature_extractor": ["features", "widths"],
}
SHARED = [
    "steps",
    "batch-size",
    "log-every",
    "eval-every",
    "eval-batch",
    "eval-draws",
    "checkpoint-every",
    "keep",
    "steps-per-call",
    "accumulate",
    "devices",
]
REALS = {
    "flows.real_nvp": ["learning-rate", "weight-decay", "clip", "alpha", "ema"],
    "flows.maf": ["alpha", "learning-rate"],
    "flows.neural_spline": ["bound", "dropout"],
    "vaes.vae": ["learning-rate", "kl-weight", "free-bits"],
    "vaes.vq_vae": ["commitment", "decay", "prior-dropout", "ema"],
    "vaes.sequence_vae": ["word-dropout"],
    "gans.gan": ["learning-rate", "critic-rate", "b1", "instance-noise", "real-label", "proximal"],
    "gans.wgan_gp": ["penalty-weight", "learning-rate"],
    "gans.feature_extractor": ["dropout", "learning-rate"],
}


def option(table):
    return st.sampled_from([(module, name) for module, names in table.items() for name in names])


@examples(100)
@hypothesis.given(
    st.one_of(option(COUNTS), option({module: SHARED for module in COUNTS})),
    st.one_of(
        st.integers(max_value=0), st.integers(min_value=2**31), st.sampled_from(["x", "1.5", "nan", "", "1e3", "0x10"])
    ),
)
def test_counts_out_of_range_are_named(files, where, value):
    module, name = where
    text = said(module, *tiny(module, f"--{name}"), "--out", files / "run", f"--{name}", value)
    assert text is not None and (name in text or name.replace("-", "_") in text)


@examples(80)
@hypothesis.given(option(REALS), st.sampled_from(["nan", "inf", "-inf", "-1", "-1e-9", "x", "", "1,5"]))
def test_real_numbers_out_of_range_are_named(files, where, value):
    module, name = where
    text = said(module, *tiny(module, f"--{name}"), "--out", files / "run", f"--{name}", value)
    assert text is not None and (name in text or name.replace("-", "_") in text)


IMAGES = [
    "flows.glow",
    "flows.flow_plus_plus",
    "flows.dequantized",
    "flows.super_resolution",
    "flows.latent_space",
    "gans.dcgan",
    "gans.wgan_gp_images",
    "gans.feature_extractor",
    "vaes.vq_vae",
]
LABELS = ["gans.cgan", "gans.acgan", "gans.sagan", "gans.semi_supervised", "vaes.m2", "vaes.cvae", "vaes.anomaly"]
BERNOULLI = ["vaes.vae", "vaes.iwae", "vaes.beta_vae", "vaes.beta_tcvae", "vaes.iaf", "vaes.avb"]
WRONG_DATA = [
    *((module, data) for module in IMAGES for data in ("vectors", "bytes", "text.txt")),
    *((module, data) for module in LABELS for data in ("vectors", "greys", "text.txt")),
    *((module, "vectors") for module in BERNOULLI),
    ("vaes.vq_vae", "greys"),
    ("flows.real_nvp", "greys"),
    ("flows.real_nvp", "text.txt"),
    ("flows.real_nvp", "one"),
    ("flows.real_nvp", "numbers"),
    ("flows.real_nvp", "bytes"),
    ("flows.maf", "numbers"),
    ("flows.maf", "text.txt"),
    ("flows.nice", "odd"),
    ("flows.nice", "numbers"),
    ("flows.glow", "deep"),
    ("flows.glow", "odd"),
    ("flows.glow", "greys"),
    ("gans.wgan_gp", "odd"),
    ("gans.wgan_gp", "text.txt"),
    ("flows.reverse_kl", "vectors"),
    ("flows.reverse_kl", "digits"),
    ("flows.neural_spline", "text.txt"),
    ("gans.dcgan", "two_moons"),
    ("gans.feature_extractor", "patches"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "data"), WRONG_DATA)
def test_data_of_another_kind_are_refused(files, module, data):
    given = files / (data if "." in data else f"{data}.npy")
    text = said(module, *tiny(module, "--data"), "--data", given if given.exists() else data, "--out", files / "run")
    assert text is not None and text.startswith("error: ")


@pytest.mark.slow
@pytest.mark.parametrize("module", ["flows.real_nvp", "vaes.vae", "gans.wgan_gp", "vaes.sequence_vae"])
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--data", "{}/few.npy", "--batch-size", "128"], "few.npy (train), got 128"),
        (["--data", "{}/file"], "file"),
        (["--data", "{}"], "must hold images"),
        (["--data", ""], "must be one of digits"),
        (["--data", "{}/vectors.npy", "--conditional"], "label"),
        (["--data", "{}/identifiers.npz", "--conditional"], "classes"),
        (["--data", "digit"], "digits"),
        (["--devices", "1000"], "got 1000"),
        (["--seed", "-1"], "`seed` must be at least 0"),
        (["--parallel", "threads"], "parallel"),
        (["--on-nan", "go"], "on-nan"),
        (["--coordinator", "x"], "coordinator"),
        (["--process-id", "3"], "process_id"),
        (["--profile", "-1"], "profile"),
        (["--ema", "1"], "ema"),
        (["--batch-sise", "3"], "--batch-size"),
        (["--data-dir", "{}/no", "--data", "tfds:mnist"], "prepare"),
        (["--accumulate", "7"], "accumulate"),
    ],
)
def test_what_every_experiment_is_given_is_named(files, module, words, named):
    words = [word.format(files) for word in words]
    kept = tiny(module, *(word for word in words if word.startswith("--")))
    out = [] if "--out" in words else ["--out", files / "run"]
    text = said(module, *kept, *out, *words)
    assert text is not None and named in text


@pytest.mark.parametrize(
    ("out", "named"), [("", "other files"), ("file", "file"), ("file/run", "file"), ("x" * 300, "too long")]
)
def test_a_folder_that_is_none_is_named(files, out, named):
    text = said("vaes.vae", *tiny("vaes.vae"), "--out", files / out, until=OPENED)
    assert text is not None and named in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("", "config.json"),
        ("{", "config.json"),
        ("[]", "config.json"),
        ("3", "config.json"),
        ('{"seed": 5}', "differs"),
    ],
)
def test_a_run_of_another_config_or_of_none_is_not_gone_on_with(tmp_path, config, named):
    (tmp_path / "config.json").write_text(config)
    text = said("gans.wgan_gp", *tiny("gans.wgan_gp"), "--out", tmp_path, "--resume", until=OPENED)
    assert text is not None and named in text


def test_a_run_of_another_experiment_is_not_gone_on_with(tmp_path):
    assert said("vaes.vae", *tiny("vaes.vae"), "--out", tmp_path / "run", until=OPENED) is None
    text = said("gans.wgan_gp", *tiny("gans.wgan_gp"), "--out", tmp_path / "run", "--resume", until=OPENED)
    assert text is not None and "differs" in text
    assert "--resume" in said("vaes.vae", *tiny("vaes.vae"), "--out", tmp_path / "run", until=OPENED)
