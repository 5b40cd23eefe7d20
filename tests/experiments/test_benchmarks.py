"""The benchmarks of flows and of autoencoders: who is timed, what is compared, what is written."""

import json

import numpy as np
import pytest
from matplotlib.container import BarContainer

from experiments.benchmarks import autoencoder_peers, autoencoders, flows, peers, turns
from experiments.benchmarks.peers import Built, Row

AUTOENCODERS = {
    "vae": autoencoder_peers.Row("vae", (6,), 4, 5, 3),
    "iwae": autoencoder_peers.Row("iwae", (6,), 4, 5, 3, samples=7),
    "vq_vae": autoencoder_peers.Row("vq_vae", (16, 16, 3), 2, 8, 6, codes=9, blocks=2, hidden=4),
}
CALLS = ("train", "log_prob", "sample")
TINY = Row("coupling", "affine", event_shape=(3,), batch=4, layers=1, width=4)


def result():
    """What `main` makes of two libraries, one of which lacks the second row."""
    numbers = {"jaxgen": [2.0, 1.0, 4.0], "zuko": [5.0, 6.0, 4.0]}
    both = {what: numbers for what in turns.MEASURES}
    ours = {what: {"jaxgen": numbers["jaxgen"]} for what in turns.MEASURES}
    return {
        "libraries": ["jaxgen", "zuko"], "not installed": ["nflows"], "rounds": 3, "processors": 2, "versions": {"jax": "1"},
        "rows": {
            "first": {"parameters": {"jaxgen": 1234, "zuko": 1220}, "absent": {}, "measures": both},
            "second": {"parameters": {"jaxgen": 10}, "absent": {"zuko": "no images"}, "measures": ours},
        },
    }


def test_ratio_is_that_of_the_best_peer_to_ours():
    assert turns.ratio({"jaxgen": [2, 2, 9], "zuko": [5, 5, 1], "nflows": [4, 3, 3]}) == ("nflows", 1.5)
    assert turns.ratio({"jaxgen": [2.0]}) is None and turns.ratio({"zuko": [2.0]}) is None


def test_unequal_sizes_are_refused():
    turns.check_sizes({"jaxgen": 1000, "zuko": 981, "nflows": 1019})
    with pytest.raises(ValueError, match="zuko's model has 979 parameters, jaxgen's 1,000"):
        turns.check_sizes({"jaxgen": 1000, "zuko": 979})


def test_table_has_units_quartiles_ratios_and_who_is_missing():
    text = turns.markdown(result())
    assert "| first | parameters | 1,234 | 1,220 |  |" in text
    assert "| first | train step, ms | 2,000 (1,500–3,000) | 5,000 (4,500–5,500) | 2.50 (zuko) |" in text
    assert "| second | peak memory, MiB | 2 (1.5–3) | – | – |" in text
    assert "nflows is not installed" in text and "zuko: no images" in text


def test_bars_stand_where_their_figures_are():
    ax = turns.plot(result()).axes[0]
    ours, zuko = (bars for bars in ax.containers if isinstance(bars, BarContainer))
    assert [bar.get_height() for bar in ours] == [2000, 2000] and [bar.get_height() for bar in zuko] == [5000]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["first", "second"]
    assert round(ours[1].get_center()[0]) == 1 and round(zuko[0].get_center()[0]) == 0


def test_unknown_names_are_refused():
    for config in (flows.Flows(rows=("glue",)), flows.Flows(libraries=("pyro",)), flows.Flows(rounds=0)):
        with pytest.raises(ValueError, match=r"glue|pyro|rounds=0"):
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
    assert greeting["parameters"] == 7 and seconds > 0 and memory > 1
    assert {name: calls.count(name) for name in CALLS} == {"train": 3, "log_prob": 3 + 5, "sample": 3}
    assert all(len(greeting["warm_up"][name]) == 3 for name in CALLS)


@pytest.mark.parametrize("wrong", [np.full(4, np.nan), np.ones(3)])
def test_a_worker_refuses_wrong_results(wrong, monkeypatch):
    built = Built(7, lambda: 1.0, lambda: wrong, lambda: np.ones((4, 3)))
    with pytest.raises(ValueError, match="finite numbers"):
        serve(monkeypatch, library=lambda row: built)


def test_a_worker_says_that_a_layer_is_not_offered(monkeypatch):
    def library(row):
        raise turns.NotOffered("couplings only")

    assert serve(monkeypatch, '["train", 1]', library=library) == [{"absent": "couplings only"}]


def test_our_flow_from_its_process_to_the_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(flows.ROWS, "tiny", TINY)
    monkeypatch.setitem(flows.LIBRARIES, "no_such_package", None)
    monkeypatch.setattr(turns, "SECONDS", 0.01)
    flows.main(flows.Flows(("tiny",), ("jaxgen", "no_such_package"), 2, tmp_path))
    saved = json.loads((tmp_path / "table.json").read_text())
    row = saved["rows"]["tiny"]
    # one and two inputs move the other two: 1 -> 4 -> 4 -> 2 * 2
    assert row["parameters"] == {"jaxgen": (4 + 4) + (16 + 4) + (16 + 4)} and saved["not installed"] == ["no_such_package"]
    measured = {*CALLS, *(f"first {what}" for what in CALLS), "memory"}
    assert set(row["measures"]) == measured
    for what in measured:
        values = row["measures"][what]["jaxgen"]
        assert len(values) == (2 if what in CALLS else 1) and min(values) > 0
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


@pytest.mark.parametrize("model", AUTOENCODERS)
def test_our_autoencoder_is_the_layers_that_are_counted(model):
    said, row = [], AUTOENCODERS[model]
    autoencoder_peers.serve("jaxgen", row, ['["product", 2]', '["train", 1]'], said.append)
    assert said[0]["parameters"] == parameters(row) and min(said[1:]) > 0


@pytest.mark.parametrize("model", AUTOENCODERS)
def test_pythaes_autoencoder_is_of_equal_size_and_learns(model, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    monkeypatch.setattr(autoencoder_peers, "LEARNING_RATE", 1e-2)
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
    measures = {"train": {"jaxgen": [60.0, 60.0]}, "product": {"jaxgen": [1.0, 0.5]}, "memory": {"jaxgen": [1.0]}}
    total = 4 * (2 * 6 * 5 + 3 * (5 * 5 + 5 * 6 + 3 * 5 + 5 * 5 + 5 * 6))
    found = autoencoders.with_floor({"measures": measures, "absent": {}}, row)
    assert found["measures"]["floor"]["jaxgen"] == pytest.approx([total / 120, total / 240])
    assert list(found["measures"]) == ["train", "product", "floor", "memory"]
    assert f"{total * 0.75 / 120 / 60:.0%} of our step" in found["note"] and "[4, 5] x [5, 6]" in found["note"]
    # where we are not timed there is none
    assert autoencoders.with_floor({"measures": {"train": {"pythae": [1.0]}}}, row) == {"measures": {"train": {"pythae": [1.0]}}}


def test_unknown_autoencoders_are_refused():
    with pytest.raises(ValueError, match="vqvae"):
        autoencoders.Autoencoders(rows=("vqvae",)).check()
