"""What would train wrongly and say nothing, refused in one line: networks, what `compile` is given, and batches."""

import re
from collections.abc import Callable

import keras
import tensorflow as tf

from gan_tf import UsageError

Batch = dict[str, tf.Tensor]

# Names of functions and layers, in lower case and without underscores.
SQUASHED = {
    "sigmoid",
    "hardsigmoid",
    "logsigmoid",
    "softmax",
    "logsoftmax",
    "sparsemax",
    "tanh",
    "hardtanh",
    "softsign",
}
NEVER_BELOW_0 = {"sigmoid", "hardsigmoid", "softmax", "sparsemax", "relu", "relu6", "softplus", "exponential", "exp"}
PASSING_ON = {"flatten", "reshape", "permute", "transpose", "squeeze", "expanddims", "getitem", "cast", "identity"}
PASSING_ON |= {"dropout", "spatialdropout2d", "gaussiannoise", "gaussiandropout", "activityregularization"}
PASSING_ON |= {"cropping2d", "zeropadding2d", "upsampling2d", "resizing", "averagepooling2d", "maxpooling2d"}
PASSING_ON |= {"globalaveragepooling2d", "globalmaxpooling2d", "mean"}
LIMIT = 1.001  # of a pixel; whoever resizes images by a good filter is rounded off it

CONVERSIONS = "convert uint8 images by data.to_float(images), images in [0, 1] by 2 * images - 1"
MARK = "<gan_tf> {} </gan_tf>"  # by which our own line is found again in what TensorFlow says when a graph stops


def check_networks(generator: keras.Model, discriminator: keras.Model) -> None:
    """Refuse networks that cannot play, or whose last layer shows that they would play badly.

    Raises:
        UsageError: a network does not know its input, the two do not fit, or one ends in the wrong activation.
    """
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        if not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
            raise UsageError(f"the {name} must be a Sequential or functional model that begins with keras.Input")
    if len(generator.outputs) > 1:
        raise UsageError(f"the generator must have one output, its images, and has {len(generator.outputs)}")

    made, read = generator.outputs[0].shape[1:], discriminator.inputs[0].shape[1:]
    if made != read:
        raise UsageError(f"the generator makes {made}, the discriminator reads {read}: the two shapes must be equal")
    if (end := last_activation(discriminator)) in SQUASHED:
        raise UsageError(f"the discriminator ends in {end}, and the losses take logits: end it in Dense(1) alone")
    if len(made) == 3 and (end := last_activation(generator)) in NEVER_BELOW_0:
        raise UsageError(f"the generator ends in {end}, which is never below 0: images are in [-1, 1], end it in tanh")


def last_activation(network: keras.Model) -> str:
    """Return the name of what a network's first output comes from, as far as its layers show: "tanh", "dense"."""
    tensor = network.outputs[0]
    while True:
        layer, node, index = tensor._keras_history
        if isinstance(layer, keras.Model):
            tensor = layer.outputs[index]
            continue

        function = _function(layer)
        if function not in PASSING_ON and not (function == "linear" and isinstance(layer, keras.layers.Activation)):
            return function if function != "linear" else _plain(type(layer).__name__)
        inputs = layer._inbound_nodes[node].input_tensors
        if not inputs:
            return function
        tensor = inputs[0]


def _function(layer) -> str:
    if isinstance(layer, keras.layers.Wrapper):
        return _function(layer.layer)
    function = getattr(layer, "activation", None) or getattr(layer, "function", None) or type(layer)
    return _plain(getattr(function, "__name__", type(function).__name__))


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def check_compile(
    gan: keras.Model,
    optimizers: list[keras.optimizers.Optimizer],
    penalties: list,
    augment: Callable | None,
    critic_steps: int,
    steps_per_execution: int,
    jit_compile: bool,
) -> None:
    """Refuse arguments of `compile` that cannot be, or that would train something else than what they say."""
    strategy = gan.distribute_strategy
    count = strategy.num_replicas_in_sync
    for name, number in (("critic_steps", critic_steps), ("steps_per_execution", steps_per_execution)):
        if type(number) is not int or number < 1:
            raise UsageError(f"{name} must be a whole number of at least 1, got {number!r}")
    if jit_compile and jit_compile != "auto":
        raise UsageError("jit_compile=True cannot be had: XLA makes this step slower on a CPU; leave it out")
    if augment is not None and not callable(augment):
        raise UsageError(f"augment must be a function of (images, seed), got {augment!r:.50}")

    _check_optimizers(optimizers, count)
    _check_penalties(penalties, count)
    if tf.distribute.get_strategy() is not strategy:
        raise UsageError("compile the GAN in the same `with strategy.scope():` in which it was made")
    check_scope(strategy, {"generator": gan.generator, "discriminator": gan.discriminator})
    check_scope(strategy, {"generator's optimizer": optimizers[0], "discriminator's optimizer": optimizers[1]})


def _check_optimizers(optimizers: list[keras.optimizers.Optimizer], count: int) -> None:
    if optimizers[0] is optimizers[1]:
        raise UsageError("each player needs an optimizer of its own: two objects, not one given twice")
    for optimizer in optimizers:
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if inner.use_ema:
            raise UsageError("the GAN averages the generator itself (ema_decay): leave the optimizer's use_ema out")
        clips = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(inner, name, None)]
        if clips and count > 1:
            raise UsageError(f"{clips[0]} would clip each of the {count} replicas' gradients by itself; leave it out")


