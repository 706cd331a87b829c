"""Generators and discriminators: plain Keras models.

A generator maps z, float32 (batch, latent_dim), standard normal, to images, float32 (batch, *image_shape) in [-1, 1]. A
discriminator maps images to logits, float32 (batch, 1). An `image_shape` is height, width, channels; those of
convolutions are square, of a side in `sizes.SIZES`. A `widths` argument is a tuple of positive integers, one for each
hidden layer: channels of a convolution, units of a dense layer.
"""

import math

import keras
from keras import layers

from gan_tf import UsageError, replicas
from gan_tf.sizes import check_size, doublings
from gan_tf.spectral import SpectralNormalization

IMAGE_SHAPE = (28, 28, 1)  # of MNIST, and of the literature's networks below
NORMALIZATIONS = ("none", "batch", "layer", "spectral")


def dcgan_generator(
    latent_dim: int = 100,
    widths: tuple[int, ...] = (256, 128, 64),
    first_kernel: int = 5,
    kernel: int = 5,
    slope: float = 0.3,
    image_shape: tuple[int, int, int] = IMAGE_SHAPE,
) -> keras.Model:
    """Build the convolutional generator: z becomes maps of 4 to 7 pixels, which transposed convolutions double.

    Radford et al. 2016, section 3, in the sizes of TensorFlow's DCGAN tutorial: 28x28 images, 5x5 kernels, leaky ReLU
    where the paper has ReLU.

    Args:
        widths: channels of the first maps, of the convolution on them, and after each doubling but the last. Of images
            that take more doublings, the first number counts for all that are missing.
        first_kernel: the size of the first convolution's kernels, by far the most expensive ones.
        kernel: that of those that double the image.
        slope: of the leaky ReLUs below zero, in [0, 1).
    """
    _check_sizes(latent_dim=latent_dim, widths=widths, first_kernel=first_kernel, kernel=kernel)
    _check_share(slope=slope)
    _check_image_shape(image_shape, widths)
    times = doublings(image_shape[0])  # 2 for 28 pixels: 7, 14, 28
    side, channels = image_shape[0] >> times, image_shape[-1]
    first, *others = widths[:1] * (times + 1 - len(widths)) + widths

    hidden = [layers.Dense(side * side * first, use_bias=False), layers.BatchNormalization()]
    hidden += [layers.LeakyReLU(slope), layers.Reshape((side, side, first))]
    for i, width in enumerate(others):
        size, strides = (kernel, 2) if i else (first_kernel, 1)
        hidden.append(layers.Conv2DTranspose(width, size, strides, padding="same", use_bias=False))
        hidden += [layers.BatchNormalization(), layers.LeakyReLU(slope)]

    image = layers.Conv2DTranspose(channels, kernel, strides=2, padding="same", use_bias=False)
    tanh = layers.Activation("tanh", dtype="float32")
    return keras.Sequential([keras.Input((latent_dim,)), *hidden, image, tanh], name="generator")


@keras.saving.register_keras_serializable(package="gan_tf")
class MinibatchStddev(layers.Layer):
    """Appends one channel that tells how much the images of the batch differ, the same number everywhere.

    A discriminator that knows it can object to a batch of fakes that are all alike. Karras et al. 2018, section 3, with
    the whole batch as one group.
    """

    def call(self, x):
        """Return float (batch, height, width, channels + 1) from (batch, height, width, channels)."""
        centred = keras.ops.cast(x, "float32")
        centred = centred - replicas.mean_over_replicas(keras.ops.mean(centred, axis=0))
        variance = replicas.mean_over_replicas(keras.ops.mean(keras.ops.square(centred), axis=0))
        mean = keras.ops.cast(keras.ops.mean(keras.ops.sqrt(variance + 1e-8)), x.dtype)
        return keras.ops.concatenate([x, mean * keras.ops.ones_like(x[..., :1])], axis=-1)


