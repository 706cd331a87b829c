"""Arrays -> figures and grids. Nothing here trains.

Images are uint8 in [0, 255], of any size: grey (n, height, width, 1) or (n, height, width), in colour (n, height,
width, 3). The column of a history that `x` names is the horizontal axis; `axes` is where to draw, else a new figure.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba_array

REAL_COLOUR = "#1f77b4"
FAKE_COLOUR = "#ff7f0e"
LARGEST = (10.0, 20.0)  # inches of a grid's figure: width and height
REAL_DOT = "#0b3c6b"
FAKE_DOT = "#b03000"
BELIEF = LinearSegmentedColormap.from_list("belief", ["#ffb26e", "white", "#79add2"], N=9)  # D(x) from 0 to 1
PLAYERS_COLOURS = np.round(
    255 * to_rgba_array([*BELIEF(range(9)), REAL_DOT, FAKE_DOT, "#859db5", "#d79780", "black", "dimgrey", "darkgrey"])
)[:, :3].astype(np.uint8)


def image_grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Lay images out in rows, about as many as columns by default; cells without an image are black.

    Returns:
        uint8 (height, width), or (height, width, 3) of images in colour.
    """
    images = _with_channels(images)
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")

    rows = math.ceil(count / columns)
    cells = np.zeros((rows * columns, height, width, channels), np.uint8)
    cells[:count] = images
    grid = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    grid = grid.reshape(rows * height, columns * width, channels)
    return grid if channels == 3 else grid[..., 0]


def _with_channels(images: np.ndarray) -> np.ndarray:
    """Return images as (n, height, width, 1 or 3), or say why they are none."""
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(f"images must be uint8 in [0, 255], got {images.dtype}; data.to_uint8 converts")
    if not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))) or len(images) == 0:
        raise ValueError(f"images must be (n, height, width, 1 or 3) with n of at least 1, got {images.shape}")
    return images[..., np.newaxis] if images.ndim == 3 else images


def enlarge(image: np.ndarray, times: int) -> np.ndarray:
    """Make a square of so many times as many pixels of each pixel of an image (height, width) or (height, width, 3)."""
    return image.repeat(times, axis=0).repeat(times, axis=1)


def plot_images(images: np.ndarray, title: str = "", columns: int | None = None, row_names=()) -> plt.Figure:
    """Draw a grid of images, its rows named on the left.

    A pixel gets about three screen pixels, or less, so that the figure has at most 10 by 20 inches.
    """
    grid = image_grid(images, columns)
    height, width = grid.shape[:2]
    names, heading = 1.2 * bool(row_names), 0.4 * bool(title)
    inches = min(1 / 60, (LARGEST[0] - names) / width, (LARGEST[1] - heading) / height)
    figure, axes = plt.subplots(figsize=(width * inches + names, height * inches + heading))

    axes.imshow(grid, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if inches == 1 / 60 else "antialiased")
    axes.set_title(title)
    axes.set_frame_on(False)
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.set_yticks((np.arange(len(row_names)) + 0.5) * height / max(1, len(row_names)), row_names)
    figure.tight_layout()
    return figure


