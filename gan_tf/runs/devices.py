"""One device, all devices of a machine, or several machines: what a run computes stays the same.

Each of R replicas works on its part of every batch and of the batch's noise. Gradients are summed over the replicas, so
that each takes an R-th of the loss; statistics of a batch are those of the whole batch. Left alone, Keras would keep
the replicas' batch statistics apart and draw the same dropout masks and noise on each.
"""

import contextlib
import functools
import json
import os
import shutil

import tensorflow as tf

import gan_tf
from gan_tf import UsageError, replicas

# What a collective operation raises whose other end is gone; and what it may raise, as other operations do.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError)
PERHAPS_LOST = (
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
)


class LostWorkerError(gan_tf.Error):
    """A worker that was needed for the next step does not answer."""


def strategy(name: str) -> tf.distribute.Strategy:
    """Return the strategy that trains on one device, on all of this machine, or on all workers.

    Args:
        name: "one"; "mirrored", all GPUs of this machine, or all of its logical CPU devices where there is no GPU;
            "multiworker", the workers that TF_CONFIG or Slurm's environment name, all started alike.

    Raises:
        UsageError: the environment names no workers, or makes no sense.
    """
    if name == "one":
        return tf.distribute.get_strategy()
    tf.get_logger().setLevel("ERROR")  # it would announce each reduction, on standard output in a notebook
    if name == "mirrored":
        return _mirrored()
    resolvers = tf.distribute.cluster_resolver
    if "TF_CONFIG" in os.environ:
        count = check_cluster(os.environ["TF_CONFIG"])
        print(f"waiting for all {count} workers", flush=True)
        return tf.distribute.MultiWorkerMirroredStrategy(resolvers.TFConfigClusterResolver())
    if "SLURM_PROCID" not in os.environ:
        raise UsageError(
            "--devices multiworker needs TF_CONFIG, or to be started by Slurm's srun; set it on each worker"
        )
    try:
        resolver = slurm_resolver()
    except (ValueError, KeyError, IndexError, RuntimeError, OSError) as error:
        raise UsageError(f"Slurm's environment names no cluster ({error}); start with srun") from error
    return tf.distribute.MultiWorkerMirroredStrategy(resolver)


@functools.cache
def _mirrored() -> tf.distribute.MirroredStrategy:
    """Return one strategy for the whole process: the reductions of a second one would be taken for the first one's."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def slurm_resolver() -> tf.distribute.cluster_resolver.ClusterResolver:
    """Return the tasks of a Slurm step as workers, each with its share of its machine's GPUs, if there are any.

    The ports depend on the job, so that two jobs can meet on one machine. TensorFlow's resolver alone cannot do without
    GPUs: it asks nvidia-smi for them.
    """
    resolvers = tf.distribute.cluster_resolver
    port = 20_000 + int(os.environ.get("SLURM_JOB_ID", "0")) % 1_000 * 10
    if os.environ.get("CUDA_VISIBLE_DEVICES", shutil.which("nvidia-smi")):
        return resolvers.SlurmClusterResolver(port_base=port)
    tasks = int(os.environ["SLURM_STEP_NUM_TASKS"])
    slurm = resolvers.SlurmClusterResolver(port_base=port, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False)
    workers = slurm.cluster_spec()
    return resolvers.SimpleClusterResolver(workers, "", *slurm.get_task_info(), num_accelerators={"GPU": 0})


def check_cluster(text: str) -> int:
    """Check what TF_CONFIG says, before TensorFlow waits for workers that cannot come, and return how many there are.

    Raises:
        UsageError: it is not of the form {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker",
            "index": 0}}; "chief" may stand beside "worker".
    """
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        for kind, addresses in cluster.items():
            if kind not in ("chief", "worker") or not isinstance(addresses, list):
                raise UsageError(f"{kind!r} is not a list of chief or worker addresses")
            for address in addresses:
                host, _, port = address.rpartition(":")
                if not (host and port.isdigit() and 0 < int(port) < 65536):
                    raise UsageError(f"{address!r} is not host:port")
        if type(task["index"]) is not int or not 0 <= task["index"] < len(cluster[task["type"]]):
            raise UsageError(f"task {task} is not in the cluster")
        return sum(map(len, cluster.values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"TF_CONFIG names no cluster ({type(error).__name__}: {error}); correct it") from error


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Return whether this process is the one that writes."""
    if not replicas.several_workers(strategy):
        return True
    resolver = strategy.cluster_resolver
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return (resolver.task_type, resolver.task_id) == (first, 0)


def distribute(
    batches: tf.data.Dataset, strategy: tf.distribute.Strategy
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Give each replica its part of every batch: the r-th of R gets the r-th part.

    Args:
        batches: of one size, which R divides: tensors, or dictionaries of tensors.
        strategy: what `strategy` returned.
    """
    count = strategy.num_replicas_in_sync
    if count == 1:
        return batches

    def parts(context: tf.distribute.InputContext) -> tf.data.Dataset:
        own = count // context.num_input_pipelines
        first = own * context.input_pipeline_id

        def cut(x: tf.Tensor) -> tf.Tensor:
            return tf.reshape(x, (count, -1, *x.shape[1:]))[first : first + own]

        return batches.map(lambda batch: tf.nest.map_structure(cut, batch)).unbatch().prefetch(2)

    return strategy.distribute_datasets_from_function(parts)


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Return once every worker has come here, so that none leaves while another still works."""
    if not replicas.several_workers(strategy):
        return
    meet = tf.function(lambda: strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None))
    meet()
    with contextlib.suppress(tf.errors.OpError):  # whoever left the first meeting must still answer those in it
        meet()


@contextlib.contextmanager
def lost_workers_named(strategy: tf.distribute.Strategy):
    """Turn what TensorFlow raises when another worker is gone into one line, and nothing else."""
    try:
        yield
    except (*LOST, *PERHAPS_LOST) as error:
        named = isinstance(error, LOST) or "ollective" in str(error.message)
        if not (named and replicas.several_workers(strategy)):
            raise
        raise LostWorkerError(
            f"another worker is gone ({type(error).__name__}); start all of them again, and the run continues from its "
            "last checkpoint"
        ) from error
