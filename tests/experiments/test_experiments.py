"""Every experiment from its command line to its result, and what bad input gets."""

import importlib
import inspect
import json
import pkgutil
import sys

import jax
import numpy as np
import pytest
import scipy.stats

import experiments
import jaxgen
from experiments import report, results
from experiments.config import Config
from experiments.run import cache_compiled_programs, main

TINY = ["--steps", "6", "--eval-every", "3", "--checkpoint-every", "3", "--log-every", "3"]
RUNS = {
    "flows.real_nvp": ["--batch-size", "32", "--scales", "1", "--depth", "1", "--width", "4"],
    "flows.nice": ["--batch-size", "32", "--couplings", "2", "--hidden-layers", "1", "--width", "8"],
    "flows.glow": ["--batch-size", "32", "--scales", "1", "--depth", "2", "--width", "4", "--permutation", "shuffle"],
    "flows.flow_plus_plus": ["--batch-size", "32", "--width", "4", "--heads", "0", "--components", "2"],
    "flows.dequantized": ["--batch-size", "16", "--architecture", "simple", "--samples", "2", "--data", "digits"],
    "flows.maf": ["--batch-size", "32", "--depth", "2", "--width", "8", "--norm", "batch"],
    "flows.neural_spline": ["--data", "two_moons", "--depth", "1", "--width", "8", "--eval-batch", "5000"],
    "flows.reverse_kl": ["--depth", "1", "--width", "8", "--eval-batch", "5000"],
    "flows.latent_space": ["--batch-size", "32", "--scales", "1", "--depth", "1", "--width", "4", "--edits", "20"],
    "flows.super_resolution": ["--batch-size", "32", "--scales", "1", "--depth", "1", "--width", "4"],
    "flows.sr_flow": ["--batch-size", "32", "--scales", "1", "--depth", "1", "--width", "4", "--blocks", "1",
                      "--features", "4", "--growth", "2", "--schedule", "halved", "--freeze", "0.5"],
    "vaes.beta_vae": ["--width", "8", "--latents", "2", "--importance-samples", "4", "--objective", "capacity"],
    "vaes.beta_tcvae": ["--width", "8", "--latents", "2", "--importance-samples", "4", "--estimator", "stratified"],
    "vaes.cvae": ["--width", "8", "--latents", "2", "--importance-samples", "4", "--attributes", "ink", "label"],
    "vaes.iwae": ["--width", "8", "--latents", "2", "--importance-samples", "4", "--samples", "4", "--chunk", "2"],
    "vaes.vae": ["--width", "8", "--latents", "2", "--importance-samples", "4"],
    "vaes.iaf": ["--width", "8", "--latents", "2", "--flow-width", "8", "--importance-samples", "4"],
    "vaes.aae": ["--width", "8", "--batch-size", "32", "--prior", "petals", "--labels"],
    "vaes.ali": ["--width", "8", "--batch-size", "32", "--latents", "2"],
    "vaes.avb": ["--width", "8", "--latents", "2", "--basis", "2", "--basis-width", "4", "--importance-samples", "4"],
    "vaes.aavae": ["--width", "8", "--latents", "2", "--share", "0.5", "--importance-samples", "4"],
    "vaes.m2": ["--width", "8", "--latents", "2", "--batch-size", "20", "--labels", "20"],
    "vaes.vq_vae": ["--prior-fraction", "0.5", "--codes", "8", "--width", "4", "--hidden", "2", "--prior-blocks", "1"],
    "vaes.sequence_vae": ["--width", "4", "--latents", "2", "--importance-samples", "2", "--eval-batch", "2000"],
    "vaes.anomaly": ["--width", "8", "--latents", "2", "--importance-samples", "4", "--held-out", "4"],
    "gans.gan": ["--width", "8", "--eval-batch", "500", "--criterion", "minimax", "--proximal", "1", "--packing", "2"],
    "gans.dcgan": ["--width", "4", "--augment", "translation", "--instance-noise", "0.1"],
    "gans.lsgan": ["--width", "4", "--network", "dense"],
    "gans.f_gan": ["--width", "4", "--network", "dense", "--divergence", "jensen_shannon"],
    "gans.importance_weighted": ["--width", "4", "--network", "dense"],
    "gans.wgan": ["--width", "4", "--network", "dense"],
    "gans.cgan": ["--width", "4", "--network", "dense", "--way", "product"],
    "gans.acgan": ["--width", "4", "--network", "dense"],
    "gans.infogan": ["--width", "4", "--network", "dense"],
    "gans.semi_supervised": ["--width", "8", "--widths", "8", "4", "--batch-size", "20", "--labels", "20"],
    "gans.ebgan": ["--width", "4", "--network", "dense"],
    "gans.began": ["--width", "4", "--network", "dense"],
    "gans.sagan": ["--width", "8", "--latents", "4"],
    "gans.bottleneck": ["--width", "4", "--network", "dense", "--codes", "2"],
    "gans.localized": ["--width", "8", "--latents", "2"],
    "gans.feature_extractor": ["--widths", "2", "--features", "4"],
    "gans.wgan_gp_images": ["--width", "4", "--latents", "4"],
    "gans.wgan_gp": ["--width", "8", "--eval-batch", "500", "--data", "eight_gaussians"],
    "sequences.wgan_gp_text": ["--width", "4", "--blocks", "1", "--latents", "4", "--samples", "64"],
    "translation.pose": ["--width", "2", "--critic-width", "2", "--adversary-fraction", "0.5"],
    "translation.unit": [
        "--preset", "digits", "--size", "8", "--width", "2", "--critic-widths", "2", "--batch-size", "4",
    ],
    "translation.cycle_gan": [
        "--preset", "small", "--size", "8", "--network", "residual", "--halvings", "1", "--width", "2", "--blocks", "1",
        "--critic-widths", "2", "2",
    ],
    "translation.disco_gan": ["--width", "8", "--eval-batch", "5000"],
    "translation.adain": ["--preset", "small", "--size", "16", "--decoder-width", "2", "--batch-size", "2"],
    "translation.linear_style": ["--preset", "small", "--size", "16", "--decoder-width", "2", "--batch-size", "2"],
    "translation.pix2pix": ["--preset", "small", "--width", "2", "--critic-width", "2", "--receptive-field", "16"],
    "hybrids.vae_gan": ["--preset", "small", "--width", "2", "--latents", "2", "--batch-size", "32"],
    "hybrids.alae": ["--preset", "small", "--width", "8", "--latents", "4", "--mapping-layers", "2"],
    "hybrids.glann": [
        "--preset", "small", "--width", "8", "--latents", "4", "--mapping-width", "8", "--examples", "300",
    ],
    "hybrids.ganomaly": [
        "--preset", "small", "--width", "2", "--latents", "2", "--batch-size", "32", "--held-out", "4",
    ],
    "hybrids.singan": [
        "--width", "2", "--depth", "2", "--min-side", "6", "--critic-steps", "1", "--generator-steps", "1",
    ],
    "hybrids.style_gan": ["--preset", "small", "--width", "2", "--max-width", "4", "--latents", "4", "--rotations"],
    "hybrids.cvae_gan": ["--preset", "small", "--width", "2", "--latents", "2", "--batch-size", "32"],
    "hybrids.vqgan": ["--preset", "small", "--width", "4", "--codes", "8", "--dimension", "2", "--prior-width", "8",
                      "--adversarial-start", "1"],
    "hybrids.adversarial_samples": ["--widths", "2", "--features", "4", "--training", "pgd", "--attacked", "20",
                                    "--pgd-steps", "2", "--universal-images", "20", "--searched", "4",
                                    "--search-rounds", "3"],
    "sequences.translation": [
        "--width", "8", "--batch-size", "32", "--mle-steps", "2", "--critic-steps", "2", "--rollouts", "2",
        "--mixing", "joint",
    ],
    "sequences.boundary_seeking": [
        "--data", "digits", "--bits", "1", "--width", "4", "--latents", "2", "--samples", "3",
    ],
    "sequences.text_gan": ["--mle-steps", "2", "--critic-steps", "2", "--moves-per-round", "1", "--width", "3",
                           "--filters", "small", "--rollouts", "1", "--sequences", "2", "--measured", "8"],
    "sequences.time_gan": ["--width", "3", "--layers", "1", "--batch-size", "8", "--judge-steps", "0.001"],
    "sequences.seq_gan": ["--preset", "small", "--data", "oracle", "--mle-steps", "2", "--critic-steps", "2",
                          "--moves-per-round", "1", "--width", "4", "--rollouts", "1", "--sequences", "8",
                          "--measured", "64"],
    "hybrids.gan_compression": ["--preset", "small", "--width", "2", "--blocks", "1", "--critic-width", "2"],
    "sequences.rc_gan": ["--width", "3", "--judge-steps", "0.001"],
    "hybrids.vfunc": ["--width", "4", "--points", "5", "--latents", "2", "--prior", "gp", "--ensemble", "2"],
    "sequences.dialogue": ["--preset", "small", "--width", "4", "--critic-width", "4", "--mle-steps", "2",
                           "--critic-steps", "1", "--critic-moves", "1", "--judge-steps", "2", "--judge-controls"],
    "sequences.story_endings": ["--preset", "small", "--width", "4", "--critic-width", "4", "--mle-steps", "2",
                                "--critic-steps", "1", "--critic-moves", "1", "--critic", "turns",
                                "--reward", "rollouts",
                                "--rollouts", "2"],
}
# whose networks take long to compile; the parts of each are tested where they are
SLOW = {
    "flows.flow_plus_plus", "flows.dequantized", "flows.latent_space", "flows.super_resolution", "flows.sr_flow",
    "vaes.vq_vae",
    "vaes.anomaly", "vaes.aae", "vaes.aavae", "vaes.avb", "vaes.ali", "vaes.beta_tcvae", "vaes.iaf", "vaes.iwae",
    "vaes.sequence_vae", "gans.wgan_gp_images", "gans.dcgan", "gans.sagan", "gans.lsgan", "gans.f_gan", "gans.infogan",
    "gans.importance_weighted", "gans.wgan", "gans.cgan", "gans.semi_supervised", "gans.ebgan", "gans.began",
    "gans.bottleneck", "gans.localized", "gans.gan", "gans.acgan", "vaes.cvae", "vaes.m2", "vaes.beta_vae",
    "flows.reverse_kl", "flows.neural_spline", "flows.maf", "flows.glow", "gans.wgan_gp", "flows.nice",
    *(name for name in RUNS if name.startswith(("translation.", "hybrids.", "sequences."))),
}
# whose models generate nothing, or nothing that is drawn
SAMPLELESS = {
    "gans.feature_extractor", "hybrids.adversarial_samples", "hybrids.gan_compression", "hybrids.ganomaly",
    "hybrids.vfunc",
    "sequences.dialogue", "sequences.story_endings",
    "sequences.seq_gan", "sequences.text_gan", "sequences.translation", "sequences.wgan_gp_text",
    *(name for name in RUNS if name.startswith("translation.")),
}  # fmt: skip
# where a model cannot do without
CONTEXT = {
    "gans.acgan": np.eye(10, dtype=np.float32)[:1],
    "gans.sagan": np.eye(10, dtype=np.float32)[:1],
    "gans.localized": np.zeros((1, 64), np.float32),
    "vaes.cvae": np.zeros((1, 11), np.float32),
    "flows.super_resolution": np.zeros((1, 4, 4, 1), np.float32),
    "flows.sr_flow": np.zeros((1, 4, 4, 1), np.float32),
}


