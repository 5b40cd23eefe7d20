"""Pictures: what is drawn where, and what cannot be drawn."""

import numpy as np
import pytest

from jaxgen import plotting


def test_grid_puts_each_image_in_its_place():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1) * 40
    tiled = plotting.grid(np.broadcast_to(images, (6, 2, 3, 1)), columns=3)
    assert tiled.shape == (2 * 3 + 1, 3 * 4 + 1, 3)
    for i in range(6):
        row, column = divmod(i, 3)
        tile = tiled[row * 3 + 1 : row * 3 + 3, column * 4 + 1 : column * 4 + 4]
        np.testing.assert_allclose(tile, i * 40 / 255)
    assert (tiled[0] == 1).all() and (tiled[:, 0] == 1).all() and (tiled[-1] == 1).all()


def test_grid_scales_few_levels_and_clips_floats():
    for top in (1, 16, 255):
        two = np.asarray([top, 0], np.uint8).reshape(2, 1, 1, 1)
        np.testing.assert_allclose(plotting.grid(two)[1, [1, 3]], [[1, 1, 1], [0, 0, 0]])
    np.testing.assert_allclose(plotting.grid(np.full((1, 1, 1, 3), 1.7))[1, 1], 1.0)


def test_rows_stand_one_below_the_other_under_their_names():
    dark, light = np.zeros((3, 2, 4, 1)), np.linspace(0.1, 0.3, 3).reshape(3, 1, 1, 1) * np.ones((3, 2, 4, 1))
    (ax,) = plotting.rows({"dark": dark, "light": light}, "both").axes
    shown = np.asarray(ax.images[0].get_array())
    assert shown.shape == (2 * 3 + 1, 3 * 5 + 1, 3) and ax.get_title() == "both"
    for column, value in enumerate((0.1, 0.2, 0.3)):
        np.testing.assert_allclose(shown[1:3, 5 * column + 1 : 5 * column + 5], 0)
        np.testing.assert_allclose(shown[4:6, 5 * column + 1 : 5 * column + 5], value)
    names = {label.get_text(): place for label, place in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}
    # the middle of each row of images
    assert names == {"dark": 1.5, "light": 4.5}
    with pytest.raises(ValueError, match="as many images in each row, got {'dark': 3, 'light': 2}"):
        plotting.rows({"dark": dark, "light": light[:2]})


def test_samples_beside_data(tmp_path):
    rng = np.random.default_rng(0)
    figure = plotting.samples(rng.normal(size=(50, 2)), rng.normal(size=(30, 2)))
    data, samples = figure.axes
    assert data.get_title() == "data" and len(data.collections[0].get_offsets()) == 30
    assert len(samples.collections[0].get_offsets()) == 50 and data.get_xlim() == samples.get_xlim()
    assert plotting.save(figure, tmp_path / "new" / "picture.png").stat().st_size > 1000
    images = plotting.samples(rng.integers(0, 255, (70, 4, 4, 3)).astype(np.uint8))
    assert len(images.axes) == 1 and images.axes[0].images[0].get_array().shape == (8 * 5 + 1, 8 * 5 + 1, 3)


def test_series_are_drawn_below_each_other_to_one_scale(tmp_path):
    rng = np.random.default_rng(0)
    x, real = rng.uniform(-1, 1, (20, 6, 2)), rng.uniform(-3, 3, (20, 6, 2))
    assert plotting.drawable(x)
    figure = plotting.samples(x, real)
    data, samples = figure.axes
    assert len(samples.lines) == 2 * plotting.SERIES and data.get_ylim() == samples.get_ylim()
    shown = np.stack([line.get_ydata() for line in samples.lines]).reshape(plotting.SERIES, 2, 6)
    np.testing.assert_allclose(shown[0], x[0].T)
    # both channels of a row are moved together, and rows do not meet
    np.testing.assert_allclose(np.ptp((shown - x[:8].transpose(0, 2, 1)).reshape(8, -1), axis=1), 0, atol=1e-12)
    assert (shown[:-1].min((1, 2)) > shown[1:].max((1, 2))).all()
    assert plotting.save(figure, tmp_path / "series.png").stat().st_size > 1000


