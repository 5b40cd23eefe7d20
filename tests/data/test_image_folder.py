import os

import numpy as np
import pytest
from PIL import Image

from jaxgen.data import ArraySource, DataError, RecordSource, pack, records, source

RNG = np.random.default_rng(0)


def write(folder, name, x=None, mode=None, **options):
    """An image file; by default random, 6 wide and 4 high, RGB."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    x = RNG.integers(0, 256, (4, 6, 3), np.uint8) if x is None else x
    image = Image.fromarray(x)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return x


def flat(folder, n=10):
    return [write(folder, f"{i:02d}.png") for i in range(n)]


def images_of(*parts):
    return sorted(x.tobytes() for part in parts for x in next(part.batches(100))["x"])


@pytest.fixture(params=["resident", "streamed"])
def limit(request, monkeypatch):
    if request.param == "streamed":
        monkeypatch.setattr(records, "RESIDENT_BYTES", 0)
    return request.param


def test_flat_images_are_training_rows_and_are_carved(tmp_path, limit):
    there = flat(tmp_path)
    splits = source(tmp_path)
    assert [len(part) for part in splits] == [8, 1, 1]
    assert images_of(*splits) == sorted(x.tobytes() for x in there)
    for part in splits:
        assert type(part) is (ArraySource if limit == "resident" else RecordSource)
        assert (part.levels, part.num_classes, part.event_shape) == (256, None, (4, 6, 3))
        assert set(part.head(1)) == {"x"} and part.head(1)["x"].dtype == np.uint8
    assert splits.valid.name == f"{tmp_path.name} (valid)"


def test_folders_are_splits_and_classes(tmp_path, limit):
    expected = {}
    for split, names in {"train": "bca", "test": "ca"}.items():
        for name in names:
            for i in range(6):
                x = write(tmp_path, f"{split}/{name}/{i}.png")
                expected[x.tobytes()] = split == "test", "abc".index(name)
    splits = source(tmp_path.name, data_dir=tmp_path.parent)
    assert [len(part) for part in splits] == [17, 1, 12] and splits.train.num_classes == splits.test.num_classes == 3
    for part, test in zip(splits, (False, False, True), strict=True):
        batch = next(part.batches(100))
        assert all(
            expected[x.tobytes()] == (test, label) for x, label in zip(batch["x"], batch["label"], strict=True)
        )
    assert splits.train.conditional().head(2)["context"].shape == (2, 3)


def test_files_of_other_formats_are_read_and_what_is_no_image_is_passed_over(tmp_path):
    grey = RNG.integers(0, 256, (4, 6), np.uint8)
    for name in ("a.png", "b.PNG", "c.bmp", "d.tif", "e.pgm"):
        write(tmp_path, name, grey)
    write(tmp_path, "f.webp", np.repeat(grey[..., None], 3, 2), lossless=True)
    (tmp_path / "f.webp").rename(tmp_path / ".hidden.webp")
    (tmp_path / "labels.csv").write_text("1, 2")
    x = next(source(tmp_path).train.batches(10))["x"]
    assert x.shape == (3, 4, 6, 1) and (x == grey[..., None]).all()


@pytest.mark.parametrize("suffix", ["webp", "jpg"])
def test_colour_survives(tmp_path, suffix):
    x = np.zeros((16, 16, 3), np.uint8) + np.array([200, 100, 20], np.uint8)
    for i in range(3):
        write(tmp_path, f"{i}.{suffix}", x)
    assert np.abs(source(tmp_path).train.arrays["x"].astype(int) - x).max() < 4


def test_palettes_and_bilevel_images_become_plain(tmp_path):
    colours = np.array([[9, 99, 199], [255, 0, 0]], np.uint8)[RNG.integers(0, 2, (4, 6))]
    black = np.where(RNG.random((4, 6)) < 0.5, 0, 255).astype(np.uint8)
    for i in range(3):
        palette = Image.fromarray(colours).quantize(2)
        (tmp_path / "colour").mkdir(exist_ok=True)
        palette.save(tmp_path / "colour" / f"{i}.png")
        write(tmp_path / "black", f"{i}.png", black, "1")
    np.testing.assert_array_equal(source(tmp_path / "colour").train.arrays["x"], colours[None])
    np.testing.assert_array_equal(source(tmp_path / "black").train.arrays["x"], black[None, ..., None])


def rgba(folder):
    write(folder, "05.png", mode="RGBA")


def smaller(folder):
    write(folder, "05.png", np.zeros((4, 5, 3), np.uint8))


def grey(folder):
    write(folder, "05.png", np.zeros((4, 6), np.uint8))


def deep(folder):
    write(folder, "05.png", np.zeros((4, 6), np.uint16))


def cmyk(folder):
    write(folder, "05.jpg", mode="CMYK")


def key(folder):
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).quantize(2).save(folder / "05.gif", transparency=0)


def frames(folder):
    images = [Image.fromarray(np.full((4, 6, 3), i, np.uint8)) for i in (0, 90)]
    images[0].save(folder / "05.gif", save_all=True, append_images=images[1:])


def truncated(folder):
    content = (folder / "05.png").read_bytes()
    (folder / "05.png").write_bytes(content[:-30])


def empty(folder):
    (folder / "05.png").write_bytes(b"")


def text(folder):
    (folder / "05.png").write_text("not an image")


def dangling(folder):
    (folder / "05.png").unlink()
    (folder / "05.png").symlink_to(folder / "none.png")


@pytest.mark.parametrize(
    "spoil, message",
    [
        (rgba, r"05.png must be opaque 8-bit grey \(L\) or RGB, got mode RGBA"),
        (smaller, "05.png must be 6x4 RGB, as .*00.png, got 5x4 RGB; convert all images to the same size"),
        (grey, "05.png must be 6x4 RGB, as .*00.png, got 6x4 grey; .* all to grey or all to RGB"),
        (deep, "05.png must be .* got mode I;16$"),
        (cmyk, "05.jpg must be .* got mode CMYK$"),
        (key, "05.gif must be .* got mode P, transparent$"),
        (frames, "05.gif must hold one frame, got 2"),
        (truncated, "05.png cannot be read as an image: "),
        (empty, "05.png cannot be read as an image: cannot identify"),
        (text, "05.png cannot be read as an image: cannot identify"),
        (dangling, "05.png cannot be read as an image: .*No such file"),
    ],
)
def test_a_wrong_file_is_named_when_it_is_met(tmp_path, monkeypatch, spoil, message):
    flat(tmp_path)
    spoil(tmp_path)
    with pytest.raises(DataError, match=message) as error:
        source(tmp_path)
    assert "\n" not in str(error.value) and str(error.value).startswith(str(tmp_path))
    monkeypatch.setattr(records, "RESIDENT_BYTES", 0)
    splits = source(tmp_path)
    with pytest.raises(DataError, match=message):
        for part in splits:
            next(part.batches(100))


def layout(folder, *names):
    for name in names:
        folder.joinpath(name).mkdir(parents=True) if name.endswith("/") else write(folder, name)


@pytest.mark.parametrize(
    "names, message",
    [
        ((), r"must hold images \(.png, .*\), got none"),
        (("a/b.png", "c/"), "c must hold images .* got none"),
        (("train/a.png", "test/"), "test must hold images .* got none"),
        (("a.png",), "at least 3 examples to be split, got 1"),
        (("a.png", "b/c.png"), "must hold either folders or images, got 'b' and 'a.png'"),
        (("a/b/c.png",), "a is a class and must hold only images, got the folder 'b'"),
        (("train/a/b/c.png",), "train/a is a class .* got the folder 'b'"),
        (("train/a.png", "dev/a.png"), "must hold only 'train', 'valid' and 'test', got 'dev'"),
        (("train/a.png", "b.png"), "must hold only 'train', .* got 'b.png'"),
        (("train/a/0.png", "test/b/0.png"), "test must hold the class 'a', as .*train, got the class 'b'"),
        (("train/a/0.png", "test/0.png"), "test must hold the class 'a', as .*train, got images without classes"),
        (("train/0.png", "test/a/0.png"), "test must hold images without classes, as .*train, got the class 'a'"),
    ],
)
def test_other_layouts_are_refused(tmp_path, names, message):
    layout(tmp_path, *names)
    with pytest.raises(DataError, match=message):
        source(tmp_path)


def test_loops_of_links_end(tmp_path):
    flat(tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    with pytest.raises(DataError, match="a must hold either folders or images, got 'up' and"):
        source(tmp_path / "a")
    (tmp_path / "a" / "up").unlink()
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    with pytest.raises(DataError, match=f"{tmp_path}/a cannot be read: .*[Ss]ymbolic links"):
        source(tmp_path / "a")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_named(tmp_path):
    flat(tmp_path)
    (tmp_path / "05.png").chmod(0)
    with pytest.raises(DataError, match="05.png cannot be read as an image: .*[Pp]ermission"):
        source(tmp_path)


def test_names_of_built_in_sets_come_before_folders(tmp_path):
    flat(tmp_path / "ring")
    assert source("ring", data_dir=tmp_path).train.levels is None
    assert source("./ring", data_dir=tmp_path).train.levels == 256


def test_a_packed_folder_has_the_same_rows(tmp_path, capsys, monkeypatch):
    for split in ("train", "valid", "test"):
        for name in "ab":
            for i in range(3):
                write(tmp_path, f"My Photos/{split}/{name}/{i}.png", mode="P" if i == 2 else None)
    folder, sets = tmp_path / "My Photos", tmp_path / "sets"
    assert pack.main([str(folder), "--data-dir", str(sets)]) == 0
    assert capsys.readouterr().out.endswith("tfds:my_photos is ready\n")
    monkeypatch.setattr(records, "RESIDENT_BYTES", 0)
    for ours, packed in zip(source(folder), source("tfds:my_photos", data_dir=sets), strict=True):
        a, b = (next(part.batches(10)) for part in (ours, packed))
        rows = [sorted((x.tobytes(), int(y)) for x, y in zip(c["x"], c["label"], strict=True)) for c in (a, b)]
        assert rows[0] == rows[1] and len(rows[0]) == 6
        assert (packed.levels, packed.num_classes, packed.event_shape) == (256, 2, (4, 6, 3))
    assert pack.main([str(folder), "--data-dir", str(sets)]) == 2
    assert "exists already: choose another --name or --data-dir" in capsys.readouterr().err


def test_what_cannot_be_packed_is_named_and_leaves_nothing(tmp_path, capsys):
    flat(tmp_path / "photos")
    truncated(tmp_path / "photos")
    assert pack.main([str(tmp_path / "photos"), "--data-dir", str(tmp_path / "sets")]) == 2
    assert "05.png cannot be read as an image" in capsys.readouterr().err
    assert not list(tmp_path.glob("sets/**/*.array_record*"))
    assert pack.main([str(tmp_path / "photos"), "--name", "3 d"]) == 2
    assert "`name` must be lower-case letters, digits and _, a letter first, got '3 d'" in capsys.readouterr().err
