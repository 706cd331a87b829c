"""What is made of a run's frames and of images: GIFs, grids, arrays, a picture each; in grey and in colour."""

import io
import sys

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from gan_tf import UsageError, files, folders, gif, plots, runs

# The progress GIF.


def frames_of(folder, *frames: np.ndarray) -> None:
    (folder / "frames").mkdir()
    for number, frame in enumerate(frames):
        files.write_png(folder / "frames" / f"{number:09d}.png", frame)


@pytest.mark.parametrize(
    ("rows", "columns", "side", "times"),
    [(5, 5, 28, 2), (5, 10, 28, 2), (5, 5, 16, 4), (5, 5, 32, 2), (5, 5, 64, 1), (5, 10, 128, 1)],
)
@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "colour"])
def test_small_frames_are_enlarged_and_large_ones_are_not(tmp_path, rows, columns, side, times, channels):
    """A frame of 28x28 images twice, however many columns it has."""
    frame = 255 * np.random.default_rng(0).integers(0, 2, (rows * side, columns * side, *channels), np.uint8)
    frames_of(tmp_path, frame)
    runs.write_gif(tmp_path, tmp_path / "out.gif")
    shown = iio.imread(tmp_path / "out.gif", mode="RGB", index=0)
    assert shown.shape == (times * rows * side + gif.CAPTION_HEIGHT, times * columns * side, 3)
    expected = plots.enlarge(frame, times) if channels else np.stack([plots.enlarge(frame, times)] * 3, axis=-1)
    np.testing.assert_array_equal(shown[: times * rows * side], expected)


def test_frames_in_colour_make_a_gif_in_colour(tmp_path):
    frames = np.zeros((3, 140, 140, 3), np.uint8)
    frames[0, ..., 0], frames[1, ..., 1], frames[2, ..., 2] = 200, 150, 100
    frames_of(tmp_path, *frames)
    runs.write_gif(tmp_path, tmp_path / "out.gif")
    shown = iio.imread(tmp_path / "out.gif", mode="RGB", index=...)
    np.testing.assert_array_equal(shown[:, :280:2, ::2], frames)
    assert shown[:, 280:].max() == 255, "and a caption in white"


@pytest.mark.parametrize(
    ("unlike", "line"),
    [
        (np.zeros((140, 140, 3), np.uint8), "000000002.png is in colour, the frames before are grey; delete it"),
        (np.zeros((70, 70), np.uint8), "000000002.png has another size than the frames before; delete it"),
        (np.zeros((70, 140), np.uint8), "000000002.png has another size than the frames before; delete it"),
    ],
)
def test_frames_that_are_unlike_the_others_are_refused(tmp_path, unlike, line):
    frames_of(tmp_path, *np.zeros((2, 140, 140), np.uint8), unlike)
    with pytest.raises(runs.RunError, match=line) as error:
        runs.write_gif(tmp_path, tmp_path / "out.gif")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out.gif").exists()


def test_a_grey_frame_among_those_in_colour_is_refused(tmp_path):
    frames_of(tmp_path, np.zeros((140, 140, 3), np.uint8), np.zeros((140, 140), np.uint8))
    with pytest.raises(runs.RunError, match=r"000000001.png is grey, the frames before are in colour; delete it"):
        runs.write_gif(tmp_path, tmp_path / "out.gif")


# Images, written in three ways.


def pictures_of(count: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 20, channels), np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_written_as_a_grid_an_array_or_a_picture_each(tmp_path, channels):
    images = pictures_of(6, channels)
    for name in ("grid.png", "array.npz", "each"):
        runs.write_images(tmp_path / name, images, columns=2)
    np.testing.assert_array_equal(iio.imread(tmp_path / "grid.png"), plots.image_grid(images, 2))
    with np.load(tmp_path / "array.npz") as archive:
        np.testing.assert_array_equal(archive["images"], images)
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == [f"{number:04d}.png" for number in range(6)]
    each = [iio.imread(tmp_path / "each" / f"{number:04d}.png") for number in range(6)]
    np.testing.assert_array_equal(np.reshape(each, images.shape), images)
    assert each[0].ndim == (2 if channels == 1 else 3)


def each(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("count", "labels", "expected"),
    [
        (3, [7, 0, 12], ["0000-class7.png", "0001-apple.png", "0002-class12.png"]),
        (10_000, None, ["0000.png", "0001.png", "9999.png"]),
        (10_001, None, ["00000.png", "00001.png", "10000.png"]),
    ],
)
def test_pictures_are_named_by_number_and_class(tmp_path, monkeypatch, count, labels, expected):
    """In the order of their numbers, whatever the classes."""
    monkeypatch.setattr(Image.Image, "save", lambda self, path: path.touch())
    monkeypatch.setattr(files, "_to_disk", lambda path: None)
    runs.write_images(tmp_path / "each", np.zeros((count, 1, 1, 1), np.uint8), labels, names=["apple"])
    written = each(tmp_path / "each")
    assert [*written[:2], written[-1]] == expected
    assert len(written) == count


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("apple", "apple"),
        ("Ankle boot", "Ankle boot"),
        ("猫", "猫"),
        ("T-shirt/top", "T-shirt_top"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ('\\:*?"<>|', "________"),
        ("two\nlines\0", "two_lines_"),
        ("no text: \udcff", "no text_ _"),
        ("x" * 300, "x" * 100),
        ("猫" * 300, "猫" * 33),  # of three bytes each
        ("..", ".."),
        ("", ""),
    ],
)
def test_a_class_s_name_is_one_that_a_file_can_have(tmp_path, name, expected):
    """Two classes that look alike then still have files of their own, by their numbers."""
    runs.write_images(tmp_path / "each", pictures_of(2, 3), [0, 1], names=[name, name])
    assert each(tmp_path / "each") == [f"0000-{expected}.png", f"0001-{expected}.png"]
    assert each(tmp_path) == ["each"]


def test_pictures_are_written_into_a_folder_without_others_alone(tmp_path):
    folder = tmp_path / "each"
    folder.mkdir()
    (folder / ".DS_Store").write_bytes(b"left by a system")
    before = folder.stat().st_ino
    runs.write_images(folder, pictures_of(2, 3))
    with pytest.raises(UsageError, match=r"each is not empty; name a new folder, or empty it"):
        runs.write_images(folder, pictures_of(3, 3))
    assert each(folder) == [".DS_Store", "0000.png", "0001.png"]
    assert folder.stat().st_ino == before, "the folder itself is the one that was there"


@pytest.mark.parametrize("there", [False, True])
def test_a_disk_that_is_full_leaves_nothing(tmp_path, monkeypatch, there):
    def full(self, path, *arguments, **options):
        if path.name == "0002.png":
            path.write_bytes(b"half of a picture")
            raise OSError(28, "No space left on device")
        return save(self, path, *arguments, **options)

    if there:
        (tmp_path / "each").mkdir()
    save = Image.Image.save
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(runs.RunError, match="each cannot be written: No space left on device"):
        runs.write_images(tmp_path / "each", pictures_of(4, 3))
    assert list(tmp_path.rglob("*")) == [tmp_path / "each"] * there


@pytest.mark.parametrize("delay", [0, 1e9])
def test_only_what_takes_long_shows_how_far_it_is(tmp_path, monkeypatch, delay):
    monkeypatch.setitem(folders.BAR, "delay", delay)
    monkeypatch.setattr(sys, "stderr", terminal := io.StringIO())
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    runs.write_images(tmp_path / "each", pictures_of(4, 1))
    assert ("writing" in terminal.getvalue()) == (delay == 0)
    assert bool(terminal.getvalue()) == (delay == 0)
