"""Grids against a naive loop, captions, and GIFs read back by another library."""

import math

import imageio.v3 as iio
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from gan_tf import plots


def images(count: int, height: int = 3, width: int = 5) -> np.ndarray:
    """Return images without a black pixel, so that an empty cell of a grid can be told from a full one."""
    return np.random.default_rng(0).integers(1, 256, (count, height, width), np.uint8)


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


# Grids.


def naive_grid(images: np.ndarray, columns: int) -> np.ndarray:
    """Copy pixel by pixel."""
    count, height, width = images.shape
    grid = np.zeros((-(-count // columns) * height, columns * width), np.uint8)
    for i in range(count):
        for y in range(height):
            for x in range(width):
                grid[i // columns * height + y, i % columns * width + x] = images[i, y, x]
    return grid


@pytest.mark.parametrize("count", [1, 2, 5, 6, 7, 12])
@pytest.mark.parametrize("columns", [1, 2, 3, 6, 20])
def test_a_grid_is_filled_row_by_row(count, columns):
    np.testing.assert_array_equal(plots.image_grid(images(count), columns), naive_grid(images(count), columns))


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4), (36, 6)])
def test_a_grid_is_about_square_by_default(count, columns):
    np.testing.assert_array_equal(plots.image_grid(images(count)), naive_grid(images(count), columns))


def test_a_grid_takes_images_with_a_channel_and_leaves_them_alone():
    with_channel = images(6)[..., np.newaxis]
    before = with_channel.copy()
    np.testing.assert_array_equal(plots.image_grid(with_channel, 3), naive_grid(images(6), 3))
    np.testing.assert_array_equal(with_channel, before)


@pytest.mark.parametrize("dtype", [np.float32, np.int64, bool])
def test_a_grid_is_made_of_uint8(dtype):
    with pytest.raises(TypeError, match=r"images must be uint8 in \[0, 255\], got"):
        plots.image_grid(images(4).astype(dtype))


@pytest.mark.parametrize("shape", [(0, 3, 5), (3, 5), (4, 3, 5, 3), (2, 4, 3, 5, 1), ()])
def test_a_grid_is_made_of_images(shape):
    with pytest.raises(ValueError, match=r"images must be \(n, height, width, 1\)"):
        plots.image_grid(np.ones(shape, np.uint8))


@pytest.mark.parametrize("columns", [0, -1, -6])
def test_a_grid_has_a_column(columns):
    with pytest.raises(ValueError, match=f"columns must be at least 1, got {columns}"):
        plots.image_grid(images(4), columns)


# Captions.


def test_a_caption_stands_below_the_image():
    image = images(1, 30, 200)[0]
    with_caption = plots.add_caption(image, "12,345 images")
    assert with_caption.dtype == np.uint8
    assert with_caption.shape == (30 + plots.CAPTION_HEIGHT, 200)
    np.testing.assert_array_equal(with_caption[:30], image)
    text = with_caption[30:]
    assert text.max() == 255
    assert (text == 0).mean() > 0.5
    assert (text[:, 4:80] > 0).any(), "it begins at the left"
    assert not text[-1].any(), "and is not cut off below"


def test_another_caption_is_another_picture():
    image = images(1, 30, 200)[0]
    assert (plots.add_caption(image, "64 images") != plots.add_caption(image, "128 images")).any()
    assert not plots.add_caption(image, "")[30:].any()


def test_a_caption_that_is_too_long_is_cut():
    assert plots.add_caption(images(1, 30, 40)[0], "a long line of text " * 10).shape == (50, 40)


# GIFs.


def frames(count: int) -> list[np.ndarray]:
    return list(images(count, 12, 16))


@pytest.mark.parametrize("count", [1, 2, 30])
def test_a_gif_holds_every_frame_in_order_to_the_pixel(count, tmp_path):
    plots.write_gif(tmp_path / "a.gif", frames(count))
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.format == "GIF"
        assert getattr(gif, "n_frames", 1) == count
        for number, frame in enumerate(frames(count)):
            gif.seek(number)
            np.testing.assert_array_equal(gif.convert("L"), frame)


def milliseconds(path) -> list[int]:
    with Image.open(path) as gif:
        shown = []
        for number in range(getattr(gif, "n_frames", 1)):
            gif.seek(number)
            shown.append(gif.info["duration"])
        return shown


def test_a_gif_runs_for_ever_and_rests_on_its_last_frame(tmp_path):
    plots.write_gif(tmp_path / "a.gif", frames(5))
    assert milliseconds(tmp_path / "a.gif") == [150, 150, 150, 150, 2000]
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.info["loop"] == 0, "0 is for ever"


def test_the_times_of_a_gif_can_be_set(tmp_path):
    plots.write_gif(tmp_path / "a.gif", frames(3), frame_seconds=0.05, hold_seconds=1)
    assert milliseconds(tmp_path / "a.gif") == [50, 50, 1000]


def test_equal_frames_keep_their_time(tmp_path):
    """The writer makes one frame of them."""
    first, second = frames(2)
    plots.write_gif(tmp_path / "a.gif", [first, first, second, second])
    assert sum(milliseconds(tmp_path / "a.gif")) == 3 * 150 + 2000


def test_a_gif_gives_up_shades_to_stay_below_a_size(tmp_path):
    """Fewer shades compress better; each pixel is then at most half a step of them off."""
    plots.write_gif(tmp_path / "full.gif", frames(30))
    full = (tmp_path / "full.gif").stat().st_size
    limit = full * 2 // 3
    plots.write_gif(tmp_path / "small.gif", frames(30), max_bytes=limit)
    assert (tmp_path / "small.gif").stat().st_size <= limit
    assert len(milliseconds(tmp_path / "small.gif")) == 30
    small = iio.imread(tmp_path / "small.gif", mode="L").astype(int)
    step = np.diff(np.unique(small)).min()
    assert step > 1
    assert np.abs(small - np.stack(frames(30))).max() <= step / 2 + 1


def test_a_gif_gives_up_frames_where_shades_are_not_enough(tmp_path, capsys):
    """Every second one at a time; the first, the last and the time that it takes stay."""
    whole = np.stack(frames(30))
    for name, count, limit in (("half", 16, 2400), ("quarter", 9, 1400)):
        path = tmp_path / f"{name}.gif"
        plots.write_gif(path, list(whole), max_bytes=limit)
        assert path.stat().st_size <= limit
        assert sum(milliseconds(path)) == 29 * 150 + 2000
        assert milliseconds(path)[-1] == 2000
        small = iio.imread(path, mode="L").astype(int)
        assert len(small) == count
        step = np.diff(np.unique(small)).min()
        assert np.abs(small[[0, -1]] - whole[[0, -1]]).max() <= step / 2 + 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("shape", [(12, 16), (12, 16, 3)], ids=["grey", "colour"])
@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_a_size_that_cannot_be_reached_is_told_and_the_smallest_is_written(count, shape, tmp_path, capsys):
    """After hours of training a GIF that is too large is still better than an error."""
    noise = list(np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8))
    plots.write_gif(tmp_path / "full.gif", noise)
    plots.write_gif(tmp_path / "a.gif", noise, max_bytes=100)
    size = (tmp_path / "a.gif").stat().st_size
    assert size < (tmp_path / "full.gif").stat().st_size
    assert sum(milliseconds(tmp_path / "a.gif")) == (count - 1) * 150 + 2000
    assert len(milliseconds(tmp_path / "a.gif")) == min(count, 2)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{tmp_path / 'a.gif'} has {size:,} bytes, more than 100: it could not be made smaller"]


