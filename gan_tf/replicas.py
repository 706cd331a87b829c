"""What networks and the train step must know of several devices: index and number, means over them, own seeds.

Each of R replicas works on its part of every batch. Left alone, Keras would keep the replicas' batch statistics apart
and draw the same dropout masks and noise on each; `synchronise` sees to both.
"""

import keras
import tensorflow as tf


def replica() -> tuple[tf.Tensor | int, int]:
    """Return the number of the replica that runs this, and how many there are."""
    context = tf.distribute.get_replica_context()
    return (context.replica_id_in_sync_group, context.num_replicas_in_sync) if context else (0, 1)


def mean_over_replicas(x: tf.Tensor) -> tf.Tensor:
    """Return the mean of what each replica holds, differentiable; `x` itself where there is one."""
    if replica()[1] == 1:
        return x
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, x)


class ReplicaSeeds(keras.random.SeedGenerator):
    """A layer's seeds, others on each replica; the first one's are those of a single device."""

    def next(self, ordered=True):
        """Return the next seed, int (2,)."""
        seed = super().next(ordered)
        return seed + tf.cast(tf.stack([replica()[0], 0]), seed.dtype)


class SharedLossScale(keras.optimizers.LossScaleOptimizer):
    """Loss scaling that skips a step on all replicas where a gradient overflowed on any of them.

    Keras asks the first replica only (or each for itself), before the gradients are summed.
    """

    def check_finite(self, grads):
        """Return whether all gradients of all replicas are finite, a bool scalar."""
        return mean_over_replicas(tf.cast(super().check_finite(grads), tf.float32)) == 1.0


def synchronise(network: keras.Model) -> None:
    """Make a network's batch statistics span all replicas, and its random layers differ between them."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
        if isinstance(getattr(layer, "seed_generator", None), keras.random.SeedGenerator):
            layer.seed_generator.__class__ = ReplicaSeeds


def several_workers(chosen: tf.distribute.Strategy) -> bool:
    """Return whether more than one process trains."""
    resolver = chosen.cluster_resolver
    return bool(resolver) and sum(map(len, resolver.cluster_spec().as_dict().values())) > 1
