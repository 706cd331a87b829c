"""Generators and discriminators: plain Keras models. Images are float32 in [-1, 1]; discriminators return logits."""

import math

import keras
from keras import layers

from gan_tf.replicas import mean_over_replicas

IMAGE_SHAPE = (28, 28, 1)


def dcgan_generator(latent_dim: int = 100, width: int = 64, first_kernel: int = 5) -> keras.Model:
    """Build the convolutional generator: z becomes 7x7 feature maps, which transposed convolutions grow to an image.

    Args:
        latent_dim: the length of z.
        width: channels before the last layer; the layers hold 4, 2 and 1 times as many.
        first_kernel: height and width of the first convolution's kernels, which cost the most by far.

    Returns:
        A model from z, float32 (batch, latent_dim), standard normal, to images, float32 (batch, 28, 28, 1) in [-1, 1].
        2,330,944 parameters by default.

    Raises:
        ValueError: an argument is not a positive integer.

    Source: Radford et al. 2016, section 3. Differs: 28x28 instead of 64x64, 5x5 kernels, leaky ReLU (slope 0.3), the
    first block at stride 1; these are the sizes of TensorFlow's own DCGAN tutorial.
    """
    _require_positive(latent_dim=latent_dim, width=width, first_kernel=first_kernel)
    return keras.Sequential(
        [
            keras.Input((latent_dim,)),
            layers.Dense(7 * 7 * 4 * width, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.3),
            layers.Reshape((7, 7, 4 * width)),
            layers.Conv2DTranspose(2 * width, first_kernel, padding="same", use_bias=False),  # (batch, 7, 7, 128)
            layers.BatchNormalization(),
            layers.LeakyReLU(0.3),
            layers.Conv2DTranspose(width, 5, strides=2, padding="same", use_bias=False),  # (batch, 14, 14, 64)
            layers.BatchNormalization(),
            layers.LeakyReLU(0.3),
            layers.Conv2DTranspose(1, 5, strides=2, padding="same", use_bias=False),  # (batch, 28, 28, 1)
            layers.Activation("tanh", dtype="float32"),
        ],
        name="generator",
    )


@keras.saving.register_keras_serializable(package="gan_tf")
class MinibatchStddev(layers.Layer):
    """Appends one channel that tells how much the images of the batch differ, the same number everywhere.

    A discriminator that knows it can object to a batch of fakes that are all alike.

    Source: Karras et al. 2018, section 3. Differs: one group, the whole batch.
    """

    def call(self, x):
        """Return float (batch, height, width, channels + 1) from (batch, height, width, channels)."""
        centred = keras.ops.cast(x, "float32")
        centred = centred - mean_over_replicas(keras.ops.mean(centred, axis=0))
        variance = mean_over_replicas(keras.ops.mean(keras.ops.square(centred), axis=0))
        mean = keras.ops.cast(keras.ops.mean(keras.ops.sqrt(variance + 1e-8)), x.dtype)
        return keras.ops.concatenate([x, mean * keras.ops.ones_like(x[..., :1])], axis=-1)


