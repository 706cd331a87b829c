"""`GAN(keras.Model)`: the adversarial train step on `tf.GradientTape`, the only place where weights change."""

import warnings

import keras
import numpy as np
import tensorflow as tf

from gan_tf import data, losses, replicas

PICTURES_SEED = -1  # in the noise of pictures; training has the step in its place, which is never negative

# Keras says so at every `fit` on a `tf.data.Dataset`, which is the only kind that this package makes.
warnings.filterwarnings("ignore", message="`shuffle=True` was passed, but will be ignored")


def sample_latent(count: int, latent_dim: int, seed) -> tf.Tensor:
    """Draw z from a standard normal, as a pure function of the seed.

    Args:
        count: how many, an int or an int32 scalar tensor.
        latent_dim: the length of each z.
        seed: two integers, as a list, tuple or int tensor (2,).

    Returns:
        float32 (count, latent_dim); the same seed gives the same z, whatever was drawn before.
    """
    return tf.random.stateless_normal((count, latent_dim), seed)


def sample_images(generator: keras.Model, count: int, seed: int, progress=iter) -> np.ndarray:
    """Draw images from a generator, 500 at a time.

    Args:
        generator: z, float32 (n, latent_dim), to images in [-1, 1].
        count: how many.
        seed: of z; the same seed gives the same images.
        progress: wraps the iteration over batches, as `tqdm` does.

    Returns:
        uint8 (count, 28, 28, 1).
    """
    z = sample_latent(count, generator.input_shape[-1], [seed, PICTURES_SEED])
    batches = progress(range(0, count, 500))
    return np.concatenate([data.to_uint8(generator(z[i : i + 500], training=False)) for i in batches])