def test_a_gif_in_colour_gives_up_shades_and_frames_to_stay_below_a_size(tmp_path, capsys):
    noise = list(np.random.default_rng(0).integers(0, 256, (9, 40, 40, 3), np.uint8))
    plots.write_gif(tmp_path / "full.gif", noise)
    full = (tmp_path / "full.gif").stat().st_size
    for share, count in ((0.9, 9), (0.5, 5), (0.25, 3)):
        plots.write_gif(tmp_path / "small.gif", noise, max_bytes=int(share * full))
        assert (tmp_path / "small.gif").stat().st_size <= share * full
        assert len(milliseconds(tmp_path / "small.gif")) == count
    assert capsys.readouterr() == ("", "")


def test_frames_in_colour(tmp_path):
    """A GIF has 256 colours a frame; these frames have two."""
    red_and_blue = [np.zeros((8, 8, 3), np.uint8) for _ in range(2)]
    red_and_blue[0][..., 0] = 255
    red_and_blue[1][..., 2] = 255
    plots.write_gif(tmp_path / "a.gif", red_and_blue)
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.gif", mode="RGB"), red_and_blue)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("No space left on device")])
@pytest.mark.parametrize("function", ["os.fsync", "pathlib.Path.replace"])
def test_an_interrupted_gif_leaves_the_old_one_and_nothing_else(function, error, tmp_path, monkeypatch):
    """The new bytes are written, and the error comes before the file has its name."""
    plots.write_gif(tmp_path / "a.gif", frames(3))
    before = (tmp_path / "a.gif").read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(function, fail)
    with pytest.raises((KeyboardInterrupt, OSError)):
        plots.write_gif(tmp_path / "a.gif", frames(4))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.gif": before}


