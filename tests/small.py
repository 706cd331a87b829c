"""For the tests of runs: GANs of few weights, for time depends on the size and what is tested does not; a signal."""

import dataclasses
import signal

import keras

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


class StopIn(keras.callbacks.Callback):
    """Let the process get a signal in a step of the run."""

    def __init__(self, step: int):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.steps_taken) == self.step:
            signal.raise_signal(signal.SIGTERM)
