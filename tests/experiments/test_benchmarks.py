"""The benchmarks of flows, autoencoders and adversaries: who is timed, what is compared, what is written."""

import dataclasses
import itertools
import json
import time

import jax
import numpy as np
import pytest
from matplotlib.container import BarContainer

from experiments.benchmarks import (
    adversaries,
    adversary_peers,
    autoencoder_peers,
    autoencoders,
    compare,
    convolutions,
    flows,
    peers,
    reporting,
    scale,
    soak,
    steps,
    streaming,
)
from experiments.benchmarks.peers import Built, Row
from jaxgen.data import image_folder, records

AUTOENCODERS = {
    "vae": autoencoder_peers.Row("vae", (6,), 4, 5, 3),
    "iwae": autoencoder_peers.Row("iwae", (6,), 4, 5, 3, samples=7),
    "vq_vae": autoencoder_peers.Row("vq_vae", (16, 16, 3), 2, 8, 6, codes=9, blocks=2, hidden=4),
}
ADVERSARIES = {
    "points": adversary_peers.Row("wgan_gp", (2,), 4, (5, 5), latents=3, penalty=0.1),
    "images": adversary_peers.Row("wgan_gp", (8, 8, 3), 4, (2, 4), latents=3),
    "dcgan": adversary_peers.Row("dcgan", (8, 8, 3), 4, (2, 4), latents=3),
}
PARAMETERS = {
    # 2 -> 5 -> 5 -> 1 and 3 -> 5 -> 5 -> 2, weights and biases
    "points": (10 + 5) + (25 + 5) + (5 + 1) + (15 + 5) + (25 + 5) + (10 + 2),
    # kernels of 4x4, 3 -> 2 -> 4 channels, a score of 2x2x4; gains and biases of 4 and of 2 channels after a dense
    # layer to 2x2x4 and a 3x3 convolution to 2x4, then one to 3x4
    "images": (96 + 2) + (128 + 4) + (16 + 1) + (48 + 8) + (9 * 4 * 8 + 4) + (9 * 2 * 12 + 12),
    # and in the critic a gain and a bias in place of the second convolution's bias
    "dcgan": (96 + 2) + (128 + 8) + (16 + 1) + (48 + 8) + (9 * 4 * 8 + 4) + (9 * 2 * 12 + 12),
}
MEASURED = ("forward", "input gradient", "kernel gradient")
CALLS = ("train", "log_prob", "sample")
TINY = Row("coupling", "affine", event_shape=(3,), batch=4, layers=1, width=4)


def result():
    """What `main` makes of two libraries, one of which lacks the second row."""
    numbers = {"jaxgen": [2.0, 1.0, 4.0], "zuko": [5.0, 6.0, 4.0]}
    both = {what: numbers for what in compare.MEASURES}
    ours = {what: {"jaxgen": numbers["jaxgen"]} for what in compare.MEASURES}
    return {
        "libraries": ["jaxgen", "zuko"], "not installed": ["nflows"], "rounds": 3, "processors": 2,
        "versions": {"jax": "1"},
        "rows": {
            "first": {"parameters": {"jaxgen": 1234, "zuko": 1220}, "absent": {}, "measures": both},
            "second": {"parameters": {"jaxgen": 10}, "absent": {"zuko": "no images"}, "measures": ours},
        },
    }


def test_ratio_is_that_of_the_best_peer_to_ours():
    assert compare.ratio({"jaxgen": [2, 2, 9], "zuko": [5, 5, 1], "nflows": [4, 3, 3]}) == ("nflows", 1.5)
    assert compare.ratio({"jaxgen": [2.0]}) is None and compare.ratio({"zuko": [2.0]}) is None


def test_unequal_sizes_are_refused():
    compare.check_sizes({"jaxgen": 1000, "zuko": 981, "nflows": 1019})
    with pytest.raises(ValueError, match="zuko's model has 979 parameters, jaxgen's 1,000"):
        compare.check_sizes({"jaxgen": 1000, "zuko": 979})


def test_table_has_units_quartiles_ratios_and_who_is_missing():
    text = compare.markdown(result())
    assert "| first | parameters | 1,234 | 1,220 |  |" in text
    assert "| first | train step, ms | 2,000 (1,500–3,000) | 5,000 (4,500–5,500) | 2.50 (zuko) |" in text
    assert "| second | peak memory, MiB | 2 (1.5–3) | – | – |" in text
    assert "nflows is not installed" in text and "zuko: no images" in text


