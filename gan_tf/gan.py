"""`GAN(keras.Model)`: two players, one step each on `tf.GradientTape`, the only place where weights change.

Images are float32 (batch, ...) in [-1, 1], z is float32 (batch, latent_dim), logits are float (batch, 1). A batch is a
dict: `images`, and `labels` where the networks are conditional.
"""

import warnings
from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from gan_tf import UsageError, checks, data, losses, optimizers, players, replicas
from gan_tf.checks import Batch
from gan_tf.penalties import Penalty
from gan_tf.seeds import fold
from gan_tf.two_players import TwoPlayers

# Keras says so at every `fit` on a `tf.data.Dataset`, which is the only kind that this package makes.
warnings.filterwarnings("ignore", message="`shuffle=True` was passed, but will be ignored")

# This pass of TensorFlow's graph optimizer loses the order of reads and writes: of several updates in one graph, one
# could read weights that the one before had not written yet.
tf.config.optimizer.set_experimental_options({"dependency_optimization": False})


def sample_latent(count: int, latent_dim: int, seed) -> tf.Tensor:
    """Draw z from a standard normal as a pure function of the seed (two integers): float32 (count, latent_dim)."""
    return tf.random.stateless_normal((count, latent_dim), seed)


def sample_images(generator: keras.Model, count: int, seed: int, labels=None) -> np.ndarray:
    """Draw uint8 images (count, ...) of a generator of z or, with labels (count,), of [z, labels]; 500 at a time."""
    if len(generator.inputs) != (1 if labels is None else 2):
        raise UsageError(f"this generator takes {'labels beside z: name them' if labels is None else 'no labels'}")
    z = sample_latent(count, generator.inputs[0].shape[-1], fold([seed, 0], "pictures", "noise"))
    inputs = z if labels is None else [z, tf.convert_to_tensor(labels)]
    parts = [tf.nest.map_structure(lambda x, i=i: x[i : i + 500], inputs) for i in range(0, count, 500)]
    return np.concatenate([data.to_uint8(generator(part, training=False)) for part in parts])


