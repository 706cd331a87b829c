"""The DCGAN as it is usually written: the contestant that the default recipe and its train step are measured against.

The networks, the loss, Adam at 1e-4 with Keras's other defaults, batches of 256 and 50 epochs are those of TensorFlow's
own DCGAN tutorial; the code is a plain `tf.function` with two tapes, called from a Python loop.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gan_tf import models
from gan_tf.files import write_whole

BATCH_SIZE = 256
EPOCHS = 50


class Tutorial:
    """Both networks, both optimizers and the step; images are float32 (batch, 28, 28, 1) in [-1, 1]."""

    def __init__(self, seed: int):
        keras.utils.set_random_seed(seed)
        self.generator = models.dcgan_generator()
        self.discriminator = models.dcgan_discriminator()
        self.generator_optimizer = keras.optimizers.Adam(1e-4)
        self.discriminator_optimizer = keras.optimizers.Adam(1e-4)
        self.cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def step(self, real: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Take one step for each player; return the generator's and the discriminator's loss."""
        z = tf.random.normal((tf.shape(real)[0], 100))
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            fake = self.generator(z, training=True)
            real_logits = self.discriminator(real, training=True)
            fake_logits = self.discriminator(fake, training=True)
            generator_loss = self.cross_entropy(tf.ones_like(fake_logits), fake_logits)
            real_loss = self.cross_entropy(tf.ones_like(real_logits), real_logits)
            discriminator_loss = real_loss + self.cross_entropy(tf.zeros_like(fake_logits), fake_logits)
        generator_gradients = generator_tape.gradient(generator_loss, self.generator.trainable_variables)
        discriminator_gradients = discriminator_tape.gradient(
            discriminator_loss, self.discriminator.trainable_variables
        )
        self.generator_optimizer.apply_gradients(
            zip(generator_gradients, self.generator.trainable_variables, strict=True)
        )
        self.discriminator_optimizer.apply_gradients(
            zip(discriminator_gradients, self.discriminator.trainable_variables, strict=True)
        )
        return generator_loss, discriminator_loss

    def save(self, path: Path) -> None:
        """Write all that training reads and changes, whole or not at all."""
        arrays = [variable.numpy() for variable in self._variables()]
        write_whole(path, lambda file: np.savez(file, *arrays))

    def restore(self, path: Path) -> None:
        """Go back to what `save` wrote."""
        with np.load(path) as archive:
            for variable, name in zip(self._variables(), archive.files, strict=True):
                variable.assign(archive[name])

    def _variables(self) -> list[keras.Variable]:
        pairs = ((self.generator, self.generator_optimizer), (self.discriminator, self.discriminator_optimizer))
        for player, optimizer in pairs:
            optimizer.build(player.trainable_variables)
        return [variable for pair in pairs for part in pair for variable in part.variables]


def batches(images: np.ndarray, batch_size: int = BATCH_SIZE) -> tf.data.Dataset:
    """Return one epoch of uint8 images as shuffled float32 batches; the last is smaller where they do not divide."""
    scaled = (images.astype("float32") - 127.5) / 127.5
    return tf.data.Dataset.from_tensor_slices(scaled).shuffle(len(images)).batch(batch_size)