def plot_losses(history: dict[str, list[float]], x: str = "images") -> plt.Figure:
    """Draw `generator_loss` and `discriminator_loss`, with the values at which neither knows better than a coin."""
    figure, axes = plt.subplots(figsize=(9, 3.5))

    axes.plot(history[x], history["discriminator_loss"], color=REAL_COLOUR, label="discriminator")
    axes.plot(history[x], history["generator_loss"], color=FAKE_COLOUR, label="generator")
    axes.axhline(2 * math.log(2), color=REAL_COLOUR, linestyle=":", label="2 log 2: D says 1/2 everywhere")
    axes.axhline(math.log(2), color=FAKE_COLOUR, linestyle=":", label="log 2: D says 1/2 of every fake")

    axes.set_xlabel(f"{x} seen")
    axes.set_ylabel("loss (nats)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))  # off the curves
    figure.tight_layout()
    return figure


def plot_scores(histories: dict[str, dict[str, list[float]]], x: str = "seconds", axes=None) -> plt.Figure:
    """Draw the `frechet_distance` of each run, by its label, against time, both on logarithmic axes.

    The row before training, at 0, is left out.
    """
    axes = plt.subplots(figsize=(7, 3.5), layout="tight")[1] if axes is None else axes

    for label, history in histories.items():
        rows = [(at, score) for at, score in zip(history[x], history["frechet_distance"], strict=True) if at > 0]
        axes.loglog(*np.transpose(rows), ".-", label=label)

    axes.set(xlabel=f"{x} of training" if x == "seconds" else f"{x} seen", ylabel="Fréchet distance")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    return axes.figure


def plot_heatmap(values, rows: list[str], columns: list[str], title: str = "") -> plt.Figure:
    """Draw a table of changes, (rows, columns): each number in its cell, darker the larger it is, up or down.

    The scale of the colours is logarithmic, white for no change.
    """
    values = np.asarray(values)
    figure, axes = plt.subplots(figsize=(1.0 * len(columns) + 2, 0.5 * len(rows) + 1.4), layout="tight")

    colours = np.log10(1 + np.abs(values))
    axes.imshow(colours, cmap="Blues", vmin=0, vmax=3, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        shade = "white" if colours[row, column] > 1.8 else "black"
        axes.text(column, row, f"{value:+.0f}", ha="center", va="center", color=shade)

    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_title(title)
    return figure


def plot_curves(x, curves: dict, xlabel: str = "", ylabel: str = "", title: str = "") -> plt.Figure:
    """Draw curves, from a label to (n,) numbers, over x, (n,)."""
    figure, axes = plt.subplots(figsize=(6, 3.5))
    for label, y in curves.items():
        axes.plot(x, y, label=label)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.legend()
    figure.tight_layout()
    return figure


def plot_players(real, fake, probabilities, *, half_width: float, title: str = "", axes=None) -> plt.Figure:
    """Draw a square of the plane: what the discriminator believes, with real and generated points on it, (n, 2) each.

    `probabilities` (rows, columns) is D on a regular grid over the square, rows from the bottom up. The origin is in
    the middle, `half_width` from each side.
    """
    axes = plt.subplots(figsize=(3.0, 3.2), layout="tight")[1] if axes is None else axes

    y, x = (np.linspace(-half_width, half_width, size) for size in probabilities.shape)
    axes.contourf(x, y, probabilities, np.linspace(0, 1, 10), cmap=BELIEF)
    axes.plot(*np.transpose(real), ".", color=REAL_DOT, markersize=2, label="real")
    axes.plot(*np.transpose(fake), ".", color=FAKE_DOT, markersize=2, label="fake")

    limits = (-half_width, half_width)
    axes.set(xlim=limits, ylim=limits, xticks=[], yticks=[], title=title, aspect="equal")
    return axes.figure


def figure_frame(figure: plt.Figure) -> np.ndarray:
    """Return a figure's pixels as a frame (height, width, 3), and close it.

    Each pixel takes the nearest of the 16 colours of `plot_players`, which saves a third of a GIF.
    """
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    plt.close(figure)

    distances = np.abs(pixels[..., np.newaxis, :] - PLAYERS_COLOURS).sum(axis=-1)
    return PLAYERS_COLOURS[distances.argmin(axis=-1)]


def plot_train_step() -> plt.Figure:
    """Draw the two steps of an iteration: forward in black, what the tape records on grey, gradients back in colour."""
    figure, (first, second) = plt.subplots(2, 1, figsize=(11, 6.4), height_ratios=(4.1, 2.9), layout="tight")
    shades = {REAL_COLOUR: "#d3e5f3", FAKE_COLOUR: "#ffe3c8", "black": "white", "dimgrey": "white"}
    discriminator, real, fake = "discriminator\n\none network,\none set of\nweights", 2.4, 0.9

    for axes, colour, player, tape, back, names, boxes in (
        (first, REAL_COLOUR, "discriminator", 5.95, 7.5, "both logits", (
            (6.9, (real + fake) / 2, discriminator, 2.5, REAL_COLOUR),
            (11.0, (real + fake) / 2, "discriminator_loss\na scalar", 2.5, REAL_COLOUR),
            (2.9, fake, "generator\nnot asked", 1.0, "dimgrey"),
        )),
        (second, FAKE_COLOUR, "generator", 1.95, 3.2, "fake_logits, discriminator and fake", (
            (6.9, fake, "discriminator\nread, not changed", 1.0, "dimgrey"),
            (11.0, fake, "generator_loss\na scalar", 1.0, FAKE_COLOUR),
            (2.9, fake, "generator", 1.0, FAKE_COLOUR),
        )),
    ):  # fmt: skip
        rows = {"real": real, "fake": fake} if axes is first else {"fake": fake}
        top = max(rows.values()) + 1.0
        axes.set(xlim=(-0.1, 12.2), ylim=(-0.55, top + 0.35))
        axes.axis("off")
        axes.add_patch(plt.Rectangle((tape, 0.25), 12.1 - tape, top - 0.25, facecolor="#ececec"))

        images = [(4.9, y, f"{name}\n(batch, 28, 28, 1)", 1.0, "black") for name, y in rows.items()]
        logits = [(8.95, y, f"{name}_logits\n(batch, 1)", 1.0, "black") for name, y in rows.items()]
        for x, y, text, height, edge in (*boxes, *images, *logits, (0.9, fake, "fresh z\n(batch, 100)", 1.0, "black")):
            corner, style = (x - 0.85, y - height / 2), {"edgecolor": edge, "facecolor": shades[edge]}
            axes.add_patch(plt.Rectangle(corner, 1.7, height, linewidth=1.8, **style))
            axes.text(x, y + 0.12, text, ha="center", va="center")

        forward = [(x, y) for y in rows.values() for x in (4.9, 6.9, 8.95)] + [(0.9, fake), (2.9, fake)]
        ways = [
            ((x + 0.85, y + 0.12), (x + (1.2 if x > 8 or x == 6.9 else 1.15), y + 0.12), "black", "-")
            for x, y in forward
        ]
        ways += [((10.9, y - 0.3), (back, y - 0.3), colour, "--") for y in rows.values()]
        for start, end, shade, line in ways:
            head = {"arrowstyle": "-|>", "mutation_scale": 16, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", end, start, arrowprops=head | {"color": shade, "linestyle": line})

        axes.text(0, top + 0.15, f"{player}_step", weight="bold", va="center")
        axes.text(12.0, top - 0.2, "the tape records what lies on grey", ha="right", va="center")
        told = f"the gradient goes back through {names}; {player}_optimizer changes the {player} only"
        axes.text(12.1, -0.15, told, color=colour, ha="right", va="center")
    return figure


def plot_discriminators(x, real_density, fake_density, probabilities: dict, title: str = "") -> plt.Figure:
    """Draw two densities over x as areas, and over them D(x) of discriminators, by their labels; all (n,).

    The last is dashed, as the one that the others are compared with.
    """
    figure, axes = plt.subplots(figsize=(7, 4.6))
    axes.fill_between(x, real_density, color=REAL_COLOUR, alpha=0.25, label="density of real")
    axes.fill_between(x, fake_density, color=FAKE_COLOUR, alpha=0.25, label="density of fake")

    for number, (label, y) in enumerate(probabilities.items(), start=2):  # C0 and C1 are real and fake
        axes.plot(x, y, color=f"C{number}", alpha=0.6, linewidth=3, label=f"D(x): {label}")
    axes.lines[-1].set(color="black", alpha=1.0, linestyle="--", linewidth=1.5)

    axes.set(xlabel="x", ylabel="lines: D(x); areas: density", title=title)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    figure.tight_layout()
    return figure
