"""Networks -> drawings of them: what goes in, what comes out, and the shapes on the way."""

import math
from typing import NamedTuple

import keras
import matplotlib.pyplot as plt
from keras import layers

from gan_tf import UsageError

COLOURS = {"input": "#d9d9d9", "generator": "#ffcf9f", "discriminator": "#a9cbe4"}
GAP = 1.0  # between the middles of two arrays


class Stage(NamedTuple):
    """One layer with weights and what follows it: an arrow of the drawing and the array that it leads to."""

    layer: str  # over the arrow: "conv\n4×4, stride 2"
    rest: list[str]  # below it: "batch norm", "leaky ReLU 0.1"
    shape: tuple[int, ...]  # of one example afterwards: (7, 7, 128)


def plot_networks(generator: keras.Model, discriminator: keras.Model, sample: str = "image") -> plt.Figure:
    """Draw both networks from left to right: an array for each layer with weights, its shape, and the layer's name.

    An array's height stands for the height of an image, its width for the channels, both on scales of their own.

    Args:
        generator: a sequence of layers, from z.
        discriminator: a sequence of layers, to a logit.
        sample: what the generator makes.

    Raises:
        UsageError: a network is no `keras.Sequential`; others cannot be drawn in a line.
    """
    rows = [
        (generator, COLOURS["generator"], ("z", sample)),
        (discriminator, COLOURS["discriminator"], (sample, "logit")),
    ]
    longest = max(len(stages(network)) for network, _, _ in rows)
    figure, both = plt.subplots(2, 1, figsize=(max(6.0, 1.9 * (longest + 1)), 5.0), layout="tight")
    for axes, (network, colour, ends) in zip(both, rows, strict=True):
        _draw(axes, network, colour, ends, longest)
    return figure


def plot_label_ways() -> plt.Figure:
    """Draw where a label goes in: into the generator, and in three ways into the discriminator."""
    g, d, given = COLOURS["generator"], COLOURS["discriminator"], COLOURS["input"]
    label, image = (0.0, 0.0, "label", given), (0.0, 1.0, "image", given)
    naming = [(2.8, 0.0, "class logits", d), (4.2, 0.0, "class loss", d)]
    sums = [(2.8, 0.0, "v · φ", d), (2.8, 1.0, "w · φ + b", d), (4.2, 0.5, "sum: logit", d)]
    ways = {
        "the generator, each time": (
            [
                (0.0, 1.0, "z", given),
                label,
                (1.4, 0.0, "its numbers", g),
                (2.8, 0.5, "layers", g),
                (4.2, 0.5, "image", g),
            ],
            [(0, 3), (1, 2), (2, 3), (3, 4)],
        ),
        "concatenation: the label is one more channel": (
            [image, label, (1.4, 0.0, "its plane", d), (2.8, 0.5, "layers", d), (4.2, 0.5, "logit", d)],
            [(0, 3), (1, 2), (2, 3), (3, 4)],
        ),
        "ACGAN: the label stands only in the loss": (
            [image, label, (1.4, 1.0, "layers", d), (2.8, 1.0, "logit", d), *naming],
            [(0, 2), (2, 3), (2, 4), (4, 5), (1, 5)],
        ),
        "projection: the label chooses a row of weights": (
            [image, label, (1.4, 1.0, "layers: φ", d), (1.4, 0.0, "its row v", d), *sums],
            [(0, 2), (1, 3), (3, 4), (2, 4), (2, 5), (5, 6), (4, 6)],
        ),
    }
    figure, panels = plt.subplots(2, 2, figsize=(12, 4.6), layout="tight")
    for axes, (title, (boxes, arrows)) in zip(panels.flat, ways.items(), strict=True):
        _draw_boxes(axes, boxes, arrows)
        axes.set_title(title, loc="left", fontsize=11)
    return figure


def _draw_boxes(axes: plt.Axes, boxes: list[tuple[float, float, str, str]], arrows: list[tuple[int, int]]) -> None:
    """Draw boxes, (x, y, text, colour) each, and arrows between them, by their numbers; a long one runs below."""
    for x, y, text, colour in boxes:
        axes.add_patch(plt.Rectangle((x - 0.5, y - 0.27), 1.0, 0.54, facecolor=colour, edgecolor="black"))
        axes.text(x, y, text, ha="center", va="center", fontsize=10)
    for start, end in arrows:
        (x, y, *_), (to_x, to_y, *_) = boxes[start], boxes[end]
        low = y == to_y and to_x - x > 2  # past the boxes between
        way = {"arrowstyle": "->", "connectionstyle": "arc3,rad=0.35"} if low else {"arrowstyle": "->"}
        axes.annotate("", (to_x - 0.5, to_y - 0.2 * low), (x + 0.5, y - 0.2 * low), arrowprops=way)
    axes.set(xlim=(-0.6, 4.8), ylim=(-0.95, 1.35))
    axes.axis("off")