@keras.saving.register_keras_serializable(package="gan_tf")
class LayerNormalization(layers.Layer):
    """Subtracts an image's mean over all places and channels, divides by its deviation; a gain and an offset a channel.

    Ba et al. 2016, in the form of the code of Gulrajani et al. 2017. A gradient penalty differentiates a gradient, and
    the normalisation layers of Keras get that wrong, by a tenth in a small network: `tf.nn.moments`, which they use,
    takes the mean for a constant within the variance, and only the first derivative does not depend on that. Batch
    normalisation with `synchronized=True` computes its variance in another way, and gets it right.
    """

    def build(self, input_shape) -> None:
        """Make gain and offset."""
        self.gain = self.add_weight(name="gain", shape=(input_shape[-1],), initializer="ones")
        self.offset = self.add_weight(name="offset", shape=(input_shape[-1],), initializer="zeros")

    def call(self, x):
        """Return float (batch, ..., channels) from the same; its statistics are in float32."""
        axes = list(range(1, len(x.shape)))
        centred = keras.ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
        centred = centred - keras.ops.mean(centred, axes, keepdims=True)
        variance = keras.ops.mean(keras.ops.square(centred), axes, keepdims=True)
        normal = keras.ops.cast(centred * keras.ops.rsqrt(variance + 1e-5), x.dtype)
        return self.gain * normal + self.offset


def dcgan_discriminator(
    widths: tuple[int, ...] = (64, 128),
    dropout: float = 0.3,
    input_noise: float = 0.0,
    minibatch_stddev: bool = False,
    kernel: int = 5,
    slope: float = 0.3,
    image_shape: tuple[int, int, int] = IMAGE_SHAPE,
    normalization: str = "none",
) -> keras.Model:
    """Build the convolutional discriminator: strided convolutions, then one logit.

    Radford et al. 2016, section 3, in the sizes of TensorFlow's DCGAN tutorial, with dropout in place of batch
    normalisation. Convolutions after the first two have 3x3 kernels.

    Args:
        widths: channels of each convolution, which halves the image. Where these are fewer than bring it below 8
            pixels, the last number counts for all that are missing.
        dropout: the share of activations dropped after each convolution, in [0, 1).
        input_noise: standard deviation of the noise that each pixel gets in training (Arjovsky and Bottou 2017,
            section 3), in [0, 1].
        minibatch_stddev: whether the last layer also sees how much the images of the batch differ.
        kernel: the size of the first two convolutions' kernels.
        slope: of the leaky ReLUs below zero, in [0, 1); the paper has 0.2.
        normalization: "none"; "batch", as in the paper, of what the convolutions give, but the first; then a logit
            depends on the whole batch, and a gradient penalty is of no image alone; "layer", of the same, each image by
            itself over all of its pixels and channels (Ba et al. 2016), which Gulrajani et al. 2017, section 4,
            recommend with their penalty; "spectral", of all kernels (Miyato et al. 2018), see `gan_tf.spectral`.
    """
    _check_sizes(widths=widths, kernel=kernel)
    _check_share(dropout=dropout, input_noise=input_noise, slope=slope)
    _check_image_shape(image_shape)
    widths = widths + widths[-1:] * (doublings(image_shape[0]) - len(widths))

    hidden = []
    for i, width in enumerate(widths):  # 14x14, then 7x7, then 4x4
        hidden.append(layers.Conv2D(width, kernel if i < 2 else 3, strides=2, padding="same"))
        hidden.append(layers.LeakyReLU(slope))
        hidden += [layers.Dropout(dropout)] * (dropout > 0)

    noise = [layers.GaussianNoise(input_noise)] * (input_noise > 0)
    stddev = [MinibatchStddev()] * minibatch_stddev
    logit = [layers.Flatten(), layers.Dense(1, dtype="float32")]
    network = keras.Sequential([keras.Input(image_shape), *noise, *hidden, *stddev, *logit], name="discriminator")
    return _normalized(network, normalization)


