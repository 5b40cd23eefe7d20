"""GAN compression from its command lines, and the study of its students."""

import json
import sys

import numpy as np
import pytest

import jaxgen
from experiments.hybrids import gan_compression
from experiments.hybrids.gan_compression import CompressionConfig, budget_of
from experiments.run import main
from experiments.studies import compression, harness
from experiments.studies.compression import STUDENTS, TEACHERS, CompressionStudy
from experiments.translation import cycle_gan
from experiments.translation.cycle_gan import CycleGANConfig
from jaxgen.nets import InstanceNorm, PatchCritic, SlimmableTranslator


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    rng, file, arrays = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "pairs.npz", {}
    for split, n in (("train", 12), ("valid", 4), ("test", 6)):
        x = rng.integers(0, 200, (n, 4, 4, 3)).repeat(4, 1).repeat(4, 2)
        arrays |= {f"ink_{split}": x.astype(np.uint8), f"print_{split}": (230 - x).astype(np.uint8)}
    np.savez(file, **arrays)
    return file


@pytest.mark.slow
def test_from_the_teacher_to_a_searched_student(pairs, tmp_path, monkeypatch, capsys):
    def run(out, *arguments):
        small = ["--preset", "small", "--steps", "4", "--eval-every", "4", "--blocks", "1", "--receptive-field", "16"]
        words = ["--data", str(pairs), "--domains", "ink", "print", "--out", str(tmp_path / out), "--critic-width", "2"]
        monkeypatch.setattr(sys, "argv", ["program", *words, *small, *arguments])
        main(CompressionConfig, gan_compression.build)
        return json.loads((tmp_path / out / "result.json").read_text())["test"]

    teacher = run("teacher", "--width", "4")
    folder = ("--teacher", str(tmp_path / "teacher"))
    student = run("student", "--width", "2", *folder)
    largest = run("largest", "--width", "4", *folder, "--fractions", "0.25", "0.5", "1")
    config = CompressionConfig(data=str(pairs), domains=("ink", "print"), width=2, blocks=1)
    budget = budget_of(config)
    # XLA's count is that of the convolutions and a little more
    assert budget < student["multiply_adds"] < 1.5 * budget < teacher["multiply_adds"] == largest["multiply_adds"]
    start = (*folder, "--start", str(tmp_path / "largest"), "--budget", str(budget), "--population", "4")
    capsys.readouterr()
    searched = run("searched", *start, "--generations", "1", "--score", "psnr")
    printed = capsys.readouterr().out
    channels = jaxgen.load(tmp_path / "searched").model.generator.channels
    assert f"channels {' '.join(map(str, channels))}" in printed and "psnr from" in printed
    assert 0.7 < searched["multiply_adds"] / student["multiply_adds"] < 1.1
    expected = {"l1", "psnr", "retrieval", "multiply_adds"}
    assert set(teacher) == expected and set(searched) == expected | {"l1_to_teacher"}
    assert (tmp_path / "searched" / "translations.png").stat().st_size > 0
    teachers = [jaxgen.load(tmp_path / name).variables["teacher"] for name in ("student", "largest", "searched")]
    kernels = [tree["params"]["head"]["out"]["kernel"] for tree in teachers]
    assert np.array_equal(kernels[0], kernels[1]) and np.array_equal(kernels[0], kernels[2])
    for arguments, said in (
        (("--fractions", "0.5"), "`teacher` must"),
        ((*folder, "--budget", "3"), "`budget` requires `start`"),
        ((*folder, "--start", str(tmp_path / "teacher"), "--budget", "1e5"), "must hold a DistilledPix2Pix"),
        ((*folder, "--start", str(tmp_path / "student"), "--budget", "1e5"), "`start` must be a run with `fractions`"),
        ((*start, "--score", "label_back_iou"), "`score` must"),
        ((*start[:4], "--budget", "5"), "`budget` must allow"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            run("refused", *arguments)
        assert stopped.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.slow
def test_a_cycle_gan_is_compressed_without_pairs(pairs, tmp_path, monkeypatch, capsys):
    def run(module, config, out, *arguments):
        words = ["--data", str(pairs), "--domains", "ink", "print", "--out", str(tmp_path / out), "--preset", "small"]
        monkeypatch.setattr(sys, "argv", ["program", *words, "--steps", "4", "--blocks", "1", *arguments])
        main(config, module.build)
        return json.loads((tmp_path / out / "result.json").read_text())["test"]

    run(cycle_gan, CycleGANConfig, "teacher", "--network", "separable", "--width", "4", "--critic-widths", "2", "4")
    student = (
        gan_compression, CompressionConfig, "student", "--width", "2", "--halvings", "3",
        "--teacher", str(tmp_path / "teacher"), "--unpaired", "--kernel-size", "5", "--eval-every", "4",
    )  # fmt: skip
    tested = run(*student, "--target", "teacher")
    x = np.load(pairs)["ink_test"]
    teacher, trained = jaxgen.load(tmp_path / "teacher"), jaxgen.load(tmp_path / "student")
    example = teacher.translate(x)
    np.testing.assert_array_equal(trained.teach(x), example)
    l1 = np.abs(np.float32(trained.translate(x)) - np.float32(example)).mean() / 255
    assert tested["l1"] == pytest.approx(tested["l1_to_teacher"], abs=1e-6) == pytest.approx(l1, abs=1e-4) and l1 > 0.01
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run(*student)
    assert "`unpaired` requires" in capsys.readouterr().err


def test_the_defaults_are_the_papers(pairs):
    config = CompressionConfig(data=str(pairs), domains=("ink", "print"))
    data = config.open()
    teacher = gan_compression.teacher(config, data)
    assert teacher.generator == SlimmableTranslator() == SlimmableTranslator.uniform(64)
    assert teacher.critic == PatchCritic((128, 256, 512, 1024), norm=InstanceNorm)
    assert (teacher.l1_weight, teacher.adversarial_weight) == (100, 1)
    student = gan_compression.distilled(config, teacher, teacher)
    assert (student.layers, student.distillation_weight, student.target) == ((0, 3, 6, 9), 1, "truth")
    assert (config.population, config.generations) == (100, 500)


def test_each_student_is_run_from_what_it_needs(pairs, tmp_path, monkeypatch):
    called = {}

    def experiment(module, out, *arguments):
        words = [word for argument in arguments for word in ([argument] if isinstance(argument, str) else argument)]
        called[out.name] = words
        seed = int(words[words.index("--seed") + 1])
        test = {"l1": 0.1 + 0.02 * seed, "retrieval": 0.5, "multiply_adds": 2e6}
        return {"test": test, "training_seconds": 60, "command": out.name}

    class Loaded:
        model = type("Model", (), {"generator": SlimmableTranslator((3, 4, 5, 4), 1)})

    shown = []
    monkeypatch.setattr(harness, "experiment", experiment)
    monkeypatch.setattr(compression, "load", lambda out: Loaded)
    monkeypatch.setattr(compression, "plot", lambda config: shown.append(config))
    monkeypatch.setattr(compression.plotting, "save", lambda figure, file: shown.append(file.name))
    config = CompressionStudy(data=str(pairs), domains=("ink", "print"), runs=tmp_path, seeds=2, steps=70)
    text = compression.study(config)
    assert set(called) == {f"{harness.slug(n)}-0" for n in TEACHERS} | {
        f"{harness.slug(name)}-{seed}" for name in STUDENTS for seed in range(2)
    }
    assert shown == [config, "compared.png"]

    def value(name, option):
        words = called[name]
        return words[words.index(option) + 1] if option in words else None

    def teacher(name):
        return (folder := value(name, "--teacher")) and folder.rpartition("/")[2]

    trained, nothing = "teacher-0", "untrained_teacher-0"
    assert value(nothing, "--steps") == "1" and value("distilled_twice_the_steps-0", "--steps") == "140"
    assert teacher("from_scratch-0") is None and teacher("distilled_untrained_teacher-1") == nothing
    distilled = ("all_channels-0", "distilled-1", "cut_not_distilled-0", "searched-1", "random_channels-0")
    assert {teacher(name) for name in distilled} == {trained}
    weights = {name: value(name, "--distillation-weight") for name in called}
    assert weights["cut_not_distilled-0"] == "0" and weights["distilled-0"] == "1.0"
    budgets = {value(name, "--budget") for name in ("searched-0", "random_channels-1")}
    assert budgets == {str(compression.budget(config))} and value("distilled-0", "--budget") is None
    assert value("random_channels-0", "--population") == "1" and value("searched-0", "--population") == "24"
    cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line)
    rows = {name: rest for name, *rest in cells}
    assert rows["searched"][:2] == ["2.0 M", "0.1100 ± 0.0100"] and "untrained teacher" not in rows
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert [one["system"] for one in records] == [*TEACHERS, *STUDENTS] and records[0]["seeds"] == 1
