"""What would train wrongly and say nothing, refused in one line: what `compile` and `fit` are given, and batches."""

import inspect
import math
import numbers
import re
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from gan_tf import UsageError, replicas

Batch = dict[str, tf.Tensor]

LIMIT = 1.001  # of a pixel; whoever resizes images by a good filter is rounded off it

CONVERSIONS = "convert uint8 images by data.to_float(images), images in [0, 1] by 2 * images - 1"
MARK = "<gan_tf> {} </gan_tf>"  # by which our own line is found again in what TensorFlow says when a graph stops


def check_numbers(ema_decay: float, seed: int) -> None:
    """Refuse a decay or a seed that cannot be."""
    if not 0.0 <= ema_decay < 1.0:
        raise UsageError(f"ema_decay must be in [0, 1), got {ema_decay}")
    if not isinstance(seed, numbers.Integral):
        raise UsageError(f"seed must be a whole number, got {seed!r:.50}")


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
    if steps_per_execution > 1 and count > 1:
        raise UsageError(f"steps_per_execution must be 1 on {count} replicas, got {steps_per_execution}")
    if augment is not None and (not callable(augment) or isinstance(augment, keras.Layer)):
        raise UsageError(f"augment must be a function of (images, seed), got {augment!r:.50}")

    check_optimizers(optimizers, count)
    _check_penalties(penalties, count)
    if tf.distribute.get_strategy() is not strategy:
        raise UsageError("compile the GAN in the same `with strategy.scope():` in which it was made")
    check_scope(strategy, {"generator": gan.generator, "discriminator": gan.discriminator})
    check_scope(strategy, {"generator's optimizer": optimizers[0], "discriminator's optimizer": optimizers[1]})


def check_optimizers(optimizers: list[keras.optimizers.Optimizer], count: int) -> None:
    """Refuse two optimizers that are one, and what would work for one replica, or one weight, by itself."""
    if optimizers[0] is optimizers[1]:
        raise UsageError("each player needs an optimizer of its own: two objects, not one given twice")
    for optimizer in optimizers:
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if inner.use_ema:
            raise UsageError("the GAN averages the generator itself (ema_decay): leave the optimizer's use_ema out")
        clips = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(inner, name, None)]
        if clips and count > 1:
            raise UsageError(f"{clips[0]} would clip each of the {count} replicas' gradients by itself; leave it out")
        if inner.gradient_accumulation_steps and count > 1:
            raise UsageError(f"gradient_accumulation_steps cannot be had on {count} replicas; leave it out")


def trained(gan: keras.Model, player: str, loss: tf.Tensor) -> list:
    """Return the weights of a player that its optimizer changes.

    Raises:
        UsageError: there are none, or others than when the GAN was compiled; or the loss is not one number.
    """
    weights, optimizer = getattr(gan, player).trainable_variables, getattr(gan, f"{player}_optimizer")
    if not weights:
        raise UsageError(f"the {player} has no weights to train: set its `trainable` to True")
    known = {id(variable) for variable in getattr(optimizer, "inner_optimizer", optimizer)._trainable_variables}
    if optimizer.built and not {id(weight) for weight in weights} <= known:
        raise UsageError(f"weights of the {player} were unfrozen after `compile`: compile again")
    if loss.shape.rank:
        raise UsageError(f"the {player}'s loss must be one number, a mean over the batch, and has shape {loss.shape}")
    return weights


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


def listed(callbacks) -> list[keras.callbacks.Callback]:
    """Return callbacks as a list, in whatever form `fit` was given them."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks] * (callbacks is not None)


def check_callback(callback: keras.callbacks.Callback, optimizer) -> None:
    """Refuse a callback of Keras that would fail after an epoch is paid for."""
    name = type(callback).__name__
    if isinstance(callback, keras.callbacks.SwapEMAWeights):
        raise UsageError("the GAN shows and saves its own average, ema_generator: leave SwapEMAWeights out")
    if isinstance(callback, keras.callbacks.LearningRateScheduler | keras.callbacks.ReduceLROnPlateau):
        optimizer.check_rates()
    if getattr(callback, "mode", "") == "auto" and callback.monitor not in ("loss", "val_loss"):
        raise UsageError(f'{name} cannot know which {callback.monitor} is best: give it mode="min" or mode="max"')


def check_arrays(gan: keras.Model, given: dict) -> None:
    """Refuse arguments of `fit` whose last batch of images, held-out ones too, could not be cut as it must be."""
    images, held_out, size = given.get("x"), given.get("validation_data"), given.get("batch_size")
    count = gan.distribute_strategy.num_replicas_in_sync
    if is_array(images) and not given.get("steps_per_epoch"):
        kept = math.floor(len(images) * (1.0 - given.get("validation_split", 0.0)))
        check_division(kept, size, gan.critic_steps * count)
        check_division(len(images) - kept, given.get("validation_batch_size") or size, count)

    held_out = held_out[0] if isinstance(held_out, list | tuple) else held_out
    if is_array(held_out) and not given.get("validation_steps"):
        check_division(len(held_out), given.get("validation_batch_size") or size, count)


def is_array(given) -> bool:
    """Return whether Keras would cut this into batches itself."""
    return isinstance(given, np.ndarray | tf.Tensor)


def check_division(count: int, size: int | None, parts: int) -> None:
    """Refuse arrays of so many images if not each of their batches is as large for each replica and critic's step."""
    size = size or 32
    if count % size % parts or min(size, count) % parts:
        raise UsageError(
            f"{count} images in batches of {size}: each must divide by {parts} (critic_steps x replicas), the last "
            "one, too; leave some images out, or use data.batches"
        )


