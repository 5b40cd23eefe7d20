"""Presets of the command line and pictures of two domains."""

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from experiments import commands
from experiments.translating import TranslationConfig, both, plot_translations
from jaxgen.data import ArraySource, Splits, Zipped


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TranslationConfig):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": {"width": 8, "batch_size": 4}}
    width: int = 64
    batch_size: int = 1


@pytest.mark.parametrize(
    "arguments, width, size",
    [((), 64, 1), (("--preset", "small"), 8, 4), (("--width", "16", "--preset", "small"), 16, 4)],
)
def test_a_preset_changes_defaults_and_arguments_replace_them(monkeypatch, arguments, width, size):
    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    config = commands.parse(Config, "", "program")
    assert (config.width, config.batch_size) == (width, size)
    assert config.preset == ("small" if "small" in arguments else "paper")


def test_fields_of_a_preset_are_not_changes_of_their_own():
    assert Config().changed() == {}
    preset = Config(preset="small", width=8, batch_size=4)
    assert preset.changed() == {"preset": "small"}
    assert dataclasses.replace(preset, width=64).changed() == {"preset": "small", "width": 64}


def test_an_unknown_preset_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["program", "--preset", "tiny"])
    with pytest.raises(SystemExit):
        commands.parse(Config, "", "program")
    assert "tiny" in capsys.readouterr().err


def test_a_condition_is_refused():
    with pytest.raises(ValueError, match="`conditional` must be False: a translation is conditioned on its input"):
        Config(conditional=True).check()


class Inverted:
    """A translation of grey a to coloured b: the negative, once for each channel."""

    def __init__(self, a, b):
        self.model, self.a, self.b = self, a, b

    def translate(self, x, to):
        x = 255 - np.asarray(x)
        return np.repeat(x, 3, -1) if to == "b" else x[..., :1]

    def reconstruct(self, x, domain):
        return x


def test_the_plot_has_a_row_for_input_translation_reconstruction_and_truth():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (3, 8, 8, channels), np.uint8) for channels in (1, 3))
    parts = Zipped({name: ArraySource({"x": x}, levels=256) for name, x in (("a", a), ("b", b))})
    data = Splits(parts, parts, parts)
    domains = both(data)
    assert domains["a"].event_shape == (8, 8, 1) and domains["b"].levels == 256
    figure = plot_translations(data, Inverted(**domains), paired=True)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["input", "translation", "reconstruction", "truth"]
    image = np.round(255 * np.asarray(axes.images[0].get_array()))
    shown = [[image[1 + 9 * i : 9 + 9 * i, 1 + 9 * j : 9 + 9 * j] for j in range(3)] for i in range(4)]
    for j in range(3):
        np.testing.assert_array_equal(shown[0][j], np.repeat(a[j], 3, -1))
        np.testing.assert_array_equal(shown[1][j], 255 - np.repeat(a[j], 3, -1))
        np.testing.assert_array_equal(shown[3][j], b[j])