def stages(network: keras.Model) -> list[Stage]:
    """Take a network apart into its layers with weights; what is before the first, or flattens, goes with the next."""
    if not isinstance(network, keras.Sequential):
        raise UsageError(f"only a keras.Sequential can be drawn, got {type(network).__name__}")
    found, before = [], []
    for layer in network.layers:
        inner = layer.layer if isinstance(layer, layers.Wrapper) else layer
        if isinstance(layer, layers.Reshape):
            found[-1] = found[-1]._replace(shape=layer.output.shape[1:])
        elif isinstance(inner, layers.Dense | layers.Conv2D | layers.Conv2DTranspose):
            activation = keras.activations.serialize(inner.activation)
            rest = [] if activation == "linear" else [{"relu": "ReLU"}.get(activation, activation)]
            found.append(Stage(",\n".join([*before, in_words(layer)]), rest, layer.output.shape[1:]))
            before = []
        elif not found or isinstance(layer, layers.Flatten):
            before.append(in_words(layer))
        else:
            found[-1] = found[-1]._replace(rest=[*found[-1].rest, in_words(layer)], shape=layer.output.shape[1:])
    return found


def in_words(layer: layers.Layer) -> str:
    """Name a layer as people do."""
    if isinstance(layer, layers.Wrapper):
        around = layer.__class__.__name__.replace("SpectralNormalization", "spectral norm").lower()
        return f"{in_words(layer.layer)},\n{around}"
    if isinstance(layer, layers.Conv2D | layers.Conv2DTranspose):
        kind = "transposed conv" if isinstance(layer, layers.Conv2DTranspose) else "conv"
        height, width = layer.kernel_size
        stride = f", stride {layer.strides[0]}" if layer.strides[0] > 1 else ""
        return f"{kind}\n{height}×{width}{stride}"
    match layer:
        case layers.Dense():
            return "dense"
        case layers.BatchNormalization():
            return "batch norm"
        case layers.LeakyReLU():
            return f"leaky ReLU {layer.negative_slope:g}"
        case layers.Dropout():
            return f"dropout {layer.rate:g}"
        case layers.GaussianNoise():
            return f"noise {layer.stddev:g}"
        case layers.Activation():
            return keras.activations.serialize(layer.activation)
    words = {"MinibatchStddev": "minibatch stddev", "LayerNormalization": "layer norm"}
    name = layer.__class__.__name__
    return words.get(name, name.lower())


def _draw(axes: plt.Axes, network: keras.Model, colour: str, ends: tuple[str, str], longest: int) -> None:
    """Draw one network into a panel."""
    parts = stages(network)
    shapes = [network.input_shape[1:], *(part.shape for part in parts)]
    sides = [_sides(shape) for shape in shapes]
    for i, (shape, (width, height)) in enumerate(zip(shapes, sides, strict=True)):
        fill = COLOURS["input"] if i == 0 else colour
        axes.add_patch(
            plt.Rectangle((i * GAP - width / 2, -height / 2), width, height, facecolor=fill, edgecolor="black")
        )
        axes.text(i * GAP, -0.56, "×".join(map(str, shape)), ha="center", va="top", fontsize=10)
    for i, name in zip((0, len(parts)), ends, strict=True):
        axes.text(i * GAP, -0.70, name, ha="center", va="top", fontsize=10, weight="bold")

    for i, part in enumerate(parts):
        start, end = i * GAP + sides[i][0] / 2 + 0.03, (i + 1) * GAP - sides[i + 1][0] / 2 - 0.03
        axes.annotate("", (end, 0), (start, 0), arrowprops={"arrowstyle": "->"})
        middle = (start + end) / 2
        axes.text(middle, 0.06, part.layer, ha="center", va="bottom", fontsize=9)
        axes.text(middle, -0.06, "\n".join(part.rest), ha="center", va="top", fontsize=8, color="dimgrey")

    axes.set_title(f"{network.name}: {network.count_params():,} parameters", fontsize=11, loc="left")
    axes.set(xlim=(-0.45, longest * GAP + 0.45), ylim=(-0.95, 0.6))
    axes.axis("off")


def _sides(shape: tuple[int, ...]) -> tuple[float, float]:
    """Return the width and height of an array of this shape in a drawing."""
    if len(shape) == 1:
        return 0.07, 0.12 + 0.08 * math.log2(shape[0] + 1)
    return 0.06 + 0.035 * math.log2(shape[-1]), math.sqrt(shape[0] / 28)