def mlp_generator(
    latent_dim: int = 100,
    widths: tuple[int, ...] = (128, 256, 512, 1024),
    image_shape: tuple[int, int, int] = IMAGE_SHAPE,
) -> keras.Model:
    """Build the fully connected generator of the older tutorials.

    Goodfellow et al. 2014, section 5, with leaky ReLU and batch normalisation, which came later, and tanh in place of a
    sigmoid.
    """
    _check_sizes(latent_dim=latent_dim, widths=widths)

    hidden = []
    for width in widths:
        hidden += [layers.Dense(width), layers.LeakyReLU(0.2), layers.BatchNormalization(momentum=0.8)]

    image = [layers.Dense(math.prod(image_shape)), layers.Reshape(image_shape)]
    image.append(layers.Activation("tanh", dtype="float32"))
    return keras.Sequential([keras.Input((latent_dim,)), *hidden, *image], name="generator")


def mlp_discriminator(
    widths: tuple[int, ...] = (1024, 512, 256),
    dropout: float = 0.3,
    image_shape: tuple[int, int, int] = IMAGE_SHAPE,
    normalization: str = "none",
) -> keras.Model:
    """Build the fully connected discriminator of the older tutorials, with a logit in place of a sigmoid.

    Goodfellow et al. 2014, section 5, with leaky ReLU and dropout in place of maxout. `dropout` is the share of units
    dropped after each hidden layer, in [0, 1); `normalization` is as in `dcgan_discriminator`.
    """
    _check_sizes(widths=widths)
    _check_share(dropout=dropout)

    hidden = []
    for width in widths:
        hidden += [layers.Dense(width), layers.LeakyReLU(0.2)]
        hidden += [layers.Dropout(dropout)] * (dropout > 0)

    logit = layers.Dense(1, dtype="float32")
    network = keras.Sequential([keras.Input(image_shape), layers.Flatten(), *hidden, logit], name="discriminator")
    return _normalized(network, normalization)


def _normalized(network: keras.Sequential, kind: str) -> keras.Sequential:
    """Return a discriminator with normalisation after its layers with weights but the first and last, or in all."""
    if kind not in NORMALIZATIONS:
        raise UsageError(f"normalization must be one of {', '.join(NORMALIZATIONS)}, got {kind!r:.50}")
    if kind == "none":
        return network

    weighted, parts = [layer for layer in network.layers if layer.weights], []
    for old in network.layers:
        after = kind in ("batch", "layer") and old in weighted[1:-1]
        without = {"use_bias": False} if after and kind == "batch" else {}  # batch normalisation has one of its own
        layer = type(old).from_config(old.get_config() | without)
        parts.append(SpectralNormalization(layer) if kind == "spectral" and old in weighted else layer)
        if after:
            parts.append(layers.BatchNormalization(synchronized=True) if kind == "batch" else LayerNormalization())
    return keras.Sequential([keras.Input(network.input_shape[1:]), *parts], name=network.name)


def _check_sizes(widths: tuple[int, ...] = (), **sizes: int) -> None:
    if not isinstance(widths, tuple | list):
        raise UsageError(f"widths must be a tuple of positive integers, got {widths!r}")
    for name, size in (sizes | {f"widths[{i}]": width for i, width in enumerate(widths)}).items():
        if type(size) is not int or size < 1:  # True is an int, and no size
            raise UsageError(f"{name} must be a positive integer, got {size!r}")


def _check_image_shape(image_shape: tuple[int, int, int], growing: tuple[int, ...] = (1,)) -> None:
    height, width, channels = image_shape
    _check_sizes(channels=channels)
    if height != width:
        raise UsageError(f"convolutions make square images here, got image_shape {image_shape}")
    check_size(height)
    if not 0 < len(growing) <= (most := doublings(height) + 1):
        raise UsageError(f"widths must be 1 to {most} numbers for images of {height} pixels, got {growing}")


def _check_share(**shares: float) -> None:
    for name, value in shares.items():
        if not 0.0 <= value < 1.0:
            raise UsageError(f"{name} must be in [0, 1), got {value}")