def test_a_gif_replaces_an_older_one(tmp_path):
    plots.write_gif(str(tmp_path / "a.gif"), frames(3))
    plots.write_gif(str(tmp_path / "a.gif"), frames(4))
    assert len(milliseconds(tmp_path / "a.gif")) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_a_gif_needs_a_frame(tmp_path):
    with pytest.raises(ValueError, match="a GIF needs at least one frame"):
        plots.write_gif(tmp_path / "a.gif", [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_frames_are_uint8(dtype, tmp_path):
    """One frame that is not is enough."""
    with pytest.raises(TypeError, match=rf"frames must be uint8 in \[0, 255\], got {np.dtype(dtype)}"):
        plots.write_gif(tmp_path / "a.gif", [*frames(2), frames(1)[0].astype(dtype)])
    assert list(tmp_path.iterdir()) == []


def test_frames_have_one_shape(tmp_path):
    with pytest.raises(ValueError, match="must have the same shape"):
        plots.write_gif(tmp_path / "a.gif", [*frames(2), images(1)[0]])
    assert list(tmp_path.iterdir()) == []


# Figures: what is drawn, read back from Matplotlib.


def test_plot_images_shows_the_grid_in_full_range():
    """Dark images stay dark: the grey levels are those of the data, not stretched to what this batch holds."""
    dark = images(6, 28, 28) // 8
    (axes,) = plots.plot_images(dark, "a title", columns=3).axes
    np.testing.assert_array_equal(axes.images[0].get_array(), naive_grid(dark, 3))
    assert axes.images[0].get_clim() == (0, 255)
    assert axes.get_title() == "a title"


def test_plot_images_names_rows_at_their_height():
    (axes,) = plots.plot_images(images(6, 28, 28), columns=3, row_names=["top", "bottom"]).axes
    height = len(axes.images[0].get_array())
    assert [
        (label.get_text(), tick) for label, tick in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
    ] == [
        ("top", height / 4),
        ("bottom", height * 3 / 4),
    ]
    assert len(plots.plot_images(images(6, 28, 28)).axes[0].get_yticks()) == 0


def test_plot_losses_draws_each_player_and_where_neither_knows_better():
    history = {"images": [10, 20, 30], "generator_loss": [0.7, 0.9, 1.0], "discriminator_loss": [1.4, 1.2, 1.1]}
    (axes,) = plots.plot_losses(history).axes
    drawn = {line.get_label().split(":")[0]: line for line in axes.lines}
    for player in ("generator", "discriminator"):
        np.testing.assert_array_equal(drawn[player].get_xydata().T, [history["images"], history[f"{player}_loss"]])
    assert drawn["2 log 2"].get_ydata()[0] == 2 * math.log(2)
    assert drawn["log 2"].get_ydata()[0] == math.log(2)
    assert drawn["2 log 2"].get_color() == drawn["discriminator"].get_color()
    assert axes.get_xlabel() == "images seen"

    axes.figure.canvas.draw()
    legend, curves = axes.get_legend().get_window_extent(), axes.get_window_extent()
    assert curves.x1 <= legend.x0, "the legend covers the curves"
    assert legend.x1 <= axes.figure.bbox.x1, "the legend is cut off"


def test_plot_curves_draws_each_curve_under_its_name():
    curves = {"one": np.array([1.0, 2.0]), "two": np.array([3.0, 5.0])}
    (axes,) = plots.plot_curves([0, 1], curves, "x", "y", "title").axes
    assert [(line.get_label(), line.get_ydata().tolist()) for line in axes.lines] == [("one", [1, 2]), ("two", [3, 5])]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("x", "y", "title")


def test_plot_players_draws_every_point_where_it_is():
    """The discriminator's belief has rows from the bottom up: here it says "real" below, "fake" above."""
    real, fake = np.array([[0.0, -1.0], [0.5, -1.5]]), np.array([[0.0, 1.0]])
    belief = np.repeat([[0.95], [0.05]], 2, axis=1)
    (axes,) = plots.plot_players(real, fake, belief, half_width=2, title="title").axes
    drawn = [line.get_xydata() for line in axes.lines]
    np.testing.assert_array_equal(drawn[0], real)
    np.testing.assert_array_equal(drawn[1], fake)
    assert [line.get_label() for line in axes.lines] == ["real", "fake"]
    assert (axes.get_xlim(), axes.get_ylim(), axes.get_title()) == ((-2, 2), (-2, 2), "title")
    picture = plots.figure_frame(axes.figure).astype(int)
    rows = picture[:, picture.shape[1] // 4]  # a column of pixels without points
    bottom, top = rows[len(rows) * 3 // 4], rows[len(rows) // 4]
    assert bottom[2] > bottom[0], "blue, the colour of real, below"
    assert top[0] > top[2], "orange, the colour of fake, above"


def test_a_figure_becomes_a_frame_and_is_closed(tmp_path):
    frame = plots.figure_frame(plots.plot_curves([0, 1], {"one": [1, 2]}))
    assert frame.dtype == np.uint8
    assert frame.shape[-1] == 3
    assert frame.max() == 255
    assert frame.min() < 50
    assert plt.get_fignums() == []
    plots.write_gif(tmp_path / "a.gif", [frame, 255 - frame])
    assert len(milliseconds(tmp_path / "a.gif")) == 2


def test_plot_discriminators_draws_each_under_its_name():
    x = np.linspace(-1, 1, 5)
    (axes,) = plots.plot_discriminators(x, x**2, 1 - x**2, {"learned": x * 0 + 0.5, "best": x**2}, "title").axes
    assert [line.get_label() for line in axes.lines] == ["D(x): learned", "D(x): best"]
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), x**2)
    assert [line.get_linestyle() for line in axes.lines] == ["-", "--"]
    assert [area.get_label() for area in axes.collections] == ["density of real", "density of fake"]


def texts_of(axes) -> str:
    return " ".join(text.get_text() for text in axes.texts)


def test_the_figure_of_the_train_step_has_a_panel_for_each_player():
    panels = plots.plot_train_step().axes
    for axes, player in zip(panels, ("discriminator", "generator"), strict=True):
        for name in (f"{player}_step", f"{player}_loss", f"{player}_optimizer", "fake_logits", "the tape records"):
            assert name in texts_of(axes)
    assert ["real_logits" in texts_of(axes) for axes in panels] == [True, False]


def box(axes, name: str):
    """Return the smallest rectangle of a panel around the text that begins with a name."""
    place = next(text.get_position() for text in axes.texts if text.get_text().startswith(f"{name}\n"))
    around = [patch for patch in axes.patches if isinstance(patch, plt.Rectangle) and patch.get_bbox().contains(*place)]
    return min((patch.get_bbox() for patch in around), key=lambda bbox: bbox.width)


def test_the_generator_s_gradient_goes_through_the_discriminator_and_ends_in_the_generator():
    axes = plots.plot_train_step().axes[1]
    (way,) = (
        text for text in axes.texts if getattr(text, "arrow_patch", None) and text.arrowprops["linestyle"] == "--"
    )
    (start, y), (end, _) = way.xyann, way.xy
    between, last = box(axes, "discriminator"), axes.patches[0].get_bbox().x0
    assert end < between.x0 < between.x1 < start
    assert between.y0 < y < between.y1
    assert last < end < box(axes, "fake").x0  # on the grey of the tape, and past the images


def test_nothing_of_the_figure_of_the_train_step_is_cut_off():
    figure = plots.plot_train_step()
    figure.canvas.draw()
    for axes in figure.axes:
        inside = axes.get_window_extent()
        for artist in (*axes.texts, *axes.patches):
            extent = artist.get_window_extent()
            assert inside.x0 <= extent.x0 <= extent.x1 <= inside.x1
            assert inside.y0 <= extent.y0 <= extent.y1 <= inside.y1


# Scores.


def test_scores_are_drawn_against_seconds_without_the_row_before_training():
    history = {"seconds": [0.0, 2.0, 5.0], "images": [0.0, 20.0, 50.0], "frechet_distance": [400.0, 90.0, 30.0]}
    (line,) = plots.plot_scores({"one run": history}).axes[0].lines
    assert np.array_equal(line.get_xydata(), [[2.0, 90.0], [5.0, 30.0]])
    assert line.get_label() == "one run"
    axes = plots.plot_scores({"one": history, "two": history}, x="images").axes[0]
    assert [line.get_xydata()[0].tolist() for line in axes.lines] == [[20.0, 90.0]] * 2
    assert axes.get_xlabel() == "images seen"


def test_a_heatmap_writes_each_number_in_its_cell():
    axes = plots.plot_heatmap([[0.0, 2.0, -300.0], [1.0, -1.0, 5.0]], ["a", "b"], ["x", "y", "z"]).axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written[2, 0] == "-300"
    assert written[1, 1] == "-1"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    shades = axes.images[0].get_array()
    assert shades[0, 2] > shades[1, 2] > shades[0, 1] > shades[1, 0] == shades[1, 1] > shades[0, 0] == 0
