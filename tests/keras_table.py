"""What a reader can do with a GAN as with any Keras model: a table of which each row is run by test_keras.py.

`python tests/keras_table.py` writes docs/keras.md from it. A row that works says what happens and asserts it; one that
is refused says the line, word for word, and leaves every weight as it was.
"""

import contextlib
import copy
import pickle
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from gan_tf import UsageError, augment, data, gan, losses, models, penalties
from gan_tf.runs import devices, recipe

PAGE = Path(__file__).resolve().parent.parent / "docs" / "keras.md"
SHAPE, LATENT_DIM = (4, 4, 1), 3


class Row(NamedTuple):
    """One line of the page, and the check that holds it."""

    section: str
    what: str
    happens: str
    refused: bool
    check: Callable[[], None]


ROWS: list[Row] = []
MADE: list[tuple[gan.GAN, list[np.ndarray]]] = []  # by the check that runs, each with the numbers that it began with


def works(section: str, what: str, happens: str):
    """Note a check that must pass."""
    return lambda check: ROWS.append(Row(section, what, happens, False, check))


def refused(section: str, what: str, line: str):
    """Note a check that must end in a UsageError of this line."""
    return lambda check: ROWS.append(Row(section, what, line, True, check))


# What the checks are made of.


def generator(activation: str | None = "tanh", labels: bool = False) -> keras.Model:
    z, label = keras.Input((LATENT_DIM,)), keras.Input((), dtype="int32")
    x = layers.Concatenate()([z, layers.Embedding(2, 2)(label)]) if labels else z
    x = layers.BatchNormalization()(layers.Dense(8, activation="relu")(x))
    image = layers.Reshape(SHAPE)(layers.Dense(16, activation=activation)(x))
    return keras.Model([z, label] if labels else z, image)


def discriminator(*after: layers.Layer, dropout: float = 0.3, penalty: float = 0.0) -> keras.Sequential:
    dense = layers.Dense(1, kernel_regularizer=keras.regularizers.L2(penalty) if penalty else None)
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dropout(dropout), dense, *after])


def made(kind: type[gan.GAN] = gan.GAN, labels: bool = False, players=None, **arguments) -> gan.GAN:
    networks = () if kind is Whole else players or (generator(labels=labels), discriminator())
    model = kind(*networks, **arguments)
    MADE.append((model, numbers(model)))
    return model


def compiled(model: gan.GAN | None = None, rates=(1e-3, 4e-3), **options) -> gan.GAN:
    model = model or made()
    model.compile(*(keras.optimizers.Adam(rate) for rate in rates), **options)
    return model


def images(count: int = 16) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, *SHAPE)).astype(np.float32)


def batches(given=None, size: int = 8) -> tf.data.Dataset:
    options = tf.data.Options()
    options.autotune.enabled = False  # as in data.batches: its thread can hold up the end of `fit`
    served = tf.data.Dataset.from_tensor_slices(images() if given is None else given)
    return served.batch(size, drop_remainder=True).with_options(options)


def fit(model: gan.GAN | None = None, given=None, epochs: int = 1, **options) -> dict:
    served = batches() if given is None else given
    return (model or compiled()).fit(served, epochs=epochs, verbose=0, **options).history


def rates(model: gan.GAN) -> list[float]:
    players = (model.generator_optimizer, model.discriminator_optimizer)
    return [float(keras.ops.convert_to_numpy(player.learning_rate)) for player in players]


