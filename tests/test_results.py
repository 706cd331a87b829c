"""What is made of a run's frames and of images: GIFs, grids, arrays, a picture each; in grey and in colour."""

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from gan_tf import UsageError, files, gif, plots, runs
from gan_tf.runs import results

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


@pytest.mark.parametrize(
    ("count", "labels", "names"),
    [
        (3, [7, 0, 12], ["0000_class7.png", "0001_class0.png", "0002_class12.png"]),
        (10_000, None, ["0000.png", "0001.png", "9999.png"]),
        (10_001, None, ["00000.png", "00001.png", "10000.png"]),
    ],
)
def test_pictures_are_named_by_number_and_class(tmp_path, monkeypatch, count, labels, names):
    written = []
    monkeypatch.setattr(results, "write_png", lambda path, image: written.append(path.name))
    runs.write_images(tmp_path / "each", np.zeros((count, 1, 1, 1), np.uint8), labels)
    assert [*written[:2], written[-1]] == names
    assert len(written) == count
    assert written == sorted(written)


def test_pictures_are_written_into_a_folder_without_others_alone(tmp_path):
    folder = tmp_path / "each"
    folder.mkdir()
    (folder / ".DS_Store").write_bytes(b"left by a system")
    runs.write_images(folder, pictures_of(2, 3))
    with pytest.raises(UsageError, match=r"each is not empty; name a new folder, or empty it"):
        runs.write_images(folder, pictures_of(3, 3))
    assert sorted(path.name for path in folder.iterdir()) == [".DS_Store", "0000.png", "0001.png"]


def test_a_disk_that_is_full_leaves_whole_pictures_alone(tmp_path, monkeypatch):
    def full(self, file, *arguments, **options):
        if len(list((tmp_path / "each").glob("*.png"))) == 2:
            file.write(b"half of a picture")
            raise OSError(28, "No space left on device")
        return save(self, file, *arguments, **options)

    save = Image.Image.save
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(runs.RunError, match="each cannot be written: No space left on device"):
        runs.write_images(tmp_path / "each", pictures_of(4, 3))
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == ["0000.png", "0001.png"]
