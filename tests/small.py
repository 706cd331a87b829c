"""GANs of few weights for the tests of runs, whose time depends on the size and what they test does not."""

from functools import partial
from unittest import mock

from gan_tf import gan, models
from gan_tf.runs import recipe


def build(settings: recipe.Settings) -> gan.GAN:
    """Build the recipe's GAN with some thousand weights in place of millions.

    It keeps batch normalisation, dropout or input noise and their seeds, two Adams and their slots, the averages, and
    in "mixed_float16" the loss scaling.
    """
    few = {
        "mlp_generator": partial(models.mlp_generator, 8, (8,)),
        "mlp_discriminator": partial(models.mlp_discriminator, (4, 4)),
        "dcgan_generator": lambda widths, first_kernel, make=models.dcgan_generator: make(8, (8, 4, 2), first_kernel),
        "dcgan_discriminator": lambda widths, *rest, make=models.dcgan_discriminator, **options: make(
            (2, 4), *rest, **options
        ),
    }
    with mock.patch.multiple(models, **few):
        return recipe.build(settings)