def numbers(model: gan.GAN) -> list[np.ndarray]:
    """Return a GAN's weights, averages, seeds and step."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return values(variable for variable in model.variables if id(variable) not in metrics)


def state(model: gan.GAN) -> list[np.ndarray]:
    """Return all that training reads or writes: both optimizers, too."""
    optimizers = (model.generator_optimizer, model.discriminator_optimizer) if model.compiled else ()
    return numbers(model) + values(variable for optimizer in optimizers for variable in optimizer.variables)


def values(variables: Iterable[keras.Variable]) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def steps(model: gan.GAN) -> int:
    return int(keras.ops.convert_to_numpy(model.steps_taken))


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def same_next_step(one: gan.GAN, other: gan.GAN) -> bool:
    """Return whether two GANs are in the same state, and still are after a step on the same batch."""
    before = same(state(one), state(other))
    logs = [model.train_on_batch(images(8)) for model in (one, other)]
    return before and logs[0] == logs[1] and same(state(one), state(other))


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@contextlib.contextmanager
def silent():
    """Let no warning pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def warned(act: Callable) -> list[str]:
    """Return the warnings for users that come meanwhile."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    return [str(one.message) for one in caught if issubclass(one.category, UserWarning)]


@keras.saving.register_keras_serializable(package="tests")
def hinge(real_logits, fake_logits):
    return tf.reduce_mean(tf.nn.relu(1.0 - real_logits)) + tf.reduce_mean(tf.nn.relu(1.0 + fake_logits))


@keras.saving.register_keras_serializable(package="tests")
def pull(critic, real, fake, seed):
    return tf.square(tf.reduce_mean(critic(real)))


@keras.saving.register_keras_serializable(package="tests")
def flip(images, seed):
    return images[:, :, ::-1]


class Mine(gan.GAN):
    """A subclass that changes no argument."""

    def generator_objective(self, batch, fake, seed):
        return 2.0 * super().generator_objective(batch, fake, seed)


class Heavier(gan.GAN):
    """A subclass that takes one more argument and does not tell Keras."""

    def __init__(self, *players, weight: float = 2.0, **options):
        super().__init__(*players, **options)
        self.weight = weight


class Whole(gan.GAN):
    """A subclass that makes its networks itself."""

    def __init__(self, width: int = 8):
        super().__init__(generator(), discriminator())
        self.width = width

    def get_config(self):
        return {"width": self.width}


class NoArguments(gan.GAN):
    """One that does so and says nothing of it."""

    def __init__(self):
        super().__init__(generator(), discriminator())


class Penalised(gan.GAN):
    """One that compiles with more."""

    def compile(self, *arguments, pull: float = 1.0, **options):
        super().compile(*arguments, **options)
        self.pull = pull


# Data

DATA = "Data"
CONVERT = "convert uint8 images by data.to_float(images), images in [0, 1] by 2 * images - 1"


@works(DATA, "`fit` on a `tf.data.Dataset` of images", "trains")
def dataset():
    history = fit(epochs=2)
    assert {len(values) for values in history.values()} == {2}
    assert np.isfinite(list(history.values())).all()


@works(DATA, "`fit` on a NumPy array, with `batch_size=`", "trains, shuffled by Keras")
def array():
    model = compiled()
    fit(model, images(), batch_size=4)
    assert steps(model) == 4


@works(DATA, "`fit` on float64", "trains in float32")
def float64():
    fit(given=batches(images().astype(np.float64)))


@works(DATA, "`fit` on a `keras.utils.PyDataset` or a Python generator", "trains")
def python():
    class Pieces(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return images(8)

    fit(given=Pieces())
    fit(given=(images(8) for _ in range(3)), steps_per_epoch=3)
    fit(given=((images(8), np.zeros(8)) for _ in range(3)), steps_per_epoch=3)


@works(DATA, "`(images, labels)`, as a dataset or as `fit(images, labels)`", "labels go to the networks that take them")
def labels():
    label = np.arange(16) % 2
    for model in (compiled(), compiled(made(labels=True))):
        fit(model, batches((images(), label)))
        fit(model, images(), y=label)
        fit(model, batches({"images": images(), "labels": label}))


@works(DATA, "a dataset of unknown shapes, as `from_generator` without a signature", "trains")
def unknown_shapes():
    served = tf.data.Dataset.from_generator(lambda: (images(8) for _ in range(2)), output_types=tf.float32)
    fit(given=served)


@works(DATA, "points in place of images (rank 2)", "may lie anywhere")
def points():
    players = [keras.Sequential([keras.Input((n,)), layers.Dense(m)]) for n, m in ((LATENT_DIM, 2), (2, 1))]
    fit(compiled(made(players=players)), batches(100.0 + images().reshape(-1, 2)))


@works(DATA, "`data.batches` of a Python list of uint8 arrays", "serves them")
def list_of_arrays():
    served = data.batches(list(np.zeros((4, 28, 28, 1), np.uint8)), 2, seed=0, labels=[0, 1, 2, 3])
    assert [batch["images"].shape[0] for batch in served] == [2, 2]


@refused(DATA, "uint8 images", f"images must be floats in [-1, 1], got uint8: {CONVERT}")
def uint8():
    fit(given=batches(data.to_uint8(images())))


@refused(DATA, "integers in an array", f"images must be floats in [-1, 1], got int64: {CONVERT}")
def integers():
    fit(given=np.ones((16, *SHAPE), np.int64))


@refused(
    DATA, "0 to 255 as floats", f"images must lie in [-1, 1], some of them below 0, these go from 0 to 255: {CONVERT}"
)
def pixels():
    fit(given=batches(np.linspace(0, 255, 256, dtype=np.float32).reshape(16, *SHAPE), size=16))


@refused(DATA, "[0, 1]", f"images must lie in [-1, 1], some of them below 0, these go from 0 to 1: {CONVERT}")
def unit():
    fit(given=batches(np.linspace(0, 1, 256, dtype=np.float32).reshape(16, *SHAPE), size=16))


@refused(DATA, "NaN", f"images must lie in [-1, 1], some of them below 0, these go from nan to nan: {CONVERT}")
def nan():
    fit(given=batches(images() * np.nan))


@works(DATA, "a second `fit`, on images of [0, 1]", "is refused like a first one")
def second_fit():
    model = compiled()
    fit(model)
    before = numbers(model)
    with pytest.raises(UsageError, match="these go from 0 to 1: convert"):
        fit(model, batches(np.linspace(0, 1, 256, dtype=np.float32).reshape(16, *SHAPE), size=16))
    assert same(before, numbers(model))


@refused(
    DATA,
    "images of [0, 1] for `train_on_batch`",
    f"images must lie in [-1, 1], some of them below 0, these go from 0 to 0.5: {CONVERT}",
)
def on_batch():
    compiled().train_on_batch(np.repeat([0.0, 0.5], 64).astype(np.float32).reshape(8, *SHAPE))


@refused(
    DATA,
    "images of [0, 1] as `validation_data`",
    f"images must lie in [-1, 1], some of them below 0, these go from 0 to 0.5: {CONVERT}",
)
def held_out():
    halves = np.repeat([0.0, 0.5], 64).astype(np.float32).reshape(8, *SHAPE)
    with pytest.raises(UsageError, match=r"from 0 to 0\.5"):
        compiled().evaluate(halves, verbose=0)
    with pytest.raises(UsageError, match=r"from 0 to 0\.5"):
        fit(validation_data=batches(halves))
    fit(validation_data=(halves, np.zeros(8)))


@works(
    DATA,
    "a later batch without a pixel below 0, or a batch of NaN",
    "is not looked at: only the first of each `fit` is",
)
def later():
    white = np.concatenate([images(8), np.ones((8, *SHAPE), np.float32)])
    fit(given=batches(white), validation_data=batches(white))


@refused(
    DATA,
    "images without their channel",
    "images of (4, 4), where the networks have (4, 4, 1): add the axis of channels, images[..., None]",
)
def channel():
    fit(given=batches(images()[..., 0]))


@refused(
    DATA,
    "images of another size",
    "images of (2, 8, 1), where the networks have (4, 4, 1)",
)
def size():
    fit(given=batches(images().reshape(16, 2, 8, 1)))


@refused(
    DATA,
    "images alone for a network with labels",
    "a network has a second input, for labels: give batches of (images, labels)",
)
def unconditional():
    fit(compiled(made(labels=True)))


@refused(DATA, "a dict without `images`", "a batch is images, (images, labels) or a dict with `images`, got image")
def other_name():
    fit(given=batches({"image": images()}))


@refused(
    DATA,
    "`fit([images, labels])`",
    "a batch is images, (images, labels) or a dict with `images`, got a list of arrays",
)
def list_of_two():
    fit(given=[images(), np.zeros(16)])


@refused(DATA, "`sample_weight=`", "a GAN takes no sample_weight; leave it out")
def sample_weight():
    fit(given=images(), sample_weight=np.ones(16))


@refused(DATA, "`evaluate(..., sample_weight=)`", "a GAN takes no sample_weight; leave it out")
def evaluated_weight():
    compiled().evaluate(images(), sample_weight=np.ones(16), verbose=0)


@refused(DATA, "`class_weight=`", "a GAN takes no sample_weight or class_weight; leave it out")
def class_weight():
    fit(given=images(), y=np.zeros(16), class_weight={0: 2.0})


@refused(DATA, "labels of another shape than the network's", "labels of (3,), where a network takes ()")
def one_hot():
    fit(compiled(made(labels=True)), images(), y=np.eye(3, dtype=np.float32)[np.arange(16) % 3])


@refused(
    DATA,
    "labels that the networks' embedding does not know",
    "labels must be from 0 to 1, which the networks know, these go from 0 to 2",
)
def unknown_labels():
    fit(compiled(made(labels=True)), images(), y=np.arange(16) % 3)


@refused(DATA, "fewer labels than images", "there must be as many labels as images, got 4 of 8")
def fewer_labels():
    compiled(made(labels=True)).train_step((images(8), np.zeros(4)))


@refused(
    DATA,
    "an array whose last batch `critic_steps` do not divide",
    "15 images in batches of 4: each must divide by 2 (critic_steps x replicas), the last one, too; leave some images "
    "out, or use data.batches",
)
def last_of_array():
    fit(compiled(critic_steps=2), images(15), batch_size=4)


@refused(
    DATA,
    "a last batch of a dataset that `critic_steps` do not divide",
    "a batch must divide by critic_steps, 2; use drop_remainder",
)
def remainder():
    model = compiled(critic_steps=2)
    try:
        fit(model, tf.data.Dataset.from_tensor_slices(images(15)).batch(15))
    finally:
        assert steps(model) == 0


# Networks

NETWORKS = "Networks"
LOGITS = "and the losses take logits: end it in Dense(1) alone"


@works(NETWORKS, "a generator that ends in `Rescaling(2, -1)` after a sigmoid", "is taken: its images are in [-1, 1]")
def rescaled():
    end = keras.Sequential([keras.Input((LATENT_DIM,)), layers.Dense(16, "sigmoid"), layers.Rescaling(2.0, -1.0)])
    fit(compiled(made(players=(keras.Sequential([end, layers.Reshape(SHAPE)]), discriminator()))))


@works(NETWORKS, "a generator of points that ends in a sigmoid", "is taken: points may lie in [0, 1]")
def points_sigmoid():
    players = [
        keras.Sequential([keras.Input((n,)), layers.Dense(m, a)]) for n, m, a in ((3, 2, "sigmoid"), (2, 1, None))
    ]
    made(players=players)


@works(NETWORKS, "`Activation('linear', dtype='float32')` at the end", "is taken, as mixed precision needs it")
def linear():
    made(players=(generator(), discriminator(layers.Activation("linear", dtype="float32"))))


@works(NETWORKS, "regularisers and `add_loss` in layers", "count in their own player's loss")
def own_losses():
    with_penalty, without = (
        compiled(made(players=(generator(), discriminator(dropout=0.0, penalty=penalty)))) for penalty in (100.0, 0.0)
    )
    with_penalty.set_weights(without.get_weights())
    kernel = without.discriminator.get_weights()[0]
    logs = [model.train_on_batch(images(8), return_dict=True) for model in (with_penalty, without)]
    apart = logs[0]["discriminator_loss"] - logs[1]["discriminator_loss"]
    np.testing.assert_allclose(apart, 100.0 * np.square(kernel).sum(), rtol=1e-4)


@works(NETWORKS, "`Lambda` layers, blocks that are subclasses of `keras.Model`", "are taken")
def blocks():
    class Head(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    twice = keras.Sequential([keras.Input((LATENT_DIM,)), layers.Lambda(lambda x: 2.0 * x), generator()])
    judge = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), Head()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what cannot be saved
        fit(compiled(made(players=(twice, judge))))


@works(NETWORKS, "a generator that ends in `ReLU(negative_slope=0.2)`", "is taken: it goes below 0")
def leaky():
    made(
        players=(
            keras.Sequential([keras.Input((LATENT_DIM,)), generator(None), layers.ReLU(negative_slope=0.2)]),
            discriminator(),
        )
    )


@works(NETWORKS, "a global policy of float64 or bfloat16", "trains")
def policies():
    for name in ("float64", "bfloat16"):
        with recipe.dtype_policy(name):
            model = compiled()
        assert np.isfinite(fit(model)["loss"]).all()


@works(NETWORKS, "a frozen layer", "stays as it is")
def frozen_layer():
    players = generator(), discriminator()
    players[0].layers[1].trainable = False
    before = players[0].layers[1].get_weights()
    fit(compiled(made(players=players)))
    assert same(before, players[0].layers[1].get_weights())


@refused(NETWORKS, "a discriminator that ends in a sigmoid", f"the discriminator ends in sigmoid, {LOGITS}")
def sigmoid():
    made(players=(generator(), discriminator(layers.Activation("sigmoid"))))


@refused(NETWORKS, "the same inside another model", f"the discriminator ends in sigmoid, {LOGITS}")
def nested_sigmoid():
    inner = discriminator(layers.Dense(1, activation="sigmoid"), layers.Reshape((1,)))
    made(players=(generator(), keras.Sequential([keras.Input(SHAPE), inner, layers.Dropout(0.1)])))


@refused(NETWORKS, "the same as an operation", f"the discriminator ends in sigmoid, {LOGITS}")
def sigmoid_operation():
    image = keras.Input(SHAPE)
    made(players=(generator(), keras.Model(image, keras.ops.sigmoid(discriminator()(image)))))


@refused(NETWORKS, "a discriminator that ends in `Softmax`", f"the discriminator ends in softmax, {LOGITS}")
def softmax():
    made(players=(generator(), discriminator(layers.Softmax())))


@refused(NETWORKS, "probabilities of patches, averaged", f"the discriminator ends in sigmoid, {LOGITS}")
def patches():
    convolution = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(1, 3, activation="sigmoid")])
    made(players=(generator(), keras.Sequential([convolution, layers.GlobalAveragePooling2D()])))


@refused(NETWORKS, "the same, with the mean in a model of its own", f"the discriminator ends in sigmoid, {LOGITS}")
def mean_of_patches():
    convolution = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(1, 3, activation="sigmoid")])
    mean = keras.Sequential([keras.Input((2, 2, 1)), layers.GlobalAveragePooling2D()])
    made(players=(generator(), keras.Sequential([convolution, mean])))


@refused(NETWORKS, "a discriminator that ends in `relu`", f"the discriminator ends in relu, {LOGITS}")
def relu():
    made(players=(generator(), discriminator(layers.Dense(1, activation="relu"))))


@refused(
    NETWORKS,
    "a discriminator of two numbers",
    "the discriminator gives 2 numbers where a logit is read: end it in Dense(1)",
)
def two_numbers():
    made(players=(generator(), discriminator(layers.Dense(2))))


@refused(
    NETWORKS,
    "inputs or outputs by names",
    "the discriminator has inputs or outputs by names; give them in order, as [z, labels]",
)
def by_names():
    image = keras.Input(SHAPE)
    made(players=(generator(), keras.Model(image, {"logit": layers.Dense(1)(layers.Flatten()(image))})))


@refused(
    NETWORKS,
    "a generator whose first input is not z",
    "the generator's inputs must be z, floats of (latent_dim,), and perhaps labels, got int32 (), float32 (3,)",
)
def labels_first():
    given = generator(labels=True)
    made(players=(keras.Model(given.inputs[::-1], given.output), discriminator()))


@refused(
    NETWORKS,
    "a layer of the generator that cannot be copied for its average",
    "the ema_generator needs a copy of mine: it has none; give it a get_config",
)
def no_copy():
    class Own(layers.Layer):
        def call(self, x):
            return x

        def get_config(self):
            raise ValueError("it has none")

    made(players=(keras.Sequential([keras.Input((LATENT_DIM,)), Own(name="mine"), generator()]), discriminator()))


@refused(
    NETWORKS,
    "weights that were unfrozen after `compile`",
    "weights of the generator were unfrozen after `compile`: compile again",
)
def unfrozen():
    model = made()
    model.generator.layers[1].trainable = False
    compiled(model)
    model.generator.layers[1].trainable = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras's of the same
        fit(model)


@refused(
    NETWORKS,
    "a generator of images that ends in a sigmoid",
    "the generator ends in sigmoid, which is never below 0: images are in [-1, 1], end it in tanh",
)
def sigmoid_generator():
    made(players=(generator("sigmoid"), discriminator()))


@refused(
    NETWORKS,
    "one that ends in `ReLU`",
    "the generator ends in relu, which is never below 0: images are in [-1, 1], end it in tanh",
)
def relu_generator():
    made(players=(keras.Sequential([keras.Input((LATENT_DIM,)), generator(None), layers.ReLU()]), discriminator()))


@refused(
    NETWORKS,
    "a network that does not know its input",
    "the discriminator must be a Sequential or functional model that begins with keras.Input",
)
def no_input():
    made(players=(generator(), keras.Sequential([layers.Flatten(), layers.Dense(1)])))


@refused(
    NETWORKS,
    "networks that do not fit",
    "the generator makes (4, 4, 1), the discriminator reads (28, 28, 1): the two shapes must be equal",
)
def unequal():
    made(players=(generator(), models.mlp_discriminator((2,))))


@refused(
    NETWORKS,
    "`discriminator.trainable = False`, as older tutorials have it",
    "the discriminator has no weights to train: set its `trainable` to True",
)
def frozen():
    model = made()
    model.discriminator.trainable = False
    fit(compiled(model))


# compile

COMPILE = "`compile`"


@works(COMPILE, "`compile('adam', 'rmsprop', loss='minimax')`", "names are looked up")
def names():
    model = made()
    model.compile("adam", "rmsprop", loss="minimax")
    fit(model)
    assert isinstance(model.discriminator_optimizer, keras.optimizers.RMSprop)
    assert model.adversarial_loss == losses.minimax


@works(COMPILE, "`run_eagerly=True`", "each step is Python, with the same losses")
def eagerly():
    keras.utils.set_random_seed(0)
    one = fit(compiled(run_eagerly=True))
    keras.utils.set_random_seed(0)
    other = fit(compiled())
    np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-5)


@works(COMPILE, "`steps_per_execution=2`", "two steps for each call")
def execution():
    calls = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: calls.append(batch))
    model = compiled(steps_per_execution=2)
    fit(model, callbacks=[count])
    assert (len(calls), steps(model)) == (1, 2)


@works(COMPILE, "a learning rate that is a schedule", "is followed")
def schedule():
    model = made()
    decay = keras.optimizers.schedules.PiecewiseConstantDecay([1], [1e-2, 1e-3])
    model.compile(keras.optimizers.Adam(decay), "adam")
    fit(model)
    np.testing.assert_allclose(rates(model), [1e-3, 1e-3])


@works(COMPILE, "a second `compile`, with new optimizers", "starts them and keeps the weights")
def again():
    model = compiled()
    fit(model)
    before = model.get_weights()
    compiled(model)
    assert same(before, model.get_weights())
    assert int(model.optimizer.iterations) == 0


@refused(COMPILE, "one optimizer twice", "each player needs an optimizer of its own: two objects, not one given twice")
def twice():
    optimizer = keras.optimizers.Adam()
    made().compile(optimizer, optimizer)


@refused(
    COMPILE,
    "a name that Keras does not know",
    "an optimizer is keras.optimizers.Adam(1e-3) or a name as \"adam\", got 'adamm'",
)
def unknown_optimizer():
    made().compile("adamm", "adam")


@refused(
    COMPILE,
    "a loss of Keras, or an unknown name",
    "loss must be a losses.Loss or one of non_saturating, minimax, least_squares, hinge, wasserstein, relativistic, "
    "got 'binary_crossentropy'",
)
def unknown_loss():
    compiled(loss="binary_crossentropy")


@refused(
    COMPILE,
    "`jit_compile=True`",
    "jit_compile=True cannot be had: XLA makes this step slower on a CPU; leave it out",
)
def jit():
    compiled(jit_compile=True)


@refused(
    COMPILE,
    "an optimizer with `use_ema=True`",
    "the GAN averages the generator itself (ema_decay): leave the optimizer's use_ema out",
)
def use_ema():
    made().compile(keras.optimizers.Adam(use_ema=True), "adam")


@refused(
    COMPILE,
    "a loss for each image, as Keras's own are",
    "the discriminator's loss must be one number, a mean over the batch, and has shape (8, 1)",
)
def each_image():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what cannot be saved
        fit(compiled(loss=losses.Loss(lambda real, fake: -fake, lambda real, fake: fake - real)))


@refused(COMPILE, "a seed that is no whole number", "seed must be a whole number, got None")
def no_seed():
    made(seed=None)


@refused(
    COMPILE,
    "a layer as the augmentation",
    "augment must be a function of (images, seed), got <RandomFlip name=flip, built=False>",
)
def augmentation():
    compiled(augment=layers.RandomFlip(name="flip"))


@refused(COMPILE, "`critic_steps=0`", "critic_steps must be a whole number of at least 1, got 0")
def no_steps():
    compiled(critic_steps=0)


@refused(
    COMPILE,
    "a penalty without its weight's place",
    "a penalty is (of, weight) or (of, weight, every) with a function first, got 10.0",
)
def penalty():
    compiled(penalties=[(10.0, pull)])


# Callbacks

CALLBACKS = "Callbacks"


@works(CALLBACKS, "`LearningRateScheduler`", "sets the generator's rate, and the discriminator's in proportion")
def scheduler():
    model = compiled(rates=(1e-3, 4e-3))
    history = fit(model, epochs=2, callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)])
    np.testing.assert_allclose(rates(model), [2.5e-4, 1e-3], rtol=1e-6)
    np.testing.assert_allclose(history["learning_rate"], [5e-4, 2.5e-4], rtol=1e-6)
    fit(model, callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch: 1e-5)])
    np.testing.assert_allclose(rates(model), [1e-5, 4e-5], rtol=1e-6)


@works(CALLBACKS, "a schedule that comes down to 0 and up again", "keeps the proportion")
def through_zero():
    model = compiled(rates=(1e-3, 4e-3))
    for rate in (0.0, 1e-4):
        fit(model, callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch, _, rate=rate: rate)])
    np.testing.assert_allclose(rates(model), [1e-4, 4e-4], rtol=1e-6)


@works(CALLBACKS, "`ReduceLROnPlateau`", "likewise")
def plateau():
    model = compiled(rates=(1e-3, 4e-3))
    reduce = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e3)
    fit(model, epochs=2, callbacks=[reduce])
    np.testing.assert_allclose(rates(model), [5e-4, 2e-3], rtol=1e-6)


@works(CALLBACKS, "`model.optimizer.learning_rate = x`, or `.assign(x)`", "likewise")
def by_hand():
    model = compiled(rates=(1e-3, 4e-3))
    model.optimizer.learning_rate = model.optimizer.learning_rate * 0.5
    model.optimizer.learning_rate.assign(model.optimizer.learning_rate * 0.5)
    np.testing.assert_allclose(rates(model), [2.5e-4, 1e-3], rtol=1e-6)


@works(CALLBACKS, "`LearningRateScheduler` after a stop where the rate was 0", "keeps the proportion: it is saved")
def zero_saved():
    model, other = compiled(rates=(1e-3, 4e-3)), compiled(rates=(1e-3, 1e-3))
    model.optimizer.learning_rate = 0.0
    with folder() as path:
        model.save_weights(path / "a.weights.h5")
        other.load_weights(path / "a.weights.h5")
    other.optimizer.learning_rate = 1e-4
    np.testing.assert_allclose(rates(other), [1e-4, 4e-4], rtol=1e-6)


@works(CALLBACKS, "`model.generator_optimizer = ...` before `fit`", "callbacks act on the new one")
def replaced():
    model = compiled()
    model.generator_optimizer = keras.optimizers.SGD(1e-2)
    fit(model, callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)])
    np.testing.assert_allclose(rates(model), [5e-3, 2e-3], rtol=1e-6)


@works(CALLBACKS, "`clipnorm` set later in `mixed_float16`", "clips")
def clipped():
    with recipe.dtype_policy("mixed_float16"):
        model = compiled(made(players=(models.mlp_generator(2, (4,)), models.mlp_discriminator((4,)))))
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
    model.generator_optimizer.clipnorm = model.discriminator_optimizer.clipnorm = 1e-12
    weight = model.discriminator.get_weights()[0]
    model.train_on_batch(np.random.default_rng(0).uniform(-1, 1, (4, 28, 28, 1)).astype(np.float32))
    np.testing.assert_allclose(weight, model.discriminator.get_weights()[0], atol=1e-9)


@works(CALLBACKS, "`LearningRateScheduler` in `mixed_float16`", "likewise")
def scaled():
    with recipe.dtype_policy("mixed_float16"):
        model = compiled(made(players=(models.mlp_generator(2, (4,)), models.mlp_discriminator((4,)))))
    model.optimizer.learning_rate = 1e-4
    np.testing.assert_allclose(rates(model), [1e-4, 4e-4], rtol=1e-6)


@works(CALLBACKS, "`mode='min'` or `'max'` for a player's loss", "is watched")
def watched():
    listed = [keras.callbacks.EarlyStopping("val_discriminator_loss", mode="min")]
    listed.append(keras.callbacks.ReduceLROnPlateau("generator_loss", mode="max"))
    fit(validation_data=batches(), epochs=2, callbacks=listed)


@works(CALLBACKS, "`EarlyStopping(restore_best_weights=True)`", "stops, and goes back to all weights of the best epoch")
def early():
    kept, model = [], compiled()
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(model.get_weights()))
    stop = keras.callbacks.EarlyStopping("loss", min_delta=1e3, restore_best_weights=True)
    assert len(fit(model, epochs=5, callbacks=[keep, stop])["loss"]) == 2
    assert same(model.get_weights(), kept[0])


@works(CALLBACKS, "`ModelCheckpoint`, of weights or of all", "writes after each epoch")
def checkpoint():
    with folder() as path:
        of_weights = keras.callbacks.ModelCheckpoint(path / "{epoch}.weights.h5", save_weights_only=True)
        of_all = keras.callbacks.ModelCheckpoint(path / "{epoch}.keras")
        best = keras.callbacks.ModelCheckpoint(path / "best.keras", "val_loss", mode="min", save_best_only=True)
        model = compiled()
        fit(model, epochs=2, validation_data=batches(), callbacks=[of_weights, of_all, best])
        names = ["1.keras", "1.weights.h5", "2.keras", "2.weights.h5", "best.keras"]
        assert sorted(one.name for one in path.iterdir()) == names
        assert same(state(model), state(keras.saving.load_model(path / "2.keras")))


@works(CALLBACKS, "`BackupAndRestore`", "goes on where an interrupted `fit` stood, to the same bits")
def backup():
    def stop(epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    def fresh() -> gan.GAN:
        keras.utils.set_random_seed(0)
        return compiled()

    with folder() as path:
        whole, first, second = fresh(), fresh(), fresh()
        fit(whole, epochs=3)
        with contextlib.suppress(KeyboardInterrupt):
            interrupt = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
            fit(first, epochs=3, callbacks=[keras.callbacks.BackupAndRestore(path / "backup"), interrupt])
        fit(second, epochs=3, callbacks=[keras.callbacks.BackupAndRestore(path / "backup")])
        assert steps(second) == steps(whole)
        assert same(state(second), state(whole))


@works(
    CALLBACKS,
    "`TensorBoard`, `CSVLogger`, `TerminateOnNaN`, `LambdaCallback`",
    "see both losses, and their sum, `loss`",
)
def loggers():
    with folder() as path:
        listed = [keras.callbacks.TensorBoard(path / "board"), keras.callbacks.CSVLogger(path / "log.csv")]
        fit(callbacks=[*listed, keras.callbacks.TerminateOnNaN()])
        header = (path / "log.csv").read_text(encoding="utf-8").splitlines()[0]
        assert header.startswith("epoch,discriminator_loss,generator_loss,")
        assert list((path / "board").rglob("events*"))


@refused(
    CALLBACKS,
    "`LearningRateScheduler` where a player's rate is a schedule",
    "a player's learning rate is a schedule, which nothing else can set: give it a number",
)
def two_schedules():
    model = made()
    model.compile("adam", keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.5)))
    with pytest.raises(UsageError, match="is a schedule"):
        fit(model, callbacks=[keras.callbacks.ReduceLROnPlateau("loss")])
    fit(model, callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)])


@refused(
    CALLBACKS,
    "`model.optimizer.learning_rate = ` a schedule",
    "model.optimizer.learning_rate takes a number; give a schedule to each optimizer",
)
def schedule_for_both():
    compiled().optimizer.learning_rate = keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.5)


@refused(CALLBACKS, "`model.optimizer = ...`", "a GAN has two optimizers: compile it with both")
def one_for_both():
    compiled().optimizer = keras.optimizers.SGD()


@refused(
    CALLBACKS,
    "`EarlyStopping('generator_loss')` and others that watch, without `mode=`",
    'EarlyStopping cannot know which generator_loss is best: give it mode="min" or mode="max"',
)
def undecided():
    fit(callbacks=[keras.callbacks.EarlyStopping("generator_loss")])


@refused(
    CALLBACKS,
    "`model.optimizer.weight_decay = x` and what else neither player would heed",
    "a GAN has two optimizers: set weight_decay of generator_optimizer and discriminator_optimizer",
)
def unheeded():
    compiled().optimizer.weight_decay = 1e-3


@refused(
    CALLBACKS,
    "`SwapEMAWeights`",
    "the GAN shows and saves its own average, ema_generator: leave SwapEMAWeights out",
)
def swap():
    fit(callbacks=[keras.callbacks.SwapEMAWeights()])


@refused(
    CALLBACKS,
    "`ModelCheckpoint` of all, for a subclass that Keras could not make again",
    "Heavier takes weight, which its get_config must return to be saved",
)
def checkpoint_of_what():
    with folder() as path, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(compiled(made(Heavier)), callbacks=[keras.callbacks.ModelCheckpoint(path / "a.keras")])


# Judging

JUDGING = "Judging"


@works(JUDGING, "`validation_data=`, `validation_split=`", "both losses on held-out images, in the mode of training")
def validation():
    history = fit(validation_data=batches(), epochs=2)
    history |= fit(given=images(), validation_split=0.5)
    assert {"val_loss", "val_generator_loss", "val_discriminator_loss"} < set(history)


@works(JUDGING, "a `fit` with validation", "ends in the bits of one without")
def validation_changes_nothing():
    ends = []
    for options in ({}, {"validation_data": batches()}):
        keras.utils.set_random_seed(0)
        model = compiled()
        fit(model, epochs=2, **options)
        ends.append(state(model))
    assert same(*ends)


@works(JUDGING, "`evaluate` of a subclass with a third network", "changes nothing of that, either")
def third_network():
    class Encoded(gan.GAN):
        def __init__(self, *players):
            super().__init__(*players)
            self.encoder = keras.Sequential([keras.Input(SHAPE), layers.BatchNormalization(), layers.Dropout(0.5)])

        def generator_objective(self, batch, fake, seed):
            seen = self.encoder(batch["images"], training=True)
            return super().generator_objective(batch, fake, seed) + tf.reduce_mean(seen)

    model = compiled(made(Encoded))
    before = state(model)
    model.evaluate(batches(), verbose=0)
    assert same(before, state(model))


@works(JUDGING, "a discriminator that knows its images by heart", "shows: the loss on others is far above")
def memory():
    big = keras.Sequential(
        [keras.Input(SHAPE), layers.Flatten(), layers.Dense(256, activation="relu"), layers.Dense(1)]
    )
    model = compiled(made(players=(generator(), big)), rates=(1e-6, 1e-2))
    others = np.random.default_rng(1).uniform(-1, 1, (16, *SHAPE)).astype(np.float32)
    fit(model, epochs=60)
    known, unknown = (model.evaluate(batches(one), verbose=0, return_dict=True) for one in (images(), others))
    assert known["discriminator_loss"] < 0.1
    assert unknown["discriminator_loss"] > 10 * known["discriminator_loss"]


@works(JUDGING, "`evaluate`, `test_on_batch`", "the losses, the same each time; nothing changes")
def evaluate():
    model = compiled()
    before = state(model)
    once, twice = (model.evaluate(batches(), verbose=0) for _ in range(2))
    model.test_on_batch(images(8))
    assert once == twice
    assert len(once) == 3
    assert same(before, state(model))


@works(
    JUDGING, "`validation_data=(images, labels)`, with `validation_steps`", "labels go to the networks, as in training"
)
def labelled_validation():
    label = np.arange(16) % 2
    model = compiled(made(labels=True))
    history = fit(model, images(), y=label, validation_data=(images(), label), validation_steps=1, batch_size=8)
    assert np.isfinite(history["val_loss"]).all()


@works(JUDGING, "a metric of a subclass's own", "is reset each epoch, and listed once")
def own_metric():
    class Counted(gan.GAN):
        def __init__(self, *players):
            super().__init__(*players)
            self.counted = keras.metrics.Sum(name="counted")

        def train_step(self, batch):
            logs = super().train_step(batch)
            self.counted.update_state(1.0)
            return logs | {"counted": self.counted.result()}

    model = compiled(made(Counted))
    history = fit(model, epochs=2, validation_data=batches())
    assert history["counted"] == [2.0, 2.0]
    assert model.metrics_names == ["loss", "generator_loss", "discriminator_loss", "counted"]


@works(JUDGING, "`predict(z)`, `predict_on_batch(z)`, `model(z)`", "images of the averaged generator")
def predict():
    model, z = compiled(), np.ones((5, LATENT_DIM), np.float32)
    expected = model.ema_generator(z, training=False)
    for drawn in (model.predict(z, verbose=0), model.predict_on_batch(z), model(z)):
        np.testing.assert_allclose(drawn, expected, atol=1e-6)


@works(JUDGING, "`metrics_names`, `summary()`", "each loss once; three networks with names of their own")
def described():
    model = compiled()
    assert model.metrics_names == ["loss", "generator_loss", "discriminator_loss"]
    model.generator.name = "generator"
    lines = []
    made(players=(models.mlp_generator(2, (4,)), models.mlp_discriminator((4,)))).summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert [text.count(f" {name} (Sequential)") for name in ("generator", "discriminator", "ema_generator")] == [
        1,
        1,
        1,
    ]


# Saving

SAVING = "Saving"


@works(
    SAVING, "`save_weights`, `load_weights`", "networks, average, both optimizers, step and seeds: the same next step"
)
def weights():
    model, other = compiled(), compiled()
    fit(model)
    with folder() as path, silent():
        model.save_weights(path / "a.weights.h5")
        other.load_weights(path / "a.weights.h5")
    assert same_next_step(model, other)


@works(SAVING, "`save_weights` of a GAN that was not trained or compiled yet", "is written")
def unbuilt():
    with folder() as path, silent():
        made().save_weights(path / "a.weights.h5")
        made().save(path / "a.keras")
        assert not keras.saving.load_model(path / "a.keras").compiled


@works(
    SAVING,
    "`save`, `keras.saving.load_model` (after `from gan_tf import gan`), in safe mode",
    "compiled as before: the same next step",
)
def whole():
    model = compiled(loss="least_squares", penalties=[(pull, 0.1, 2)], augment=flip, critic_steps=2)
    fit(model)
    with folder() as path, silent():
        model.save(path / "a.keras")
        other = keras.saving.load_model(path / "a.keras", safe_mode=True)
    assert (other.critic_steps, other.penalties, other.augment) == (2, model.penalties, flip)
    assert same_next_step(model, other)


@works(SAVING, "a loss of your own, of registered functions or of the package's", "is found again")
def own_loss():
    model = compiled(loss=losses.Loss(losses.minimax_generator_loss, hinge))
    with folder() as path, silent():
        model.save(path / "a.keras")
        other = keras.saving.load_model(
            path / "a.keras", custom_objects={"minimax_generator_loss": losses.minimax_generator_loss}
        )
    assert other.adversarial_loss == model.adversarial_loss
    assert same_next_step(model, other)


@works(SAVING, '`loss=losses.smoothed("minimax", 0.9)`', "is found again")
def smoothed():
    model = compiled(loss=losses.smoothed("minimax", 0.9))
    fit(model)
    with folder() as path, silent():
        model.save(path / "a.keras")
        other = keras.saving.load_model(path / "a.keras", safe_mode=True)
    assert other.adversarial_loss == losses.smoothed(losses.minimax, 0.9) != losses.minimax
    assert same_next_step(model, other)


@works(
    SAVING,
    "`penalties=[(penalties.r1, 0.5)]`, and `normalization=` of `models` (after `from gan_tf import gan, models`)",
    "are found again",
)
def penalised():
    network = models.mlp_discriminator((4, 4), normalization="spectral")
    model = made(players=(models.mlp_generator(2, (4,)), network))
    compiled(model, penalties=[(penalties.r1, 0.5), (penalties.gradient_penalty, 10.0)])
    batch = np.random.default_rng(0).uniform(-1, 1, (4, 28, 28, 1)).astype(np.float32)
    model.train_on_batch(batch)
    with folder() as path, silent():
        model.save(path / "a.keras")
        other = keras.saving.load_model(path / "a.keras")
    assert other.penalties == model.penalties
    assert model.train_on_batch(batch) == other.train_on_batch(batch)
    assert same(state(model), state(other))


@works(SAVING, "`augment=augment.in_sequence(augment.translation, augment.cutout)`", "is found again")
def augmented():
    model = made(players=(models.mlp_generator(2, (4,)), models.mlp_discriminator((4,))))
    compiled(model, augment=augment.in_sequence(augment.translation, augment.cutout))
    batch = np.random.default_rng(0).uniform(-1, 1, (4, 28, 28, 1)).astype(np.float32)
    model.train_on_batch(batch)
    with folder() as path, silent():
        model.save(path / "a.keras")
        other = keras.saving.load_model(path / "a.keras")
    assert other.augment.functions == [augment.translation, augment.cutout]
    assert model.train_on_batch(batch) == other.train_on_batch(batch)
    assert same(state(model), state(other))


@works(SAVING, "schedules, `mixed_float16`", "are saved, too")
def half():
    with recipe.dtype_policy("mixed_float16"):
        model = made(players=(models.mlp_generator(2, (4,)), models.mlp_discriminator((4,))))
        decay = keras.optimizers.schedules.CosineDecay(1e-2, 10)
        model.compile(keras.optimizers.Adam(decay), "adam")
    batch = np.random.default_rng(0).uniform(-1, 1, (4, 28, 28, 1)).astype(np.float32)
    model.train_on_batch(batch)
    with folder() as path, silent():
        model.save(path / "a.keras")
        other = keras.saving.load_model(path / "a.keras")
    assert same(state(model), state(other))
    assert model.train_on_batch(batch) == other.train_on_batch(batch)
    assert same(state(model), state(other))


@works(SAVING, "a subclass, with `load_model(..., custom_objects={'Mine': Mine})`", "the same next step")
def subclass():
    model = compiled(made(Mine, ema_decay=0.5, seed=7))
    fit(model)
    with folder() as path, silent():
        model.save(path / "a.keras")
        other = keras.saving.load_model(path / "a.keras", custom_objects={"Mine": Mine})
    assert (type(other), other.ema_decay, other.seed) == (Mine, 0.5, 7)
    assert same_next_step(model, other)


@works(
    SAVING,
    "a lambda as a loss, a penalty or an augmentation",
    "`compile` warns that `save` must leave out how it was compiled; compile the loaded GAN, and `load_weights` the "
    "same file: the same next step",
)
def nameless():
    def cut(images, seed):
        return images

    model, options = made(), {"augment": lambda images, seed: cut(images, seed)}
    (line,) = warned(lambda: compiled(model, **options))
    assert line.startswith("`save` will leave out how this GAN was compiled, for the augmentation cannot be found")
    fit(model)
    with folder() as path, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path / "a.keras")
        other = keras.saving.load_model(path / "a.keras")
        assert not other.compiled
        compiled(other, **options)
        other.load_weights(path / "a.keras")
    assert same_next_step(model, other)


@works(SAVING, "`tf.train.Checkpoint(model=gan)`", "networks and optimizers, but not the seeds of dropout and noise")
def tensorflow_checkpoint():
    model, other = compiled(), compiled()
    fit(model)
    with folder() as path:
        tf.train.Checkpoint(model=other).read(tf.train.Checkpoint(model=model).write(str(path / "a")))
    assert same(model.get_weights(), other.get_weights())
    assert same(values(model.discriminator_optimizer.variables), values(other.discriminator_optimizer.variables))


@works(SAVING, "`clone_model`, `to_json`, `copy.deepcopy`, `pickle`", "make another GAN of the same networks")
def copies():
    model = compiled()
    fit(model)
    cloned = keras.models.clone_model(model)
    again = keras.models.model_from_json(model.to_json())
    assert [one.count_params() for one in (cloned, again)] == [model.count_params()] * 2
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same(state(model), state(other))


@works(SAVING, "`export`", "writes the averaged generator as a SavedModel")
def export():
    model, z = compiled(), tf.ones((3, LATENT_DIM))
    with folder() as path:
        model.export(path / "served", verbose=False)
        served = tf.saved_model.load(path / "served")
        drawn = served.serve(z)
    np.testing.assert_allclose(drawn, model(z), atol=1e-6)


@works(
    SAVING, "networks in `mixed_float16`, in a process of another policy", "scale their losses, each by its own policy"
)
def other_policy():
    with recipe.dtype_policy("mixed_float16"):
        players = models.mlp_generator(2, (4,)), models.mlp_discriminator((4,))
    model = compiled(made(players=players))
    scaled = keras.optimizers.LossScaleOptimizer
    assert [isinstance(one, scaled) for one in (model.generator_optimizer, model.discriminator_optimizer)] == [True] * 2


@works(SAVING, "a subclass that makes its networks itself, with a `get_config`", "is made again")
def own_networks():
    model = compiled(made(Whole, width=3))
    with folder() as path:
        model.save(path / "a.keras")
        other = keras.saving.load_model(path / "a.keras", custom_objects={"Whole": Whole})
    assert other.width == 3
    assert same_next_step(model, other)


@works(SAVING, "a subclass that compiles with more", "`compile` warns; the loaded GAN is compiled again by hand")
def compiles_with_more():
    model = made(Penalised)
    (line,) = warned(lambda: model.compile("adam", "adam", pull=7.0))
    assert "for pull cannot be found again" in line
    with folder() as path:
        model.save(path / "a.keras")
        assert not keras.saving.load_model(path / "a.keras", custom_objects={"Penalised": Penalised}).compiled


@refused(
    SAVING,
    "`save('a.h5')`",
    "a GAN is saved as a .keras file, or by save_weights, and not as a.h5",
)
def hdf5():
    compiled().save("a.h5")


@refused(
    SAVING,
    "`ModelCheckpoint` of all, with a schedule that Keras cannot describe",
    "a part of this GAN cannot be saved: it has none; use save_weights",
)
def schedule_without_config():
    class Constant(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 1e-3

        def get_config(self):
            raise ValueError("it has none")

    model = made()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.compile(keras.optimizers.Adam(Constant()), "adam")
    with folder() as path:
        fit(model, callbacks=[keras.callbacks.ModelCheckpoint(path / "a.keras")])


@refused(
    SAVING,
    "`save`, for a subclass that takes no networks and has no `get_config`",
    "NoArguments does not take the networks, and needs a get_config of its own to be saved",
)
def no_arguments():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled(NoArguments()).save("a.keras")


@refused(
    SAVING,
    "`save`, for a subclass whose `get_config` lacks an argument (`compile` warns of it)",
    "Heavier takes weight, which its get_config must return to be saved",
)
def lacking():
    with folder() as path:
        (line,) = warned(lambda: compiled(made(Heavier)))
        assert line.endswith("not saved by `save`: Heavier takes weight, which its get_config must return to be saved")
        try:
            MADE[-1][0].save(path / "a.keras")
        finally:
            assert not list(path.iterdir())


# Several devices

DEVICES = "Several devices"


def scope():
    return devices.strategy("mirrored").scope()


@works(DEVICES, "`with strategy.scope():` around networks, GAN, optimizers and `compile`", "what one device does")
def inside():
    with scope():
        model = compiled()
    history = fit(
        model, images(), validation_split=0.5, callbacks=[keras.callbacks.LearningRateScheduler(lambda e, r: r / 2)]
    )
    assert {"val_loss", "loss", "learning_rate"} < set(history)
    np.testing.assert_allclose(rates(model), [5e-4, 2e-3], rtol=1e-6)
    with folder() as path, silent():
        model.save(path / "a.keras")
        assert same(state(model), state(keras.saving.load_model(path / "a.keras")))


@works(DEVICES, "`evaluate`", "the losses that one device finds, to the rounding of float32")
def evaluate_on_two():
    with scope():
        two = compiled(made(players=(generator(), discriminator(dropout=0.0))))
    one = compiled(made(players=(generator(), discriminator(dropout=0.0))))
    one.set_weights(two.get_weights())
    found = [model.evaluate(images(), batch_size=8, verbose=0) for model in (one, two)]
    np.testing.assert_allclose(*found, rtol=1e-5)
    assert same(numbers(one)[:3], numbers(two)[:3])


@refused(
    DEVICES,
    "`compile` outside the scope of the GAN",
    "compile the GAN in the same `with strategy.scope():` in which it was made",
)
def compile_outside():
    with scope():
        model = made()
    compiled(model)


@refused(
    DEVICES,
    "networks from outside",
    "the generator was made in another scope; make all of it in one `with strategy.scope():`",
)
def networks_outside():
    players = generator(), discriminator()
    with scope():
        compiled(made(players=players))


@refused(
    DEVICES,
    "optimizers from outside",
    "the generator's optimizer was made in another scope; make all of it in one `with strategy.scope():`",
)
def optimizers_outside():
    optimizers = keras.optimizers.Adam(), keras.optimizers.Adam()
    with scope():
        made().compile(*optimizers)


@refused(
    DEVICES,
    "`fit` in the scope of a strategy, of a GAN that was made outside",
    "the GAN was made in another scope; make all of it in one `with strategy.scope():`",
)
def fit_inside():
    model = compiled()
    with scope():
        fit(model, images())


@refused(
    DEVICES,
    "an array whose last batch does not divide by the replicas",
    "13 images in batches of 4: each must divide by 2 (critic_steps x replicas), the last one, too; leave some images "
    "out, or use data.batches",
)
def ragged():
    with scope():
        model = compiled()
    for options in ({"validation_data": (images(13),)}, {"validation_split": 0.3}):
        with pytest.raises(UsageError, match="images in batches of 4: each must divide by 2"):
            fit(model, images(), batch_size=4, **options)
    fit(model, images(13), batch_size=4)


@refused(DEVICES, "the same of a dataset, when it comes", "a batch must divide by the 2 replicas; use drop_remainder")
def ragged_dataset():
    with scope():
        model = compiled()
    fit(model, tf.data.Dataset.from_tensor_slices(images(3)).batch(4))


@refused(DEVICES, "`steps_per_execution=2`", "steps_per_execution must be 1 on 2 replicas, got 2")
def execution_on_two():
    with scope():
        compiled(steps_per_execution=2)


@refused(
    DEVICES,
    "`gradient_accumulation_steps=`",
    "gradient_accumulation_steps cannot be had on 2 replicas; leave it out",
)
def accumulation():
    with scope():
        made().compile(keras.optimizers.Adam(gradient_accumulation_steps=2), keras.optimizers.Adam())


@refused(
    DEVICES,
    "`clipnorm=` and its like",
    "clipnorm would clip each of the 2 replicas' gradients by itself; leave it out",
)
def clipping():
    with scope():
        made().compile(keras.optimizers.Adam(clipnorm=1.0), keras.optimizers.Adam())


HEAD = """\
# What of Keras works here

`gan_tf.gan.GAN` is a `keras.Model`, and is used as one. Each line below is a test: `tests/keras_table.py` holds them
and writes this page. What is refused is refused in one line, by a `gan_tf.UsageError` (a `ValueError`), before a
weight changes; where only a later batch shows it, before the step on that batch.
"""


def page() -> str:
    """Return docs/keras.md."""
    text = HEAD
    for section in dict.fromkeys(row.section for row in ROWS):
        text += f"\n## {section}\n\n| what you do | what happens |\n| --- | --- |\n"
        for row in (one for one in ROWS if one.section == section):
            happens = f"**refused**: {row.happens}" if row.refused else row.happens
            text += f"| {row.what} | {happens} |\n"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