def run(module, *arguments, monkeypatch):
    """Runs an experiment as `python -m` would, in this process."""
    monkeypatch.setattr(report, "TEST_DRAWS", 2)
    found = importlib.import_module(f"experiments.{module}")
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    main(inspect.get_annotations(found.build, eval_str=True)["config"], found.build, getattr(found, "PUBLISHED", None))


def test_every_experiment_is_tried_here():
    found = {
        name.removeprefix("experiments.")
        for _, name, package in pkgutil.walk_packages(experiments.__path__, "experiments.")
        if not package and name.count(".") == 2 and hasattr(importlib.import_module(name), "build")
    }
    # which need a trained classifier or label maps: tests/experiments/{test_stacked_digits,test_pix2pix}.py
    assert found == {*RUNS, "gans.stacked_digits", "translation.segmenter"}


@pytest.mark.parametrize("module", [pytest.param(m, marks=pytest.mark.slow if m in SLOW else ()) for m in RUNS])
def test_from_the_command_line_to_the_result(module, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    run(module, *TINY, *RUNS[module], "--out", str(out), monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    result = json.loads((out / "result.json").read_text())
    assert result["experiment"] == f"experiments.{module}" and result["config"]["steps"] == 6
    assert result["test"] and all(np.isfinite(v) for v in result["test"].values())
    for name, value in result["test"].items():
        assert name in printed and f"{value:.4f}" in printed
    pictures = ("curves.png",) if module in SAMPLELESS else ("curves.png", "samples.png")
    assert str(out) in printed and all(str(out / picture) in printed for picture in pictures)
    for file in ("config.json", "model.json", "metrics.jsonl", *pictures):
        assert (out / file).stat().st_size > 0
    assert sum(result["parameters"].values()) > 0 and result["versions"]["jax"] == jax.__version__

    trained = jaxgen.load(out)
    if module not in SAMPLELESS:
        assert (out / "samples" / "0000006.png").stat().st_size > 0
        samples = trained.sample(jax.random.key(0), 5, CONTEXT.get(module))
        assert samples.shape[0] == 5 and np.isfinite(samples).all()
    page = tmp_path / "RESULTS.md"
    assert results.update(results.Results(tmp_path, tmp_path / "records", page)) == 1
    assert module.partition(".")[2] in page.read_text() and str(tmp_path) not in page.read_text()


@pytest.mark.slow
def test_several_seeds_leave_a_run_each_and_their_means(tmp_path, monkeypatch, capsys):
    arguments, out = [*TINY, *RUNS["gans.wgan_gp"]], tmp_path / "run"
    run("gans.wgan_gp", *arguments, "--seed", "4", "--seeds", "2", "--out", str(out), monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    result = json.loads((out / "result.json").read_text())
    each = [json.loads((out / f"seed-{seed}" / "result.json").read_text()) for seed in (4, 5)]
    assert [one["config"]["seed"] for one in each] == [4, 5] and result["config"]["seeds"] == 2
    assert len({one["test"]["sliced_wasserstein"] for one in each}) == 2
    for name, mean in result["test"].items():
        values = [one["test"][name] for one in each]
        error = scipy.stats.sem(values)
        np.testing.assert_allclose([mean, result["standard_errors"][name]], [np.mean(values), error])
        assert f"{mean:.4f} ± {error:.4f}" in printed
    assert (out / "seed-5" / "samples.png").stat().st_size > 0 and len(jaxgen.load(out / "seed-5").variables) == 2
    with pytest.raises(FileNotFoundError, match="seed-4, seed-5 are runs"):
        jaxgen.load(out)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["flows.real_nvp", "flows.latent_space"])
def test_conditional_runs(module, tmp_path, monkeypatch):
    out = tmp_path / "run"
    run(module, *TINY, *RUNS[module], "--conditional", "--out", str(out), monkeypatch=monkeypatch)
    samples = jaxgen.load(out).sample(jax.random.key(0), 10, np.eye(10, dtype=np.float32))
    assert samples.shape == (10, 8, 8, 1) and samples.dtype == np.uint8


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "odd.npy", rng.integers(0, 255, (400, 7, 7, 1)).astype(np.uint8))
    np.save(tmp_path / "rank.npy", np.float32(3))
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "nan.npy", np.full((400, 2), np.nan, np.float32))
    np.save(tmp_path / "few.npy", rng.normal(size=(40, 2)).astype(np.float32))
    np.save(tmp_path / "greys.npy", rng.random((400, 8, 8, 1)).astype(np.float32))
    np.save(tmp_path / "objects.npy", np.array([{}, {}], object), allow_pickle=True)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "digit"], "digits"),
        (["--data", "missing.npz"], "missing.npz"),
        (["--data", "{}/odd.npy"], "7"),
        (["--data", "{}/rank.npy"], "x"),
        (["--data", "{}/words.npy"], "x"),
        (["--data", "{}/nan.npy"], "x"),
        (["--data", "{}/few.npy"], "`batch_size` must be at most the 32 examples of few.npy (train), got 64"),
        (["--data", "{}/greys.npy"], "greys.npy"),
        (["--data", "{}/nan.npy"], "NaN"),
        (["--data", "{}/objects.npy"], "objects"),
        (["--data", "tfds:mnist", "--data-dir", "{}"], "python -m jaxgen.data.prepare mnist"),
        (["--steps", "0"], "`steps` must be at least 1"),
        (["--devices", "99"], "`devices` must be at most"),
        (["--out", "{}"], "other files"),
        (["--steps", "many"], "steps"),
        (["--stepss", "3"], "--steps"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_bad_input_gets_a_sentence_and_status_2(arguments, said, files, monkeypatch, capsys):
    given = [word.format(files) for word in arguments]
    out = [] if "--out" in given else ["--out", str(files / "run")]
    with pytest.raises(SystemExit) as stopped:
        run("flows.real_nvp", *given, *out, monkeypatch=monkeypatch)
    said_there = capsys.readouterr().err
    assert stopped.value.code == 2 and said in said_there and "Traceback" not in said_there
    assert not (files / "run").exists()


def test_help_shows_every_field(monkeypatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("flows.real_nvp", "--help", monkeypatch=monkeypatch)
    shown = capsys.readouterr().out
    assert stopped.value.code == 0
    options = ("--width", "--learning-rate", "--data", "--seed", "--resume", "--devices")
    for text in (*options, "Dinh et al. 2017", "0.002"):
        assert text in shown


def test_changed_fields_are_those_that_decide_a_result_and_differ_from_the_defaults():
    assert Config().changed() == {}
    given = Config(data="chains", steps=7, out="there", resume=True, log_every=3, seed=2, batch_sizes={"x": 4}, ema=0.5)
    assert given.changed() == {"steps": 7, "seed": 2, "batch_sizes": {"x": 4}, "ema": 0.5}


def test_compiled_programs_are_kept_in_the_users_cache_folder_unless_another_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    try:
        for given, expected in ((None, str(tmp_path / "jaxgen")), ("elsewhere", "elsewhere")):
            jax.config.update("jax_compilation_cache_dir", given)
            cache_compiled_programs()
            assert jax.config.jax_compilation_cache_dir == expected
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