def test_bars_stand_where_their_figures_are():
    ax = compare.plot(result()).axes[0]
    ours, zuko = (bars for bars in ax.containers if isinstance(bars, BarContainer))
    assert [bar.get_height() for bar in ours] == [2000, 2000] and [bar.get_height() for bar in zuko] == [5000]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["first", "second"]
    assert round(ours[1].get_center()[0]) == 1 and round(zuko[0].get_center()[0]) == 0


def test_unknown_names_are_refused():
    for config in (flows.Flows(rows=("glue",)), flows.Flows(libraries=("pyro",)), flows.Flows(rounds=0)):
        with pytest.raises(ValueError, match=r"got \['glue'\]|got \['pyro'\]|`rounds` must be at least 1, got 0"):
            config.check()


def serve(monkeypatch, *lines, library):
    monkeypatch.setitem(peers.LIBRARIES, "fake", library)
    said = []
    peers.serve("fake", TINY, lines, said.append)
    return said


def test_a_worker_warms_up_and_answers(monkeypatch):
    calls = []

    def call(name, out):
        return lambda: calls.append(name) or out

    built = Built(7, call("train", 1.0), call("log_prob", np.ones(4)), call("sample", np.ones((4, 3))))
    greeting, seconds, memory = serve(monkeypatch, '["log_prob", 5]', '["memory"]', library=lambda row: built)
    assert greeting["parameters"] == 7 and seconds[0] > 0 and seconds[1] > 0 and memory > 1
    assert {name: calls.count(name) for name in CALLS} == {"train": 3, "log_prob": 3 + 5, "sample": 3}
    assert all(len(greeting["warm_up"][name]) == 3 for name in CALLS)


@pytest.mark.parametrize("wrong", [np.full(4, np.nan), np.ones(3)])
def test_a_worker_refuses_wrong_results(wrong, monkeypatch):
    built = Built(7, lambda: 1.0, lambda: wrong, lambda: np.ones((4, 3)))
    with pytest.raises(ValueError, match="finite numbers"):
        serve(monkeypatch, library=lambda row: built)


def test_a_worker_says_that_a_layer_is_not_offered(monkeypatch):
    def library(row):
        raise compare.NotOffered("couplings only")

    assert serve(monkeypatch, '["train", 1]', library=library) == [{"absent": "couplings only"}]


@pytest.mark.slow
def test_our_flow_from_its_process_to_the_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(flows.ROWS, "tiny", TINY)
    monkeypatch.setitem(flows.LIBRARIES, "no_such_package", None)
    monkeypatch.setattr(compare, "SECONDS", 0.01)
    flows.main(flows.Flows(("tiny",), ("jaxgen", "no_such_package"), 2, tmp_path))
    saved = json.loads((tmp_path / "table.json").read_text())
    row = saved["rows"]["tiny"]
    # one and two inputs move the other two: 1 -> 4 -> 4 -> 2 * 2
    assert row["parameters"] == {"jaxgen": (4 + 4) + (16 + 4) + (16 + 4)} and saved["not installed"] == [
        "no_such_package"
    ]
    processor = [f"{what} processor" for what in CALLS]
    firsts = [f"first {what}" for what in (*CALLS, *processor)]
    measured = {*CALLS, *processor, *firsts, "memory"}
    assert set(row["measures"]) == measured
    for what in measured:
        values = row["measures"][what]["jaxgen"]
        assert len(values) == (2 if what in (*CALLS, *processor) else 1) and min(values) > 0
    printed = capsys.readouterr().out
    assert "train step, ms" in printed and "no_such_package is not installed" in printed
    assert all((tmp_path / name).stat().st_size > 100 for name in ("table.md", "plot.png"))


def test_products_of_a_step_by_hand():
    # a pass of 784-200-200-(50, 50), 50-200-200-784, thrice, but for a gradient to the data
    forward = 784 * 200 + 200 * 200 + 200 * 100 + 50 * 200 + 200 * 200 + 200 * 784
    total = sum(product.multiply_adds for product in autoencoder_peers.ROWS["vae"].products())
    assert total == 100 * (3 * forward - 784 * 200)
    # the decoder for each draw
    more = sum(product.multiply_adds for product in autoencoder_peers.ROWS["iwae"].products())
    assert more - total == 100 * 49 * 3 * (50 * 200 + 200 * 200 + 200 * 784)
    rows = [product.rows for product in AUTOENCODERS["vq_vae"].products()]
    # places of 8x8, 4x4 and 16x16 of two images: halved twice, residual, quantized, residual, doubled twice
    assert rows == [2 * 64, *[2 * 16] * 14, 2 * 64, 2 * 256]


def parameters(row):
    """A product's weights and, but for the distances to the codes, its biases."""
    return sum(product.inputs * product.outputs + product.outputs * (product.times > 1) for product in row.products())


