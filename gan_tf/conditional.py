"""Where a label goes in: networks of z or of images become networks of labels too, and ACGAN's two objectives.

Labels are whole numbers (batch,), from 0 to classes - 1. Each function uses up the layers of the
`keras.Sequential` model that it is given.
"""

import keras
import tensorflow as tf
from keras import layers

from gan_tf import UsageError, gan
from gan_tf.checks import Batch

LABEL_DIM = 10  # numbers in which a label enters the generator


def conditional_generator(generator: keras.Sequential, classes: int) -> keras.Model:
    """Return a generator of [z, label]: each label has `LABEL_DIM` numbers of its own, learned, which z is put before.

    Mirza and Osindero 2014, figure 1, with an embedding in place of a one-hot label.

    Args:
        generator: of z, float32 (batch, latent_dim), of which the last `LABEL_DIM` numbers are the label's from now on.
        classes: how many labels there are.
    """
    _check(generator, classes)
    (length,) = generator.input_shape[1:]
    if length <= LABEL_DIM:
        raise UsageError(f"the generator must take more than the label's {LABEL_DIM} numbers, and takes {length}")

    z, label = keras.Input((length - LABEL_DIM,), name="z"), _label_input()
    x = layers.Concatenate()([z, _embedding(classes, LABEL_DIM)(label)])
    return keras.Model([z, label], _through(generator.layers, x), name="generator")


def concatenation(discriminator: keras.Sequential, classes: int) -> keras.Model:
    """Return a discriminator of [image, label] that sees the label as one more channel, a learned plane.

    Mirza and Osindero 2014, equation 2: D(x | y).

    Args:
        discriminator: of images with one channel more than they have.
        classes: how many labels there are.
    """
    _check(discriminator, classes)
    height, width, channels = discriminator.input_shape[1:]
    if channels < 2:
        raise UsageError("the discriminator must take images of one channel more, the label's, and takes one alone")

    image, label = keras.Input((height, width, channels - 1), name="image"), _label_input()
    plane = layers.Reshape((height, width, 1))(_embedding(classes, height * width)(label))
    x = layers.Concatenate()([image, plane])
    return keras.Model([image, label], _through(discriminator.layers, x), name="discriminator")


def projection(discriminator: keras.Sequential, classes: int) -> keras.Model:
    """Return a discriminator of [image, label] whose logit is w · φ(x) + b + v_y · φ(x), with a row v_y for each label.

    Miyato and Koyama 2018, equation 3, where φ(x) are what the last layer reads. The rows begin at 0.

    Args:
        discriminator: of images, whose last layer is `Dense(1)`.
        classes: how many labels there are.
    """
    *features, last = _layers_to_a_logit(discriminator, classes)
    image, label = keras.Input(discriminator.input_shape[1:], name="image"), _label_input()
    x = _through(features, image)
    row = _embedding(classes, x.shape[-1], "zeros")(label)
    agreement = layers.Dot(axes=1, dtype="float32")([row, x])
    return keras.Model([image, label], layers.Add(dtype="float32")([last(x), agreement]), name="discriminator")


def auxiliary(discriminator: keras.Sequential, classes: int) -> keras.Model:
    """Return a discriminator of images that gives [logit, class_logits], the second (batch, classes): for `ACGAN`.

    Odena et al. 2017, section 3. It is told no label; it has to name it.

    Args:
        discriminator: of images, whose last layer is `Dense(1)`.
        classes: how many labels there are.
    """
    *features, last = _layers_to_a_logit(discriminator, classes)
    image = keras.Input(discriminator.input_shape[1:], name="image")
    x = _through(features, image)
    class_logits = layers.Dense(classes, dtype="float32", name="class_logits")(x)
    return keras.Model(image, [last(x), class_logits], name="discriminator")