class GAN(keras.Model):
    """A generator and a discriminator, trained against each other by `fit`.

    Beside the two networks it keeps `ema_generator`, an exponential moving average of the generator's weights
    (batch normalisation's statistics included). That one is for pictures and for saving; training never reads it.

    Args:
        generator: z, float32 (batch, latent_dim), to images, float32 (batch, ...) in [-1, 1].
        discriminator: images to logits, float32 (batch, 1).
        ema_decay: decay of the moving average per step, in [0, 1); 0 makes it a copy of the generator.
        seed: the noise of step t is drawn from the pair (seed, t), so that it needs no state of its own.

    Raises:
        ValueError: `ema_decay` is outside [0, 1), or the networks do not fit together.

    Source: Goodfellow et al. 2014, algorithm 1. Differs: both players step on the same fakes, at the same time (one
    forward pass instead of two); Adam; the average is that of Yazıcı et al. 2019, section 3.1, with a
    decay of at most t / (t + 3) at step t: it reaches back over a third of the training so far, and no further than
    `ema_decay` lets it.
    """

    def __init__(self, generator: keras.Model, discriminator: keras.Model, *, ema_decay: float = 0.998, seed: int = 0):
        super().__init__(name="gan")
        if not 0.0 <= ema_decay < 1.0:
            raise ValueError(f"ema_decay must be in [0, 1), got {ema_decay}")
        if generator.output_shape[1:] != discriminator.input_shape[1:]:
            raise ValueError(
                f"the generator makes {generator.output_shape[1:]}, the discriminator reads "
                f"{discriminator.input_shape[1:]}: the two shapes must be equal"
            )
        self.generator = generator
        self.discriminator = discriminator
        self.ema_generator = keras.models.clone_model(generator)
        self.ema_generator.set_weights(generator.get_weights())
        self.ema_decay = ema_decay
        self.seed = seed
        self.latent_dim = generator.input_shape[-1]
        if self.distribute_strategy.num_replicas_in_sync > 1:
            replicas.synchronise(generator)
            replicas.synchronise(discriminator)
        counter = {"shape": (), "dtype": "int64", "initializer": "zeros", "trainable": False}
        self.steps_taken = self.add_weight(name="steps_taken", aggregation="only_first_replica", **counter)
        self.trackers = {
            name: keras.metrics.Mean(name=name) for name in ("loss", "generator_loss", "discriminator_loss")
        }

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer,
        *,
        loss: losses.Loss = losses.non_saturating,
        steps_per_execution: int = 1,
    ) -> None:
        """Set what `fit` needs.

        Args:
            generator_optimizer: an optimizer of its own for the generator.
            discriminator_optimizer: another for the discriminator; one object cannot serve both.
            loss: a pair from `gan_tf.losses`, or your own.
            steps_per_execution: train steps per call from Python; callbacks run once for each call.

        Raises:
            ValueError: both players were given the same optimizer object, or an optimizer clips gradients and there are
                several replicas: Keras would clip each one's part, before the sum.
        """
        if generator_optimizer is discriminator_optimizer:
            raise ValueError("each player needs an optimizer of its own: two objects, not one given twice")
        count = self.distribute_strategy.num_replicas_in_sync
        for optimizer in (generator_optimizer, discriminator_optimizer):
            clips = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(optimizer, name, None)]
            if clips and count > 1:
                raise ValueError(
                    f"{clips[0]} would clip each of the {count} replicas' gradients by itself; leave it out"
                )
        # XLA made this step slower on a CPU, so that Keras's "auto" is not used.
        super().compile(optimizer=generator_optimizer, steps_per_execution=steps_per_execution, jit_compile=False)
        self.generator_optimizer = self.optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        self.adversarial_loss = loss.share(count)

    def call(self, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return the averaged generator's images for z, float32 (batch, 28, 28, 1) in [-1, 1]."""
        return self.ema_generator(z, training=training)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None) -> None:
        """Do nothing: all is built, and what Keras does here under a strategy would swallow the first batch."""

    def train_step(self, real: tf.Tensor) -> dict[str, tf.Tensor]:
        """Take one step for each player on one batch.

        Args:
            real: float32 (batch, 28, 28, 1) in [-1, 1].

        Returns:
            This batch's losses, for the callbacks; Keras puts the epoch's means in their place at its end. `loss` is
            their sum, which says nothing of quality: it is there because Keras's `TerminateOnNaN` watches that name.
        """
        step = self.generator_optimizer.iterations
        size, (number, count) = tf.shape(real)[0], replicas.replica()
        z = sample_latent(size * count, self.latent_dim, [self.seed, tf.cast(step, tf.int32)])
        z = z[number * size : (number + 1) * size]  # on one device, all of it
        with tf.GradientTape() as generator_tape:
            fake = self.generator(z, training=True)
            with tf.GradientTape() as discriminator_tape:  # it need not know how the fakes were made
                real_logits = self.discriminator(real, training=True)
                fake_logits = self.discriminator(fake, training=True)
                generator_loss = self.adversarial_loss.generator(fake_logits)
                discriminator_loss = self.adversarial_loss.discriminator(real_logits, fake_logits)
                # The identity, except in mixed_float16, where small gradients would be rounded to zero.
                scaled_generator_loss = self.generator_optimizer.scale_loss(generator_loss)
                scaled_discriminator_loss = self.discriminator_optimizer.scale_loss(discriminator_loss)
        generator_gradients = generator_tape.gradient(scaled_generator_loss, self.generator.trainable_variables)
        discriminator_gradients = discriminator_tape.gradient(
            scaled_discriminator_loss, self.discriminator.trainable_variables
        )
        self.generator_optimizer.apply(generator_gradients, self.generator.trainable_variables)
        self.discriminator_optimizer.apply(discriminator_gradients, self.discriminator.trainable_variables)
        self._update_average()
        self.steps_taken.assign_add(1)
        # Keras cannot take the mean of scalars over several workers (tensorflow/tensorflow#72388).
        shape = [1] if replicas.several_workers(self.distribute_strategy) else []
        step_losses = {
            "loss": count * (generator_loss + discriminator_loss),
            "generator_loss": count * generator_loss,
            "discriminator_loss": count * discriminator_loss,
        }
        for name, value in step_losses.items():
            self.trackers[name].update_state(value)
        return {name: tf.reshape(value, shape) for name, value in step_losses.items()}

    def _update_average(self) -> None:
        step = tf.cast(self.generator_optimizer.iterations, tf.float32)
        decay = tf.minimum(self.ema_decay, step / (step + 3.0))
        for average, weight in zip(self.ema_generator.weights, self.generator.weights, strict=True):
            average.assign(decay * average + (1.0 - decay) * weight)