def check_held_out(gan: keras.Model, given, size: int | None) -> None:
    """Look at the first batch of held-out images before an epoch is paid for; what can be read only once is left."""
    if isinstance(given, tf.data.Dataset):
        batch = next(iter(given.take(1)), None)
    elif is_array(given) or isinstance(given, tuple | list):
        batch = tf.nest.map_structure(lambda x: x[: size or 32], given)
    else:
        return
    if batch is not None:
        in_range(as_batch(batch, gan)["images"], due=True)


def as_tuples(given):
    """Return a Python generator of batches as one of tuples, the only form in which Keras takes any."""
    if not inspect.isgenerator(given):
        return given
    return (batch if isinstance(batch, tuple) else (batch,) for batch in given)


def as_batch(given, gan: keras.Model) -> Batch:
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
    if gan.labelled and "labels" not in batch:
        raise UsageError("a network has a second input, for labels: give batches of (images, labels)")

    batch["images"] = _as_float(batch["images"], tuple(gan.generator.outputs[0].shape[1:]))
    if "labels" in batch:
        batch["labels"] = tf.convert_to_tensor(batch["labels"])
        _check_labels(batch, [player.inputs[1] for player in (gan.generator, gan.discriminator) if player.inputs[1:]])
        batch["labels"] = known(batch["labels"], gan.classes)
    return batch


def _check_labels(batch: Batch, inputs: list) -> None:
    (count, *found), (images, *_) = batch["labels"].shape, batch["images"].shape
    if None not in (count, images) and count != images:
        raise UsageError(f"there must be as many labels as images, got {count} of {images}")
    for one in inputs:
        expected = tuple(one.shape[1:])
        if not any(tf.TensorShape(shape).is_compatible_with(expected) for shape in (found, [*found, 1])):
            raise UsageError(f"labels of {tuple(found)}, where a network takes {expected}")


def known(labels: tf.Tensor, classes: int | None) -> tf.Tensor:
    """Return the labels; refuse or stop where an embedding of so many classes knows one not: a GPU would read zeros."""
    if classes is None:
        return labels
    low, high = tf.reduce_min(labels), tf.reduce_max(labels)
    good = (low >= 0) & (high < classes)
    wrong = f"labels must be from 0 to {classes - 1}, which the networks know, these go from {{}} to {{}}"
    if tf.executing_eagerly() and not good:
        raise UsageError(wrong.format(int(low), int(high)))
    with tf.control_dependencies([tf.debugging.Assert(good, [tf.strings.format(MARK.format(wrong), (low, high))])]):
        return tf.identity(labels)


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
    """Return the images; refuse or stop where they are not as many for each of the critic's steps and each replica."""
    size, count = images.shape[0], replicas.replica()[1]
    if size is not None:
        if size % critic_steps:
            raise UsageError(f"a batch must divide by critic_steps, got {size} images for {critic_steps} steps")
        return images

    good = [(tf.shape(images)[0] % critic_steps == 0, f"critic_steps, {critic_steps}")] * (critic_steps > 1)
    if count > 1:
        here = tf.cast(tf.shape(images)[0], tf.float32)
        good.append((replicas.mean_over_replicas(here) == here, f"the {count} replicas"))
    for fits, by in good:
        line = MARK.format(f"a batch must divide by {by}; use drop_remainder")
        with tf.control_dependencies([tf.debugging.Assert(fits, [line])]):
            images = tf.identity(images)
    return images


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
