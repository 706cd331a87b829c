"""What networks and the train step must know of several devices: index and number, means over them, own seeds.

Each of R replicas works on its part of every batch. Left alone, Keras would keep the replicas' batch statistics apart
and draw the same dropout masks and noise on each: `synchronise` sees to both.
"""

import functools

import keras
import tensorflow as tf

from gan_tf import UsageError


def replica() -> tuple[tf.Tensor | int, int]:
    """Return the index of the replica that runs this, and how many there are."""
    context = tf.distribute.get_replica_context()
    return (context.replica_id_in_sync_group, context.num_replicas_in_sync) if context else (0, 1)


def mean_over_replicas(x: tf.Tensor) -> tf.Tensor:
    """Return the mean of what each replica holds, differentiable; `x` itself where there is one."""
    if replica()[1] == 1:
        return x
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, x)


def several_workers(strategy: tf.distribute.Strategy) -> bool:
    """Return whether more than one process trains."""
    resolver = strategy.cluster_resolver
    return bool(resolver) and sum(map(len, resolver.cluster_spec().as_dict().values())) > 1


def synchronise(network: keras.Model) -> None:
    """Make a network's batch statistics span all replicas, and its random layers differ between them.

    Nested models, wrapped layers and layers that hold layers included. The first replica draws what one device would.

    Raises:
        UsageError: batch normalisation stands inside `TimeDistributed`, whose loop no statistics can leave.
    """
    for layer in network._flatten_layers():
        inner = layer._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.TimeDistributed) and any(map(_is_batch_normalization, inner)):
            raise UsageError(f"{layer.name} holds batch normalisation, which cannot span replicas there; train on one")

        if _is_batch_normalization(layer):
            layer.synchronized = True
        for value in vars(layer).values():
            if isinstance(value, keras.random.SeedGenerator) and not isinstance(value.next, functools.partial):
                value.next = functools.partial(_own_seed, value.next)


def _is_batch_normalization(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


def _own_seed(next_seed, ordered: bool = True) -> tf.Tensor:
    seed = next_seed(ordered)
    return seed + tf.cast(tf.stack([replica()[0], 0]), seed.dtype)


def scaled(optimizer: keras.optimizers.Optimizer, network: keras.Model) -> keras.optimizers.Optimizer:
    """Return an optimizer that scales its player's loss where a layer computes in float16: see `SharedLossScale`."""
    in_float16 = any(layer.dtype_policy.name == "mixed_float16" for layer in network._flatten_layers())
    already = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return SharedLossScale(optimizer) if in_float16 and not already else optimizer


@keras.saving.register_keras_serializable(package="gan_tf")
class SharedLossScale(keras.optimizers.LossScaleOptimizer):
    """Loss scaling that skips a step on all replicas where a gradient overflowed on any of them.

    Keras asks the first replica only (or each for itself), before the gradients are summed. Without a scale, small
    gradients would be rounded to zero.
    """

    def __setattr__(self, name: str, value) -> None:
        """Hand on what is set for the step, which the optimizer inside takes."""
        inner = self.__dict__.get("inner_optimizer")
        takes = inner is not None and name in ("clipnorm", "clipvalue", "global_clipnorm", "weight_decay")
        setattr(inner, name, value) if takes else super().__setattr__(name, value)

    def check_finite(self, grads):
        """Return whether all gradients of all replicas are finite, a bool scalar."""
        return mean_over_replicas(tf.cast(super().check_finite(grads), tf.float32)) == 1.0
