"""Networks drawn: every layer with weights is an arrow, and each array has the shape that the network computes."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import layers

from gan_tf import UsageError, models, schematics

NETWORKS = {
    "dcgan": (
        models.dcgan_generator(latent_dim=10),
        models.dcgan_discriminator(input_noise=0.2, minibatch_stddev=True),
    ),
    "mlp": (models.mlp_generator(), models.mlp_discriminator()),
}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_shapes_drawn_are_those_that_the_network_computes(name):
    for network in NETWORKS[name]:
        array, computed = np.zeros((2, *network.input_shape[1:]), "float32"), []
        for layer in network.layers:
            array = layer(array)
            computed.append(tuple(array.shape[1:]))
        drawn = [part.shape for part in schematics.stages(network)]
        assert len(drawn) == sum(hasattr(layer, "kernel") for layer in network.layers)
        assert drawn[-1] == computed[-1]
        left = iter(computed)
        assert all(shape in left for shape in drawn)  # in this order


def test_a_network_in_words():
    generator, discriminator = NETWORKS["dcgan"]
    assert schematics.stages(generator)[0] == ("dense", ["batch norm", "leaky ReLU 0.3"], (7, 7, 256))
    assert schematics.stages(generator)[-1] == ("transposed conv\n5×5, stride 2", ["tanh"], (28, 28, 1))
    first, second, logit = schematics.stages(discriminator)
    assert first == ("noise 0.2,\nconv\n5×5, stride 2", ["leaky ReLU 0.3", "dropout 0.3"], (14, 14, 64))
    assert second.rest[-1] == "minibatch stddev"
    assert second.shape == (7, 7, 129)
    assert logit == ("flatten,\ndense", [], (1,))


def test_a_figure_names_both_ends_every_shape_and_the_number_of_parameters():
    generator = keras.Sequential([keras.Input((2,)), layers.Dense(3)], name="generator")
    discriminator = keras.Sequential(
        [keras.Input((3,)), layers.Dense(32, activation="relu"), layers.Dense(1)], name="discriminator"
    )
    above, below = schematics.plot_networks(generator, discriminator, "point").axes
    written = [{text.get_text() for text in axes.texts} for axes in (above, below)]
    assert {"z", "point", "2", "3", "dense"} <= written[0]
    assert {"point", "logit", "3", "32", "1", "dense", "ReLU"} <= written[1]
    assert above.get_title(loc="left") == "generator: 9 parameters"
    assert below.get_title(loc="left") == "discriminator: 161 parameters"


def test_what_has_no_single_line_of_layers_is_refused():
    z = keras.Input((2,))
    branched = keras.Model(z, layers.Dense(1)(z))
    with pytest.raises(UsageError, match=r"only a keras\.Sequential can be drawn, got Functional"):
        schematics.plot_networks(branched, NETWORKS["mlp"][1])


def test_a_label_goes_in_in_three_ways_and_into_the_generator():
    panels = schematics.plot_label_ways().axes
    titles = [axes.get_title(loc="left").split(":")[0] for axes in panels]
    assert titles == ["the generator, each time", "concatenation", "ACGAN", "projection"]
    for axes in panels:
        boxes = [text.get_text() for text in axes.texts if text.get_text()]
        arrows = [text for text in axes.texts if not text.get_text()]
        assert "label" in boxes
        assert len(boxes) == len(axes.patches) - sum(
            patch.__class__.__name__ == "FancyArrowPatch" for patch in axes.patches
        )
        assert len(arrows) >= len(boxes) - 1  # all of them are connected


@pytest.mark.parametrize(
    ("normalization", "words"), [("batch", "batch norm"), ("layer", "layer norm"), ("spectral", "spectral norm")]
)
def test_a_normalisation_is_named(normalization, words):
    """After the second layer of two, or around each."""
    network = models.dcgan_discriminator((2, 4), normalization=normalization)
    parts = schematics.stages(network)
    assert [part.shape for part in parts] == [(14, 14, 2), (7, 7, 4), (1,)]
    named = [words in "".join([part.layer, *part.rest]) for part in parts]
    assert named == ([True] * 3 if normalization == "spectral" else [False, True, False])