@pytest.mark.slow
@pytest.mark.parametrize("model", AUTOENCODERS)
def test_our_autoencoder_is_the_layers_that_are_counted(model):
    said, row = [], AUTOENCODERS[model]
    autoencoder_peers.serve("jaxgen", row, ['["product", 2]', '["train", 1]'], said.append)
    assert said[0]["parameters"] == parameters(row) and np.min(said[1:]) > 0


@pytest.mark.parametrize("model", AUTOENCODERS)
def test_pythaes_autoencoder_is_of_equal_size_and_learns(model, monkeypatch):
    monkeypatch.setattr(compare, "processors", lambda: 1)
    monkeypatch.setattr(compare, "LEARNING_RATE", 1e-2)
    for package in ("torch", "pythae"):
        pytest.importorskip(package)
    row = AUTOENCODERS[model]
    built = autoencoder_peers.pythae(row)
    assert built.parameters == parameters(row) and built.product is None
    losses = [float(built.train()) for _ in range(60)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_floor_is_the_time_of_a_steps_products_at_the_rate_of_its_greatest():
    row = AUTOENCODERS["vae"]
    # of 4 x 6 x 5 multiply-adds thrice at the end, 120 in one product: 120 / s in the first round
    values = {"train processor": [60.0, 60.0], "product processor": [1.0, 0.5], "memory": [1.0]}
    measures = {name: {"jaxgen": v} for name, v in values.items()}
    total = 4 * (2 * 6 * 5 + 3 * (5 * 5 + 5 * 6 + 3 * 5 + 5 * 5 + 5 * 6))
    found = steps.with_floor({"measures": measures, "absent": {}}, row.products())
    assert found["measures"]["floor"]["jaxgen"] == pytest.approx([total / 120, total / 240])
    assert list(found["measures"]) == ["train processor", "product processor", "floor", "memory"]
    assert f"{total * 0.75 / 120 / 60:.0%} of our step" in found["note"] and "[4, 5] x [5, 6]" in found["note"]
    # where we are not timed there is none
    peers_alone = {"measures": {"train": {"pythae": [1.0]}}}
    assert steps.with_floor(peers_alone, row.products()) == peers_alone


def test_unknown_rows_are_refused():
    with pytest.raises(ValueError, match="vqvae"):
        autoencoders.Autoencoders(rows=("vqvae",)).check()
    with pytest.raises(ValueError, match="wgan"):
        adversaries.Adversaries(rows=("wgan",)).check()


def test_products_of_an_adversarial_step_by_hand():
    def total(row):
        return sum(product.multiply_adds for product in row.products())

    # the critic on data and on samples: forward, weights, inputs but the first; between them: forward but the score's,
    # to the inputs, and back from there to the weights and, but from the score's one, to what came in. Samples are
    # forward.
    contest = 2 * (3 * (10 + 25 + 5) - 10)
    penalty = (10 + 25) + (5 + 25 + 10) + (10 + 25 + 5) + (10 + 25)
    assert total(ADVERSARIES["points"]) == 4 * (contest + penalty + 15 + 25 + 10)
    # of 4x4 and 2x2 places, a score of 16 numbers; 16 numbers, then pixels of 2x2 and 4x4 places, each to four
    critic, score, generator = (16 * 96, 4 * 128), 16, (3 * 16, 4 * 9 * 4 * 8, 16 * 9 * 2 * 12)
    contest = 2 * (3 * (sum(critic) + score) - critic[0])
    assert total(ADVERSARIES["images"]) == 4 * (contest + 4 * sum(critic) + 2 * score + sum(generator))
    # the generator: forward, weights, inputs but the noise; the critic forward and back to the samples
    moved = 3 * sum(generator) - generator[0] + 2 * (sum(critic) + score)
    assert total(ADVERSARIES["dcgan"]) == 4 * (contest + sum(generator) + moved)


@pytest.mark.slow
@pytest.mark.parametrize("model", ADVERSARIES)
def test_our_adversaries_are_the_layers_that_are_counted(model):
    said, row = [], ADVERSARIES[model]
    adversary_peers.serve("jaxgen", row, ['["product", 2]', '["train", 1]'], said.append)
    assert said[0]["parameters"] == PARAMETERS[model] and np.min(said[1:]) > 0


@pytest.mark.parametrize("model", ADVERSARIES)
def test_pytorchs_adversaries_are_of_equal_size_and_move(model, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(compare, "processors", lambda: 1)
    row = ADVERSARIES[model]
    assert adversary_peers.torch(row).parameters == PARAMETERS[model]
    networks = adversary_peers.torch_networks(row)
    before = [[p.detach().clone() for p in network.parameters()] for network in networks]
    step = adversary_peers.torch_step(row, *networks)
    assert np.isfinite([float(step()) for _ in range(3)]).all()
    generator, critic = (
        [not torch.equal(a, b) for a, b in zip(old, network.parameters(), strict=True)]
        for old, network in zip(before, networks, strict=True)
    )
    # the bias of a Wasserstein critic's score has no gradient
    assert all(critic[:-1]) and (all(generator) if model == "dcgan" else not any(generator))


def test_pytorchs_transposed_generator_makes_images_of_that_size_with_fewer_weights(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(compare, "processors", lambda: 1)
    row = dataclasses.replace(ADVERSARIES["dcgan"], transposed=True)
    generator, critic = adversary_peers.torch_networks(row)
    assert generator(torch.randn(4, 3)).shape == (4, 3, 8, 8) and critic(torch.randn(4, 3, 8, 8)).shape == (4, 1)
    shorter = (9 * 4 * 8 + 9 * 2 * 12 + 12) - (16 * 4 * 2 + 16 * 2 * 3 + 3)
    assert adversary_peers.torch(row).parameters == PARAMETERS["dcgan"] - shorter


def test_pytorchs_penalty_holds_the_critic_to_slopes_of_one(monkeypatch):
    torch = pytest.importorskip("torch")
    # a critic of slope 3 everywhere, on samples equal to the data: nothing but 0.1 (3 - 1)^2 is left of the loss
    row = adversary_peers.Row("wgan_gp", (2,), 4, (5,), latents=2, penalty=0.1)
    losses = []
    monkeypatch.setattr(compare, "torch_step", lambda parameters, loss: lambda: losses.append(loss()))
    critic = torch.nn.Linear(2, 1)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([[3 * 0.6, 3 * 0.8]]))
    adversary_peers.torch_step(row, lambda noise: torch.from_numpy(row.data()), critic)()
    assert losses[0].item() == pytest.approx(0.1 * 4)
    losses[0].backward()
    # along the weights: d/dw 0.1 (|w| - 1)^2 = 0.2 (|w| - 1) w / |w|
    np.testing.assert_allclose(critic.weight.grad, [[0.4 * 0.6, 0.4 * 0.8]], atol=1e-6)


PROGRAM = """HloModule x
%sum (a: f32[], b: f32[]) -> f32[] {
  ROOT %add = f32[] add(%a, %b)
}
%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %r = (f32[8]{0}, bf16[2,3]{1,0}) all-reduce(%x, %y), to_apply=%sum
}
ENTRY %main (p: f32[8]) -> f32[8] {
  %w = (s32[], f32[8]{0}) while(%t), condition=%c, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %g = f32[16]{0} all-gather-start(%z), dimensions={0}
}
"""


def test_collectives_are_counted_as_often_as_their_loop_turns():
    assert scale.collectives(PROGRAM) == [("all-reduce", 32 + 12, 5), ("all-gather", 64, 1)]


def test_multiply_adds_by_hand():
    def program(x, w, image, kernel):
        y = jax.lax.scan(lambda h, _: (h @ w, None), x, None, length=3)[0]
        return jax.jit(lambda y: y @ w)(y), jax.lax.conv(image, kernel, (1, 1), "VALID")

    arguments = (np.ones((2, 4)), np.ones((4, 4)), np.ones((1, 3, 8, 8)), np.ones((5, 3, 3, 3)))
    assert scale.multiply_adds(jax.make_jaxpr(program)(*arguments).jaxpr) == 4 * (2 * 4 * 4) + 5 * 6 * 6 * 3 * 9


def test_the_sum_of_gradients_against_the_arithmetic_of_a_step():
    config = scale.Scale(teraflops=1.0, gigabytes=1.0)
    # a second of arithmetic, and of 1.5 GB a ring of four sends 2.25 GB
    assert scale.efficiency(4, 0.5e12, 1.5e9, config) == pytest.approx(1 / 3.25)
    assert scale.efficiency(1, 0.5e12, 1.5e9, config) == 1
    with pytest.raises(ValueError, match="`only` must name games of"):
        scale.main(scale.Scale(only=("Glow",)))


def test_the_same_images_are_read_from_a_folder_and_from_array_record(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RESIDENT_BYTES", 0)
    sources = streaming.write(tmp_path, streaming.Streaming(images=12, size=8))
    rows = [sorted(x.tobytes() for x in data.head(20)["x"]) for data in sources.values()]
    assert not any(data.resident for data in sources.values()) and all(len(set(part)) > 8 for part in rows)
    assert list(sources) == ["folder", "array_record"] and sources["folder"].event_shape == (8, 8, 3)


@pytest.mark.slow
def test_waiting_for_data_is_measured(monkeypatch):
    decode = image_folder.decode

    def slow(path):
        time.sleep(0.01)
        return decode(path)

    monkeypatch.setattr(image_folder, "decode", slow)
    config = streaming.Streaming(
        images=24, size=8, batch_size=4, scales=1, depth=1, width=4, workers=(0, 4), steps=3, rounds=2
    )
    measured = streaming.main(config)
    assert set(measured) == {(name, workers) for name in ("folder", "array_record") for workers in (0, 4)}
    for rounds in measured.values():
        names = {"images_per_second", "images_per_processor_second", "wait", "step", "step_processor"}
        assert set(rounds) == names and all(len(values) == 2 for values in rounds.values())
        assert all(0 < wait <= step for wait, step in zip(rounds["wait"], rounds["step"], strict=True))
    # four images of ten milliseconds each, one after another
    assert min(measured["folder", 0]["wait"]) >= 40 > 2 * max(measured["array_record", 0]["wait"])
    assert max(measured["folder", 0]["images_per_second"]) <= 100 < min(measured["folder", 4]["images_per_second"])


def test_soak_compares_the_end_with_a_tenth():
    seconds = tuple(float(i) for i in range(50)) + tuple(50.0 + 2 * i for i in range(50))
    soaked = soak.Soaked(1000, (100.0,) * 20 + (110.0,) * 80, seconds, 5, 0)
    assert soaked.growth == pytest.approx(0.1)
    assert soaked.rate(1) == pytest.approx(10) and soaked.rate(9) == pytest.approx(5)


@pytest.mark.slow
def test_soak_notes_every_hundredth_and_counts_compilations(tmp_path):
    soaked = soak.main(
        soak.Soak(steps=200, log_every=20, eval_every=10, checkpoint_every=10, layers=1, width=4, out=tmp_path)
    )
    assert len(soaked.megabytes) == len(soaked.seconds) == 100 and min(soaked.megabytes) > 50
    assert soaked.compilations > 3 and soaked.late_compilations == 0
    assert json.loads((tmp_path / "soak.json").read_text())["steps"] == 200


@pytest.mark.slow
def test_reports_are_timed_in_turns(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="gan of the plane.*'chess'"):
        reporting.main(reporting.Reporting(rows=("chess",)))
    row = reporting.ROWS["gan of the plane"]
    monkeypatch.setitem(reporting.ROWS, "gan of the plane", (*row[:2], 16))
    measured = reporting.main(reporting.Reporting(("gan of the plane",), seconds=0.01, rounds=2, out=tmp_path))
    rounds = measured["gan of the plane"]
    assert {way: len(values) for way, values in rounds.items()} == {"compiled": 2, "bare": 2, "reported": 2}
    assert reporting.cost({"bare": [1.0, 2.0, 9.0], "reported": [3.0, 2.5, 1.0]}) == pytest.approx(0.25)


def test_convolutions_time_every_form_and_mark_the_one_that_is_taken(monkeypatch, capsys):
    monkeypatch.setattr(convolutions, "SHAPES", (convolutions.Shape(2, 4, 3, 2), convolutions.Shape(2, 5, 20, 2, 2)))
    monkeypatch.setattr(convolutions.os, "sched_setaffinity", lambda process, cores: None)
    monkeypatch.setattr(convolutions, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(convolutions, "torch_functions", lambda *_: dict.fromkeys(MEASURED, {}))
    results = convolutions.main(convolutions.Convolutions(rounds=1))
    for measured in results.values():
        assert tuple(measured) == MEASURED
        assert all(taken in times and min(times.values()) > 0 for taken, times in measured.values())
    assert "Winograd" in results[2, 4, 3, 2, 3, 1]["kernel gradient"][1]
    assert "2x5x5, 20 to 2, 2x2, stride 1 | kernel gradient" in capsys.readouterr().out


def test_forms_of_a_convolution_agree(monkeypatch):
    monkeypatch.setattr(convolutions, "torch_functions", lambda *_: dict.fromkeys(MEASURED, {}))
    shapes = ((2, 4, 3, 2), (2, 5, 20, 2, 2), (2, 8, 20, 2, 3, 2), (2, 8, 3, 2, 4, 2))
    for shape in itertools.starmap(convolutions.Shape, shapes):
        for _, forms in convolutions.functions(shape).values():
            first, *others = (form() for form in forms.values())
            for other in others:
                np.testing.assert_allclose(other, first, rtol=1e-4, atol=1e-4)
