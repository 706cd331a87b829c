"""Spectral normalisation: a layer computes with its kernel over the largest singular value, and keeps the kernel."""

import keras
from keras import layers, ops

from gan_tf import UsageError

LINEAR = (layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
STARTING_ITERATIONS = 100  # a new kernel has several singular values close to the largest
SMALLEST = 1e-12  # keeps a kernel of zeros from being divided by 0


@keras.saving.register_keras_serializable(package="gan_tf")
class SpectralNormalization(layers.Wrapper):
    """Wraps a layer so that it computes with W / σ(W), where σ is the largest singular value of its kernel W.

    Miyato et al. 2018, section 2.1 and algorithm 1. W is seen as a matrix of one row for each output channel. σ = uᵀWv,
    with u and v from one step of the power iteration in each call in training, as in the authors' code; in the gradient
    both are constants, and σ is not (equation 12). The estimate is never above σ, and a few percent below it while two
    singular values are close and the kernel moves. Then no input grows in length, whatever its direction, by more than
    a factor of 1 (in a convolution: as the kernel is a matrix, which is not the convolution's own largest factor).

    Keras's layer of this name writes W / σ into the kernel in every call, so that the optimizer's momentum belongs to
    a kernel that is gone, and on several replicas it fails. This one divides the layer's *input* by σ, which is the
    same, for the layer is linear: W (x / σ) + b = (W / σ) x + b. It changes nothing but `u`.

    Args:
        layer: dense or a convolution, also a transposed one, with a bias and an activation or without.
    """

    def __init__(self, layer: layers.Layer, **options):
        if not isinstance(layer, LINEAR + TRANSPOSED):
            raise UsageError(f"spectral normalisation needs a dense layer or a convolution, got {type(layer).__name__}")
        super().__init__(layer, **options)

    def build(self, input_shape) -> None:
        """Make the layer's weights and `u`, (output channels,), for which the power iteration runs a while."""
        super().build(input_shape)
        matrix = ops.cast(self._matrix(), "float32")
        self.u = self.add_weight(
            name="u",
            shape=(matrix.shape[0],),
            dtype="float32",
            initializer=lambda shape, dtype: _start(matrix, shape, dtype),
            trainable=False,
            aggregation="only_first_replica",  # on each of them the same
        )

    def call(self, x, training: bool = False):
        """Return what the layer makes of x with the kernel W / σ; in training, bring `u` a step closer."""
        matrix = ops.cast(self._matrix(), "float32")
        u, v = _power_iteration(ops.stop_gradient(matrix), ops.convert_to_tensor(self.u), 1)
        if training:
            self.u.assign(u)
        sigma = ops.sum(u * ops.matmul(matrix, v)) + SMALLEST
        return self.layer(x / ops.cast(sigma, x.dtype))

    def compute_output_shape(self, input_shape):
        """Return the layer's."""
        return self.layer.compute_output_shape(input_shape)

    def _matrix(self):
        """Return the kernel as (output channels, all else)."""
        kernel = ops.convert_to_tensor(self.layer.kernel)
        axis = -2 if isinstance(self.layer, TRANSPOSED) else -1
        kernel = ops.moveaxis(kernel, axis, 0)
        return ops.reshape(kernel, (kernel.shape[0], -1))


def _start(matrix, shape, dtype):
    return _power_iteration(matrix, keras.random.normal(shape, dtype=dtype, seed=0), STARTING_ITERATIONS)[0]


def _power_iteration(matrix, u, steps: int) -> tuple:
    """Return estimates of the largest singular value's vectors, u (rows,) and v (columns,), each of length 1."""
    for _ in range(steps):
        v = ops.normalize(ops.matmul(u, matrix), axis=0, epsilon=SMALLEST)
        u = ops.normalize(ops.matmul(matrix, v), axis=0, epsilon=SMALLEST)
    return u, v
