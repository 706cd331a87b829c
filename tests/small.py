"""GANs of few weights for the tests of runs, whose time depends on the size and what they test does not."""

import dataclasses

from gan_tf import gan
from gan_tf.runs import recipe

FEW = {
    "dcgan": {"latent_dim": 8, "generator_widths": (8, 4, 2), "discriminator_widths": (2, 4)},
    "mlp": {"latent_dim": 8, "generator_widths": (8,), "discriminator_widths": (4, 4)},
}


def build(settings: recipe.Settings) -> gan.GAN:
    """Build the recipe's GAN with some thousand weights in place of millions.

    It keeps batch normalisation, dropout or input noise and their seeds, two Adams and their slots, the averages, and
    in "mixed_float16" the loss scaling.
    """
    return recipe.build(dataclasses.replace(settings, **FEW[settings.model]))