@keras.saving.register_keras_serializable(package="gan_tf")
class GAN(TwoPlayers):
    """A generator and a discriminator, trained against each other by `fit`.

    Goodfellow et al. 2014, algorithm 1, with Adam or what else you compile it with. Beside the two networks it keeps
    `ema_generator`, an exponential moving average of the generator's weights and of its batch statistics (Yazıcı et al.
    2019, section 3.1) whose decay is at most t / (t + 3) at step t: it reaches back over a third of the training, and
    no further than `ema_decay` lets it. It is for pictures and for saving; training never reads it.

    A GAN of your own overrides one or two of `generator_inputs`, `discriminator_objective`, `generator_objective` and
    `generator_step`.

    Args:
        generator: z, or [z, labels], to images.
        discriminator: images, or [images, labels], to logits; of several outputs, the first is the logits.
        ema_decay: decay of the moving average per step, in [0, 1); 0 makes it a copy of the generator.
        seed: everything that is drawn in step t is a pure function of (seed, t) and of what it is for.
    """

    logged = ("loss", "generator_loss", "discriminator_loss")  # a subclass that calls `log` for more adds its names

    def __init__(self, generator: keras.Model, discriminator: keras.Model, *, ema_decay: float = 0.998, seed: int = 0):
        super().__init__(name="gan")
        players.check(generator, discriminator, own_inputs=type(self).generator_inputs is not GAN.generator_inputs)
        checks.check_numbers(ema_decay, seed)
        self.generator = generator
        self.discriminator = discriminator
        self.ema_generator = players.copied(generator, "ema_generator")
        self.ema_decay = ema_decay
        self.seed = seed
        self.latent_dim = generator.inputs[0].shape[-1]
        self.classes = players.classes_of(generator, discriminator)
        self.steps_taken = self.add_weight(
            name="steps_taken", dtype="int64", initializer="zeros", trainable=False, aggregation="only_first_replica"
        )
        self.trackers = {name: keras.metrics.Mean(name=name) for name in self.logged}
        self.checked_at = tf.Variable(0, dtype=tf.int64, trainable=False)  # the step whose images are looked at
        self.built = True  # as the networks are

        if self.distribute_strategy.num_replicas_in_sync > 1:
            replicas.synchronise(generator)
            replicas.synchronise(discriminator)

    @property
    def labelled(self) -> bool:
        """Whether a batch needs labels, because a network has a second input; a subclass may say otherwise."""
        return len(self.generator.inputs) > 1 or len(self.discriminator.inputs) > 1

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer | str,
        discriminator_optimizer: keras.optimizers.Optimizer | str,
        *,
        loss: losses.Loss | str = losses.non_saturating,
        penalties: Iterable[Penalty | tuple] = (),
        augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
        critic_steps: int = 1,
        steps_per_execution: int = 1,
        run_eagerly: bool = False,
        jit_compile: bool = False,
    ) -> None:
        """Set what `fit` needs.

        Args:
            generator_optimizer: or its name; one object cannot serve both players.
            discriminator_optimizer: likewise.
            loss: a pair from `gan_tf.losses`, its name, or your own.
            penalties: of the discriminator, each (of, weight) or (of, weight, every), see `Penalty`.
            augment: a differentiable function of (images, seed), as those of `gan_tf.augment`, through which the
                discriminator sees everything, real and fake.
            critic_steps: steps of the discriminator for each of the generator; a batch is cut into as many parts.
            steps_per_execution: train steps for each call from Python, and of the callbacks.
            run_eagerly: take each step as Python, to look into it.
            jit_compile: only False: XLA made this step slower on a CPU, and knows no refusal in the middle of a graph.
        """
        given = [optimizers.named(optimizer) for optimizer in (generator_optimizer, discriminator_optimizer)]
        penalties, loss = [Penalty(*penalty) for penalty in penalties], losses.named(loss)
        checks.check_compile(self, given, penalties, augment, critic_steps, steps_per_execution, jit_compile)

        self.generator_optimizer = replicas.scaled(given[0], self.generator)
        self.discriminator_optimizer = replicas.scaled(given[1], self.discriminator)
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)
        both = optimizers.PlayersOptimizer(self)
        options = {"run_eagerly": run_eagerly, "jit_compile": False, "auto_scale_loss": False}
        super().compile(optimizer=both, steps_per_execution=steps_per_execution, **options)

        self.adversarial_loss, self.penalties = loss, penalties
        self.augment = augment
        self.critic_steps = critic_steps
        self.warn_if_not_saved_whole()

    def call(self, inputs, training: bool = False) -> tf.Tensor:
        """Return the averaged generator's images for z or [z, labels]."""
        return self.ema_generator(inputs, training=training)

    def train_step(self, batch) -> dict[str, tf.Tensor]:
        """Take a step of each player on a batch: images, (images, labels) or a dict of both.

        Returns:
            This batch's losses; Keras puts the epoch's means in their place at its end. `loss` is their sum, which
            says nothing of quality: Keras's `TerminateOnNaN` watches that name.
        """
        batch, seed = self._begin(batch)

        with tf.control_dependencies([batch["images"]]):  # nothing changes before the images are known to be good
            for k in range(self.critic_steps):
                part = {name: values[k :: self.critic_steps] for name, values in batch.items()}
                discriminator_loss = self.discriminator_step(part, fold(seed, "discriminator", k))
            generator_loss = self.generator_step(part, fold(seed, "generator"))

            self.steps_taken.assign_add(1)
            self._update_average()
            return self._log_losses(generator_loss, discriminator_loss)

    def test_step(self, batch) -> dict[str, tf.Tensor]:
        """Return the losses that a train step would have on a held-out batch, in the same mode, and change nothing.

        So `val_discriminator_loss` is apart from `discriminator_loss` by the images alone: it tells who knows by heart.
        """
        batch, seed = self._begin(batch, evaluating=True)
        seed = fold(seed, "evaluation", tf.cast(self.trackers["loss"].count, tf.int64))
        with self.unchanged(but=self.metrics_variables):
            fake = self.generator(self.generator_inputs(batch, seed), training=True)
            discriminator_loss = self.discriminator_objective(batch, fake, seed) + sum(self.discriminator.losses)
            generator_loss = self.generator_objective(batch, fake, seed) + sum(self.generator.losses)
        return self._log_losses(generator_loss, discriminator_loss)

    def discriminator_step(self, batch: Batch, seed: tf.Tensor) -> tf.Tensor:
        """Make fakes, and teach the discriminator to tell them from the batch's images; return its loss."""
        fake = self.generator(self.generator_inputs(batch, seed), training=True)

        with tf.GradientTape() as tape:
            loss = self.discriminator_objective(batch, fake, seed) + sum(self.discriminator.losses)

        self.update("discriminator", tape, loss)
        return loss

    def generator_step(self, batch: Batch, seed: tf.Tensor) -> tf.Tensor:
        """Make fakes, and teach the generator to pass them off as real; return its loss."""
        with tf.GradientTape() as tape:
            fake = self.generator(self.generator_inputs(batch, seed), training=True)
            loss = self.generator_objective(batch, fake, seed) + sum(self.generator.losses)

        self.update("generator", tape, loss)
        return loss

    def discriminator_objective(self, batch: Batch, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return what the discriminator minimises: its half of the loss, and its penalties."""
        real, critic = batch["images"], self.critic(batch, seed)
        loss = self.adversarial_loss.discriminator(critic(real, "real"), critic(fake, "fake"))
        return loss + self._penalty(critic, real, fake, seed)

    def generator_objective(self, batch: Batch, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return what the generator minimises: its half of the loss."""
        critic = self.critic(batch, seed)
        real_logits = critic(batch["images"], "real") if self.adversarial_loss.paired else None
        return self.adversarial_loss.generator(real_logits, critic(fake, "fake"))

    def critic(self, batch: Batch, seed: tf.Tensor) -> Callable[..., tf.Tensor]:
        """Return the function from images to logits: the first of what `judge` gives."""
        judge = self.judge(batch, seed)
        return lambda images, role="other": judge(images, role)[0]

    def judge(self, batch: Batch, seed: tf.Tensor) -> Callable[..., list[tf.Tensor]]:
        """Return the function from images to the discriminator's outputs: augmented, beside the batch's labels.

        Its second argument says what the images are, "real" or "fake": each role has an augmentation of its own draws,
        and images of no role, such as a penalty's, have others. Within a step the same role draws the same.
        """
        index = replicas.replica()[0]

        def judge(images, role="other"):
            if self.augment:
                images = self.augment(images, fold(seed, "augmentation", role, index))
            outputs = self.discriminator(_inputs(self.discriminator, images, batch), training=True)
            return [tf.cast(output, tf.float32) for output in tf.nest.flatten(outputs)]

        return judge

    def generator_inputs(self, batch: Batch, seed: tf.Tensor):
        """Return what the generator makes fakes from: z, and the batch's labels if it takes any."""
        size, (index, count) = tf.shape(batch["images"])[0], replicas.replica()
        z = sample_latent(count * size, self.latent_dim, fold(seed, "noise"))
        z = z[index * size : (index + 1) * size]  # this replica's part; on one device, all of it
        return _inputs(self.generator, z, batch)

    def update(self, player: str, tape: tf.GradientTape, loss: tf.Tensor) -> list[tf.Tensor]:
        """Let a player's optimizer take its step, and return the gradients, of this replica's part of the batch."""
        weights = checks.trained(self, player, loss)
        optimizer, count = getattr(self, f"{player}_optimizer"), replicas.replica()[1]

        # Replicas' gradients are summed, so that each counts for 1 / count. The scale is 1, except in mixed_float16,
        # where small gradients would be rounded to zero.
        scale = optimizer.scale_loss(tf.ones_like(loss)) / count
        gradients = tape.gradient(loss, weights, output_gradients=scale)
        optimizer.apply(gradients, weights)
        return [None if gradient is None else gradient / tf.cast(scale, gradient.dtype) for gradient in gradients]

    def _penalty(self, critic, real: tf.Tensor, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        total = 0.0
        for number, (of, weight, every) in enumerate(self.penalties):
            own = fold(seed, "penalties", number, replicas.replica()[0])
            every = 1 if self.evaluating else every

            def penalty(of=of, factor=weight * every, own=own):
                return factor * of(critic, real, fake, own)

            due = self.steps_taken % every == 0
            total += penalty() if every == 1 else tf.cond(due, penalty, lambda: 0.0)
        return total

    def _update_average(self) -> None:
        step = tf.cast(self.steps_taken, tf.float32)
        decay = tf.minimum(self.ema_decay, step / (step + 3.0))
        for average, weight in zip(self.ema_generator.weights, self.generator.weights, strict=True):
            share = tf.cast(decay, average.dtype)
            average.assign(share * average + (1.0 - share) * weight)

    def _begin(self, batch, evaluating: bool = False) -> tuple[Batch, tf.Tensor]:
        self.logs, self.evaluating = {}, evaluating
        batch = checks.as_batch(batch, self)
        step = tf.convert_to_tensor(self.steps_taken)
        first = self.trackers["loss"].count == 0 if evaluating else step == self.checked_at
        images = checks.divisible(checks.in_range(batch["images"], first), 1 if evaluating else self.critic_steps)
        return batch | {"images": images}, tf.stack([tf.constant(self.seed, tf.int64), step])

    def _log_losses(self, generator_loss: tf.Tensor, discriminator_loss: tf.Tensor) -> dict[str, tf.Tensor]:
        self.log("loss", generator_loss + discriminator_loss)
        self.log("generator_loss", generator_loss)
        self.log("discriminator_loss", discriminator_loss)
        return dict(self.logs)

    def log(self, name: str, value: tf.Tensor) -> None:
        """Note a scalar of this step, whose name is in `logged`: for the callbacks, and for the epoch's mean."""
        self.trackers[name].update_state(value)
        # Keras cannot take the mean of scalars over several workers (tensorflow/tensorflow#72388).
        self.logs[name] = tf.reshape(value, [1] if replicas.several_workers(self.distribute_strategy) else [])


def _inputs(network: keras.Model, first: tf.Tensor, batch: Batch):
    """Return a network's inputs: labels go to each that has a second one."""
    return [first, batch["labels"]] if len(network.inputs) > 1 else first
