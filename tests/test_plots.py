"""Grids against a naive loop; figures by what is drawn in them."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest

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
    count, height, width = images.shape[:3]
    grid = np.zeros((-(-count // columns) * height, columns * width, *images.shape[3:]), np.uint8)
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


def coloured(count: int, height: int = 3, width: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (count, height, width, 3), np.uint8)


@pytest.mark.parametrize("count", [1, 5, 12])
@pytest.mark.parametrize("columns", [1, 3, 20])
def test_a_grid_of_images_in_colour_is_in_colour(count, columns):
    np.testing.assert_array_equal(plots.image_grid(coloured(count), columns), naive_grid(coloured(count), columns))


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3)])
def test_an_enlarged_image_has_a_square_for_each_pixel(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    large = plots.enlarge(image, 3)
    assert large.shape == (6, 15, *shape[2:])
    for y in range(6):
        for x in range(15):
            np.testing.assert_array_equal(large[y, x], image[y // 3, x // 3])


@pytest.mark.parametrize("dtype", [np.float32, np.int64, bool])
def test_a_grid_is_made_of_uint8(dtype):
    with pytest.raises(TypeError, match=r"images must be uint8 in \[0, 255\], got"):
        plots.image_grid(images(4).astype(dtype))


@pytest.mark.parametrize("shape", [(0, 3, 5), (0, 3, 5, 3), (3, 5), (4, 3, 5, 2), (4, 3, 5, 4), (2, 4, 3, 5, 1), ()])
def test_a_grid_is_made_of_images(shape):
    with pytest.raises(ValueError, match=r"images must be \(n, height, width, 1 or 3\)"):
        plots.image_grid(np.ones(shape, np.uint8))


@pytest.mark.parametrize("columns", [0, -1, -6])
def test_a_grid_has_a_column(columns):
    with pytest.raises(ValueError, match=f"columns must be at least 1, got {columns}"):
        plots.image_grid(images(4), columns)


# Figures: what is drawn, read back from Matplotlib.


def test_plot_images_shows_the_grid_in_full_range():
    """Dark images stay dark: the grey levels are those of the data, not stretched to what this batch holds."""
    dark = images(6, 28, 28) // 8
    (axes,) = plots.plot_images(dark, "a title", columns=3).axes
    np.testing.assert_array_equal(axes.images[0].get_array(), naive_grid(dark, 3))
    assert axes.images[0].get_clim() == (0, 255)
    assert axes.get_title() == "a title"


def test_plot_images_shows_colours_as_they_are():
    (axes,) = plots.plot_images(coloured(6, 28, 28), columns=3).axes
    np.testing.assert_array_equal(axes.images[0].get_array(), naive_grid(coloured(6, 28, 28), 3))


@pytest.mark.parametrize(
    ("side", "columns", "rows", "inches"),
    [(28, 3, 2, (1.4, 0.93)), (28, 20, 1, (9.33, 0.47)), (128, 10, 2, (10, 2)), (128, 1, 30, (0.67, 20))],
)
def test_a_figure_of_large_images_is_no_larger_than_a_page(side, columns, rows, inches):
    """And one of small images is as large as its pixels are, at 60 an inch."""
    for make in (images, coloured):
        figure = plots.plot_images(make(columns * rows, side, side), columns=columns)
        np.testing.assert_allclose(figure.get_size_inches(), inches, atol=0.01)
    named = plots.plot_images(images(20, 128, 128), "title", columns=10, row_names=["top", "bottom"])
    assert named.get_size_inches()[0] == pytest.approx(10)


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


def test_a_figure_becomes_a_frame_and_is_closed():
    frame = plots.figure_frame(plots.plot_curves([0, 1], {"one": [1, 2]}))
    assert frame.dtype == np.uint8
    assert frame.shape[-1] == 3
    assert frame.max() == 255
    assert frame.min() < 50
    assert plt.get_fignums() == []


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