def test_groups_of_series_are_rows_of_panels_with_a_line_for_each_column_and_common_limits():
    groups = {"data": np.zeros((3, 5, 2)), "generated": np.arange(30.0).reshape(3, 5, 2)}
    axes = plotting.series(groups).axes
    assert len(axes) == 6 and axes[0].get_ylabel() == "data" and axes[3].get_ylabel() == "generated"
    for i, ax in enumerate(axes):
        drawn = np.stack([line.get_ydata() for line in ax.lines], -1)
        np.testing.assert_array_equal(drawn, list(groups.values())[i // 3][i % 3])
        assert ax.get_ylim() == axes[0].get_ylim() and ax.get_ylim()[1] > 29


def test_texts_stand_under_their_names_with_their_breaks_shown(tmp_path):
    figure = plotting.texts({"data": ["a $ b\nc", "d"], "draws": ["$e$"]})
    (text,) = figure.axes[0].texts
    assert text.get_text() == "data\n   a $ b↵c\n   d\n\ndraws\n   $e$\n"
    assert plotting.save(figure, tmp_path / "texts.png").stat().st_size > 1000


@pytest.mark.parametrize("shape", [(5, 3), (5, 4, 4, 2), (5,)])
def test_what_cannot_be_drawn(shape):
    assert not plotting.drawable(np.zeros(shape))
    with pytest.raises(ValueError, match="must be images .* got shape"):
        plotting.samples(np.zeros(shape))


def test_density_has_its_peak_where_it_is():
    figure = plotting.density(lambda x: -((x - np.array([1.0, -2.0])) ** 2).sum(1), limit=4, points=81)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    np.testing.assert_allclose([column / 10 - 4, row / 10 - 4], [1, -2], atol=0.06)


def test_curves_share_a_panel_with_their_validation():
    lines = [
        {"step": 1, "flow/loss": 3.0, "flow/bits_per_dim": 2.0, "steps_per_second": 9.0},
        {"step": 1, "valid/bits_per_dim": 2.5},
        {"step": 2, "flow/loss": 2.0, "flow/bits_per_dim": 1.5, "steps_per_second": 9.0},
    ]
    panels = {
        ax.get_title(): {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
        for ax in plotting.curves(lines).axes
    }
    assert panels["flow/loss"] == {"flow/loss": [[1, 3], [2, 2]]}
    assert panels["bits_per_dim"] == {"valid/bits_per_dim": [[1, 2.5]], "flow/bits_per_dim": [[1, 2], [2, 1.5]]}
    (axes,) = plotting.curves(
        [{"share": 0.1, "recall": 0.9}, {"share": 0.2, "recall": 0.5}], ["recall"], x="share"
    ).axes
    assert axes.lines[0].get_xydata().tolist() == [[0.1, 0.9], [0.2, 0.5]] and axes.get_xlabel() == "share"


def test_spectrum_falls_and_lines_are_as_given():
    (line,) = plotting.spectrum(np.asarray([[0.1, 3.0], [2.0, 0.5]])).axes[0].lines
    np.testing.assert_array_equal(line.get_xydata(), [[1, 3.0], [2, 2.0], [3, 0.5], [4, 0.1]])
    at, values = np.arange(10.0), np.asarray([100.0, 50, 9, 8, 7, 6, 5, 4, 3, 2])
    (axes,) = plotting.lines({"a": (at, values), "b": (at, values + 1)}, "minutes", "nats").axes
    assert [line.get_label() for line in axes.lines] == ["a", "b"] and axes.get_xlabel() == "minutes"
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), np.stack([at, values + 1], 1))
    # the first fifth, 100 and 50, does not squeeze the rest
    low, high = axes.get_ylim()
    assert low < 2 and 10 < high < 11
    (axes,) = plotting.lines({"a": (at, values)}, "minutes", "nats", whole=True).axes
    low, high = axes.get_ylim()
    assert low < 2 and high > 100


def test_points_are_coloured_by_their_labels():
    x = np.arange(12.0).reshape(6, 2)
    (axes,) = plotting.points(x, [3, 1, 3, 1, 1, 3], "latents").axes
    drawn = {group.get_label(): group.get_offsets().tolist() for group in axes.collections}
    assert drawn == {"1": x[[1, 3, 4]].tolist(), "3": x[[0, 2, 5]].tolist()} and axes.get_title() == "latents"
    assert len({tuple(group.get_facecolor()[0]) for group in axes.collections}) == 2
    (axes,) = plotting.points(x).axes
    assert axes.get_legend() is None and len(axes.collections[0].get_offsets()) == 6


def test_histograms_hold_everything_in_shares_of_each_group():
    few, many = np.array([0.0] * 98 + [5000.0, -5000.0]), np.full(1000, 10.0)
    figure = plotting.histograms(
        {"one": {"few": few, "many": many}, "two": {"few": few}}, "nats", {"one": 4.0, "two": 7.0}
    )
    one, two = figure.axes
    assert (one.get_title(), two.get_title(), one.get_xlabel()) == ("one", "two", "nats")
    assert [text.get_text() for text in one.get_legend().get_texts()] == ["few", "many"]
    for bars in one.containers:
        np.testing.assert_allclose(sum(bar.get_height() for bar in bars), 1)
    (tall,) = (bar for bar in one.containers[1] if bar.get_height() > 0)
    assert tall.get_x() < 10 <= tall.get_x() + tall.get_width() and tall.get_height() == pytest.approx(1)
    # what lies far out is counted, but does not squeeze the rest
    assert one.get_xlim()[1] < 1000 and one.get_xlim()[0] > -1000
    assert [ax.lines[0].get_xdata()[0] for ax in (one, two)] == [4, 7]


def test_translated_points_lie_over_the_critics_surface_beside_the_modes_of_their_target():
    points, labels = np.array([[-1.0, 1.0], [0.5, 0.5], [1.0, -1.0]]), np.array([0, 3, 0])
    mesh = plotting.mesh(2.0)
    assert mesh.shape == (10_000, 2) and mesh.dtype == np.float32
    np.testing.assert_array_equal(mesh[[0, 99, -1]], [[-2, -2], [2, -2], [2, 2]])
    # rises to the right, so that its levels are vertical lines
    surfaces = {"second": (mesh[:, 0] + 2) / 4}
    modes = np.array([[1.0, 1.0], [0.0, -1.0]])
    panels = {"first": (points, labels), "second": (points[:1], labels[:1])}
    first, second = plotting.mapped_points(panels, modes, surfaces, 2).axes
    assert first.get_title() == "first" and first.get_xlim() == (-2, 2)
    groups = [np.asarray(group.get_offsets()) for group in first.collections]
    np.testing.assert_array_equal(groups[0], points[[0, 2]])
    np.testing.assert_array_equal(groups[1], points[[1]])
    np.testing.assert_array_equal(groups[2], modes)
    assert len(second.collections) == 3
    (filled,) = (group for group in second.collections if len(group.get_paths()) > 1)
    boxes = [path.get_extents() for path in filled.get_paths()]
    for level, box in enumerate(boxes):
        np.testing.assert_allclose([box.x0, box.x1], [0.4 * level - 2, 0.4 * level - 1.6], atol=0.05)
        np.testing.assert_allclose([box.y0, box.y1], [-2, 2], atol=0.05)


def test_functions_lie_in_bands_of_two_deviations():
    x = np.linspace(0, 1, 5)
    panels = {"some": (np.ones((3, 5)), x, np.full(5, 0.1)), "none": ((), -x, np.full(5, 2.0))}
    some, none = plotting.functions(x, panels, (x[:2], x[:2])).axes
    assert some.get_title() == "some" and (len(some.lines), len(none.lines)) == (4, 1)
    np.testing.assert_array_equal(some.lines[-1].get_ydata(), x)
    assert some.get_ylim() == none.get_ylim() == (-5.0, 4.0)
    band = some.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(-0.2) and band[:, 1].max() == pytest.approx(1.2)
