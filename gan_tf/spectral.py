"""Spectral normalisation: a layer computes with its kernel W over σ, W's largest singular value.

Miyato et al. 2018, *Spectral Normalization for Generative Adversarial Networks*, section 2.1 and algorithm 1. Where
each layer of a discriminator is normalised and each activation is 1-Lipschitz, as leaky ReLUs are, so is D with dense
layers. W of a convolution is taken as a matrix of (all else, output channels): D's slope is bounded there, too, though
not by 1, for the σ of that matrix is not the one of the convolution, which looks at each pixel several times.
"""

import keras
import tensorflow as tf
from keras import layers

from gan_tf import UsageError

AT_FIRST = 50  # power iterations on the kernel that a new layer has
SMALLEST = 1e-12  # of a length that is divided by

TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
KINDS = (layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D, *TRANSPOSED)


@keras.saving.register_keras_serializable(package="gan_tf")
class SpectralNormalization(layers.Wrapper):
    """A dense layer or a convolution that computes with W / σ in place of its kernel W.

    σ = uᵀ W v, W as (outputs, inputs), for two unit vectors of a power iteration: from u, which the layer keeps and
    saves, to v, to the next u. A new layer makes 50 iterations on its initial kernel; then each forward pass in
    training makes one, as in the authors' code: in a step of a GAN for the real images, for the fakes, for a penalty's
    images, and again in the generator's step. A pass out of training makes one, too, and does not keep it. The gradient
    goes through σ, with u and v held fixed: (E[δ hᵀ] - λ u vᵀ) / σ, equation 12 of the paper. All of that is in the
    precision of the kernel, float32, whatever the layer computes in.

    The kernel is what the optimizer made it: nothing else assigns it. `keras.layers.SpectralNormalization` writes W / σ
    over W in each pass of training and differentiates as if σ were a constant.

    Args:
        layer: whose kernel is normalised. Its bias is as it was.

    Raises:
        UsageError: it is no dense layer and no convolution, or has an activity regulariser, which would be lost.
    """

    def __init__(self, layer: layers.Layer, **options):
        if not isinstance(layer, KINDS):
            raise UsageError(f"spectral normalisation is of Dense, Conv or ConvTranspose, got {layer!r:.60}")
        if layer.activity_regularizer is not None:
            raise UsageError(f"{layer.name} has an activity_regularizer; put it into a layer of its own")
        super().__init__(layer, **options | {"dtype": layer.variable_dtype})
        self.autocast = False  # the kernel is read as it is; the layer inside casts for itself

    def build(self, input_shape) -> None:
        """Make the layer inside, and u from its kernel."""
        super().build(input_shape)
        self.u = self.add_weight(
            name="u",
            shape=(self._matrix(self.layer.kernel).shape[-1],),
            initializer=self._first_u,
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",  # all replicas have the same kernel, and compute the same u
        )

    def call(self, x, training: bool = False):
        """Return what the layer inside makes of x with W / σ."""
        u, kernel = self._iterated(self.u)
        if training:
            self.u.assign(u)
        values = [(one, kernel if one is self.layer.kernel else one.value) for one in self.layer.variables]
        with keras.StatelessScope(values):  # in which the layer's variables have these values
            return self.layer(x)

    def compute_output_shape(self, input_shape):
        """Return the shape that the layer inside makes."""
        return self.layer.compute_output_shape(input_shape)

    def normalized_kernel(self) -> tf.Tensor:
        """Return W / σ as a call out of training computes it, of the kernel's shape."""
        return self._iterated(self.u)[1]

    def _iterated(self, u) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the next u, and W / σ."""
        kernel = tf.convert_to_tensor(self.layer.kernel)
        matrix = self._matrix(kernel)
        fixed = tf.stop_gradient(matrix)
        v = _unit(tf.linalg.matvec(fixed, u))
        u = _unit(tf.linalg.matvec(fixed, v, transpose_a=True))
        sigma = tf.tensordot(v, tf.linalg.matvec(matrix, u), 1)
        return u, kernel / tf.maximum(sigma, SMALLEST)

    def _matrix(self, kernel) -> tf.Tensor:
        """Return a kernel as a matrix with a column for each output."""
        kernel = tf.convert_to_tensor(kernel)
        if isinstance(self.layer, TRANSPOSED):  # (..., outputs, inputs)
            kernel = tf.linalg.matrix_transpose(kernel)
        return tf.reshape(kernel, [-1, kernel.shape[-1]])

    def _first_u(self, shape, dtype) -> tf.Tensor:
        u = _unit(tf.random.stateless_normal(shape, [0, 0], dtype=dtype))
        for _ in range(AT_FIRST):
            u, _ = self._iterated(u)
        return u


def _unit(x: tf.Tensor) -> tf.Tensor:
    """Return a vector of the same direction and of length 1; of length 0 where it has none."""
    return x / tf.maximum(tf.norm(x), SMALLEST)