def _check_penalties(penalties: list, count: int) -> None:
    for of, weight, every in penalties:
        if not callable(of):
            raise UsageError(f"a penalty is (of, weight) or (of, weight, every) with a function first, got {of!r:.50}")
        if not 0.0 <= weight < float("inf") or type(every) is not int or every < 1:
            raise UsageError(f"a penalty needs a weight of at least 0, every at least 1th step, got {weight}, {every}")
        if every > 1 and count > 1:
            raise UsageError(f"a penalty every {every} steps cannot be had on {count} replicas; compute it every step")


def check_scope(strategy: tf.distribute.Strategy, parts: dict) -> None:
    """Refuse parts that were made under another strategy: each step of an optimizer would be taken several times."""
    for name, part in parts.items():
        if not all(strategy.extended.variable_created_in_scope(variable.value) for variable in part.variables):
            raise UsageError(f"the {name} was made in another scope; make all of it in one `with strategy.scope():`")


def check_weights(given: dict) -> None:
    """Refuse weights of single images among the arguments of `fit` or `evaluate`; Keras would drop some unseen."""
    if given.get("sample_weight") is not None:
        raise UsageError("a GAN takes no sample_weight; leave it out")


def check_callback(callback: keras.callbacks.Callback) -> None:
    """Refuse a callback of Keras that would fail after an epoch is paid for."""
    name = type(callback).__name__
    if isinstance(callback, keras.callbacks.SwapEMAWeights):
        raise UsageError("the GAN shows and saves its own average, ema_generator: leave SwapEMAWeights out")
    undecided = getattr(callback, "mode", "") == "auto" and callback.monitor not in ("loss", "val_loss")
    if undecided and getattr(callback, "save_best_only", True):
        raise UsageError(f'{name} cannot know which {callback.monitor} is best: give it mode="min" or mode="max"')


def as_batch(given, image_shape: tuple, labelled: bool) -> Batch:
    """Return a batch as a dict of `images`, float32, and perhaps `labels`, from any form in which Keras hands it on.

    Raises:
        UsageError: it is not what the GAN trains on.
    """
    images, labels, weights, *_ = (*given, None, None) if isinstance(given, list | tuple) else (given, None, None)
    if isinstance(images, dict):
        batch = dict(images) if labels is None else {**images, "labels": labels}
    else:
        batch = {"images": images} if labels is None else {"images": images, "labels": labels}

    if weights is not None:
        raise UsageError("a GAN takes no sample_weight or class_weight; leave it out")
    if "images" not in batch or isinstance(batch["images"], list | tuple | dict):
        found = ", ".join(map(str, batch)) if isinstance(images, dict) else "a list of arrays"
        raise UsageError(f"a batch is images, (images, labels) or a dict with `images`, got {found}")
    if labelled and "labels" not in batch:
        raise UsageError("a network has a second input, for labels: give batches of (images, labels)")
    return batch | {"images": _as_float(batch["images"], tuple(image_shape))}


def _as_float(images, expected: tuple) -> tf.Tensor:
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        raise UsageError(f"images must be floats in [-1, 1], got {images.dtype.name}: {CONVERSIONS}")
    if not images.shape[1:].is_compatible_with(expected):
        found = tuple(images.shape[1:])
        advice = ": add the axis of channels, images[..., None]" if (*found, 1) == expected else ""
        raise UsageError(f"images of {found}, where the networks have {expected}{advice}")
    return tf.ensure_shape(tf.cast(images, tf.float32), (None, *expected))


def in_range(images: tf.Tensor, due: tf.Tensor | bool) -> tf.Tensor:
    """Return the images; where the check is due, a graph that reads them stops unless they lie in [-1, 1].

    Only batches of images (rank 4) are checked. Points may lie anywhere.
    """
    if images.shape.rank != 4:
        return images

    def check():
        low, high = tf.reduce_min(images), tf.reduce_max(images)
        good = tf.reduce_all(tf.abs(images) <= LIMIT) & (low < 0.0)  # NaN is never good
        wrong = f"images must lie in [-1, 1], some of them below 0, these go from {{}} to {{}}: {CONVERSIONS}"
        if tf.executing_eagerly() and not good:
            raise UsageError(wrong.format(f"{low:g}", f"{high:g}"))
        with tf.control_dependencies([tf.debugging.Assert(good, [tf.strings.format(MARK.format(wrong), (low, high))])]):
            return tf.identity(images)

    return check() if due is True else tf.cond(due, check, lambda: images)


def divisible(images: tf.Tensor, critic_steps: int) -> tf.Tensor:
    """Return the images; where they cannot be cut into a part for each of the critic's steps, refuse or stop."""
    size = images.shape[0]
    if size is not None and size % critic_steps:
        raise UsageError(f"a batch must divide by critic_steps, got {size} images for {critic_steps} steps")
    if size is not None or critic_steps == 1:
        return images

    wrong = MARK.format(f"a batch must divide by critic_steps, {critic_steps}; use drop_remainder")
    with tf.control_dependencies([tf.debugging.Assert(tf.shape(images)[0] % critic_steps == 0, [wrong])]):
        return tf.identity(images)


def in_one_line(function: Callable) -> Callable:
    """Return a function that raises a UsageError with our own line where a graph stopped for a reason of ours."""

    def call(iterator):
        try:
            return function(iterator)
        except tf.errors.InvalidArgumentError as error:
            line = re.search(MARK.format("(.*?)"), str(error), re.DOTALL)
            if line is None:
                raise
            refused = UsageError(line[1])
        raise refused  # outside, so that what TensorFlow says of its graph does not stand above

    return call