@keras.saving.register_keras_serializable(package="gan_tf")
class ACGAN(gan.GAN):
    """A GAN whose discriminator also names the class, and whose generator is paid for images whose class it can name.

    Odena et al. 2017, equations 2 and 3: the discriminator minimises −(L_S + λ L_C), the generator −(λ L_C − L_S) with
    the loss that it was compiled with in place of L_S, and λ = `class_weight`, which is 1 in the paper.

    Args:
        generator: of [z, label].
        discriminator: as `auxiliary` makes it.
        class_weight: what naming the class counts beside the adversarial loss.
        options: of `GAN`.
    """

    logged = (*gan.GAN.logged, "class_loss")

    def __init__(self, generator: keras.Model, discriminator: keras.Model, *, class_weight: float = 1.0, **options):
        super().__init__(generator, discriminator, **options)
        if len(discriminator.outputs) != 2:
            raise UsageError("the discriminator of an ACGAN gives [logit, class_logits], as `auxiliary` makes it")
        if self.classes not in (None, named := discriminator.outputs[1].shape[-1]):
            raise UsageError(f"the generator draws {self.classes} classes, and the discriminator names {named}")
        self.class_weight = class_weight

    @property
    def labelled(self) -> bool:
        """Always: without labels there is no class to be named."""
        return True

    def discriminator_objective(self, batch: Batch, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return what the discriminator minimises: its half of the loss, and both class losses."""
        judge = self.judge(batch, seed)
        (real_logits, real_classes), (fake_logits, fake_classes) = judge(batch["images"], "real"), judge(fake, "fake")

        loss = self.adversarial_loss.discriminator(real_logits, fake_logits)
        loss += self.class_weight * (cross_entropy(batch, real_classes) + cross_entropy(batch, fake_classes))
        return loss + self._penalty(self.critic(batch, seed), batch["images"], fake, seed)

    def generator_objective(self, batch: Batch, fake: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return what the generator minimises: its half of the loss, and the fakes' class loss."""
        judge = self.judge(batch, seed)
        real_logits = judge(batch["images"], "real")[0] if self.adversarial_loss.paired else None
        fake_logits, fake_classes = judge(fake, "fake")

        class_loss = cross_entropy(batch, fake_classes)
        self.log("class_loss", class_loss)
        return self.adversarial_loss.generator(real_logits, fake_logits) + self.class_weight * class_loss

    def get_config(self) -> dict:
        """Return what `__init__` is given."""
        return super().get_config() | {"class_weight": self.class_weight}


def cross_entropy(batch: Batch, class_logits: tf.Tensor) -> tf.Tensor:
    """Return −E log P(label | image) of a batch's labels, in nats."""
    labels = tf.cast(batch["labels"], tf.int32)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, class_logits))


def _label_input() -> keras.KerasTensor:
    return keras.Input((), dtype="int32", name="label")


def _embedding(classes: int, length: int, initializer=None) -> layers.Embedding:
    initializer = initializer or keras.initializers.RandomNormal(stddev=1.0)  # as large as z
    return layers.Embedding(classes, length, initializer, dtype="float32", name="label_embedding")


def _through(network: list[layers.Layer], x: keras.KerasTensor) -> keras.KerasTensor:
    for layer in network:
        x = layer(x)
    return x


def _layers_to_a_logit(discriminator: keras.Sequential, classes: int) -> list[layers.Layer]:
    _check(discriminator, classes)
    last = discriminator.layers[-1]
    inner = last.layer if isinstance(last, layers.Wrapper) else last  # spectral normalisation is around it
    if not isinstance(inner, layers.Dense) or inner.units != 1:
        raise UsageError(f"the discriminator must end in Dense(1), and ends in {type(last).__name__}")
    return discriminator.layers


def _check(network: keras.Sequential, classes: int) -> None:
    if not isinstance(network, keras.Sequential) or not network.built:
        raise UsageError(f"a label is put into a Sequential model that begins with keras.Input, got {network!r:.80}")
    if type(classes) is not int or classes < 2:
        raise UsageError(f"classes must be a whole number of at least 2, got {classes!r}")