def dcgan_discriminator(
    width: int | tuple[int, ...] = 64,
    dropout: float = 0.3,
    input_noise: float = 0.0,
    minibatch_stddev: bool = False,
) -> keras.Model:
    """Build the convolutional discriminator: strided convolutions, then one logit.

    Args:
        width: channels of the convolutions, the first two with 5x5 kernels, further ones with 3x3; one number stands
            for two convolutions, the second with twice as many channels.
        dropout: the share of activations dropped after each convolution, in [0, 1); 0 leaves the layers out.
        input_noise: standard deviation of normal noise added to each pixel in training, 0 or more; 0 leaves it out.
        minibatch_stddev: whether a last channel tells how much the images of the batch differ.

    Returns:
        A model from images, float32 (batch, 28, 28, 1) in [-1, 1], to logits, float32 (batch, 1). 212,865 parameters
        by default.

    Raises:
        ValueError: a width is not a positive integer, `dropout` is outside [0, 1), or `input_noise` is negative.

    Source: Radford et al. 2016, section 3. Differs: dropout in place of batch normalisation, 28x28, leaky ReLU with
    slope 0.3; these are the sizes of TensorFlow's own DCGAN tutorial. The noise: Arjovsky and Bottou 2017, section 3.
    """
    several = isinstance(width, tuple | list)
    _require_positive(
        **({f"width[{i}]": channels for i, channels in enumerate(width)} if several else {"width": width})
    )
    widths = width if several else (width, 2 * width)
    if not 0.0 <= input_noise < math.inf:
        raise ValueError(f"input_noise must be 0 or more, got {input_noise}")
    convolutions = [
        layer
        for i, channels in enumerate(widths)
        for layer in (
            layers.Conv2D(channels, 5 if i < 2 else 3, strides=2, padding="same"),  # 14x14, then 7x7, then 4x4
            layers.LeakyReLU(0.3),
            *_dropout(dropout),
        )
    ]
    noise = [layers.GaussianNoise(input_noise)] if input_noise > 0.0 else []
    stddev = [MinibatchStddev()] if minibatch_stddev else []
    return keras.Sequential(
        [keras.Input(IMAGE_SHAPE), *noise, *convolutions, *stddev, layers.Flatten(), layers.Dense(1, dtype="float32")],
        name="discriminator",
    )


def mlp_generator(latent_dim: int = 100, widths: tuple[int, ...] = (128, 256, 512, 1024)) -> keras.Model:
    """Build the fully connected generator of the older tutorials.

    Args:
        latent_dim: the length of z.
        widths: units of each hidden layer, all with leaky ReLU (slope 0.2) and batch normalisation.

    Returns:
        A model from z, float32 (batch, latent_dim), to images, float32 (batch, 28, 28, 1) in [-1, 1].

    Raises:
        ValueError: a size is not a positive integer.

    Source: Goodfellow et al. 2014, section 5 (a multilayer perceptron on MNIST). Differs: leaky ReLU and batch
    normalisation, which came later; tanh in place of a sigmoid.
    """
    _require_positive(latent_dim=latent_dim, **{f"widths[{i}]": width for i, width in enumerate(widths)})
    hidden = [
        layer
        for width in widths
        for layer in (layers.Dense(width), layers.LeakyReLU(0.2), layers.BatchNormalization(momentum=0.8))
    ]
    image = [layers.Dense(28 * 28), layers.Reshape(IMAGE_SHAPE), layers.Activation("tanh", dtype="float32")]
    return keras.Sequential([keras.Input((latent_dim,)), *hidden, *image], name="generator")


def mlp_discriminator(widths: tuple[int, ...] = (1024, 512, 256), dropout: float = 0.3) -> keras.Model:
    """Build the fully connected discriminator of the older tutorials, with a logit in place of a sigmoid.

    Args:
        widths: units of each hidden layer, all with leaky ReLU (slope 0.2) and dropout.
        dropout: the share of units dropped, in [0, 1); 0 leaves the layers out.

    Returns:
        A model from images, float32 (batch, 28, 28, 1) in [-1, 1], to logits, float32 (batch, 1).

    Raises:
        ValueError: a size is not a positive integer, or `dropout` is outside [0, 1).

    Source: Goodfellow et al. 2014, section 5. Differs: leaky ReLU in place of maxout.
    """
    _require_positive(**{f"widths[{i}]": width for i, width in enumerate(widths)})
    hidden = [layer for width in widths for layer in (layers.Dense(width), layers.LeakyReLU(0.2), *_dropout(dropout))]
    return keras.Sequential(
        [keras.Input(IMAGE_SHAPE), layers.Flatten(), *hidden, layers.Dense(1, dtype="float32")], name="discriminator"
    )


def _dropout(rate: float) -> list[layers.Layer]:
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"dropout must be in [0, 1), got {rate}")
    return [layers.Dropout(rate)] if rate > 0.0 else []


def _require_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if type(size) is not int or size < 1:  # True is an int, and no size
            raise ValueError(f"{name} must be a positive integer, got {size!r}")
