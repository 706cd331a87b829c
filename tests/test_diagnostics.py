"""What is measured of two players: against hand-made logits and gradients, and that to measure is not to train."""

import keras
import numpy as np
import pytest
import small
import tensorflow as tf

from gan_tf import data, diagnostics, gan, losses, models, plots, runs
from gan_tf.files import read_csv
from gan_tf.runs import callbacks, devices, diagnosis, recipe

PLAYERS = ("generator", "discriminator")
SEED = gan.fold([0, 0], "diagnostics")


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


def built(model: str = "dcgan", **changes) -> gan.GAN:
    return small.build(recipe.Settings(model=model, **changes).with_model_defaults())


def calm() -> gan.GAN:
    """Build a GAN that draws nothing but z."""
    keras.utils.set_random_seed(0)
    model = gan.GAN(models.mlp_generator(8, (8,)), models.mlp_discriminator((4,), dropout=0.0))
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.2))
    return model


def batch_of(images: np.ndarray) -> gan.Batch:
    return {"images": data.to_float(images)}


def state(model: gan.GAN) -> list[np.ndarray]:
    """Return all that a model holds: weights, averages, batch statistics, seeds, counts, both optimizers' slots."""
    variables = [*model.variables, *model.generator_optimizer.variables, *model.discriminator_optimizer.variables]
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


@pytest.mark.parametrize("kind", ["dcgan", "mlp"])
@pytest.mark.parametrize("compiled", [False, True])
def test_to_measure_changes_nothing(digits, kind, compiled):
    model = built(kind)
    batch, held_out = batch_of(digits.x_train[:16]), batch_of(digits.x_test[:16])
    wrapped = tf.function if compiled else lambda function: function
    before = state(model)
    looked = wrapped(lambda: diagnostics.look(model, batch, held_out, SEED))()
    lengths = wrapped(lambda: diagnostics.gradient_lengths(model, batch, SEED))()
    assert all(np.array_equal(*pair) for pair in zip(before, state(model), strict=True))
    assert looked["fake"].shape == (16, 28, 28, 1)
    assert {name: value.shape for name, value in looked.items() if "logits" in name} == {
        f"{name}_logits": (16,) for name in ("real", "fake", "held_out")
    }
    assert all(float(length) > 0 for length in lengths.values())


def test_what_it_shows_are_the_networks_answers(digits):
    model, batch, held_out = calm(), batch_of(digits.x_train[:16]), batch_of(digits.x_test[:16])
    looked = diagnostics.look(model, batch, held_out, SEED)
    fake = model.generator(model.generator_inputs(batch, SEED), training=True)
    np.testing.assert_allclose(looked["fake"], fake, atol=1e-6)
    for name, images in (("real", batch["images"]), ("held_out", held_out["images"]), ("fake", fake)):
        np.testing.assert_allclose(looked[f"{name}_logits"], model.discriminator(images)[:, 0], atol=1e-5)


def test_the_lengths_are_those_of_a_step_s_gradients(digits):
    """With plain descent a step is the gradient times the rate: 0.1 and 0.2."""
    model, batch = calm(), batch_of(digits.x_train[:16])
    lengths = diagnostics.gradient_lengths(model, batch, SEED)
    for player, rate in zip(PLAYERS, (0.1, 0.2), strict=True):
        model = calm()
        network = getattr(model, player)
        before = [weight.numpy().copy() for weight in network.trainable_variables]
        getattr(model, f"{player}_step")(batch, SEED)
        pairs = zip(network.trainable_variables, before, strict=True)
        moved = np.sqrt(sum(np.sum((weight.numpy() - old) ** 2) for weight, old in pairs))
        np.testing.assert_allclose(lengths[f"{player}_gradient"], moved / rate, rtol=1e-4)


def test_in_16_bits_the_lengths_are_about_the_same(digits):
    batch = batch_of(digits.x_train[:16])
    whole = diagnostics.gradient_lengths(built(), batch, SEED)
    half = diagnostics.gradient_lengths(built(precision="mixed_float16"), batch, SEED)
    for name, length in whole.items():
        np.testing.assert_allclose(half[name], length, rtol=0.1)


def measured(real, fake, held_out, images=None) -> dict[str, np.ndarray]:
    """Return what a look and the gradients could have found."""
    images = np.random.default_rng(0).normal(size=(4, 2, 2, 1)) if images is None else images
    logits = {"real_logits": real, "fake_logits": fake, "held_out_logits": held_out}
    found = {name: np.array(values, float) for name, values in logits.items()}
    return found | {"fake": images, "generator_gradient": 3.0, "discriminator_gradient": 5.0}


REAL = np.random.default_rng(1).normal(size=(4, 2, 2, 1))


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        (([2, 4], [-1, -3], [2, 4]), {"real_accuracy": 1, "fake_accuracy": 1, "separation": 1, "memorised": 0}),
        (([2, 4], [-1, -3], [-1, -3]), {"real_logit": 3, "fake_logit": -2, "held_out_logit": -2, "memorised": 1}),
        (([2, -2], [2, -2], [0, 0]), {"real_accuracy": 0.5, "fake_accuracy": 0.5, "separation": 0.25}),
        (([-3, -1], [2, 4], [0, 0]), {"real_accuracy": 0, "fake_accuracy": 0, "separation": 0, "memorised": np.nan}),
        (([3, 1], [1, -1], [2, 2]), {"logit_spread": 2**0.5, "generator_gradient": 3, "discriminator_gradient": 5}),
    ],
)  # fmt: skip
def test_a_row_sums_up_hand_made_logits(logits, expected):
    row = diagnostics.summary([measured(*logits)], REAL)
    np.testing.assert_allclose([row[name] for name in expected], list(expected.values()), atol=1e-12)


def test_several_looks_are_one_row():
    two = [measured([1], [-1], [1]), measured([3], [-1], [3]) | {"generator_gradient": 5.0}]
    row = diagnostics.summary(two, REAL)
    assert (row["real_logit"], row["generator_gradient"]) == (2, 4)


def test_a_loss_that_is_undecided_at_a_half_is_judged_from_there():
    row = diagnostics.summary([measured([0.9, 0.4], [0.1, 0.6], [1, 1])], REAL, undecided=0.5)
    assert (row["real_accuracy"], row["fake_accuracy"]) == (0.5, 0.5)
    assert diagnostics.UNDECIDED[losses.least_squares] == 0.5


@pytest.mark.parametrize("name", ["wasserstein", "relativistic"])
def test_a_loss_of_differences_is_judged_from_half_way(name):
    """The same number added to all logits changes no row: 3.5 lies between the means, 5 and 2."""
    undecided = diagnostics.UNDECIDED[losses.LOSSES[name]]
    for shift in (0, -100):
        logits = ([shift + 6, shift + 4], [shift, shift + 4], [shift, shift])
        row = diagnostics.summary([measured(*logits)], REAL, undecided)
        assert (row["real_accuracy"], row["fake_accuracy"]) == (1, 0.5)


def test_diversity_is_0_for_copies_and_1_for_real_images():
    copies = np.repeat(REAL[:1], 4, axis=0)
    for images, expected in ((copies, 0), (REAL, 1), (3 * REAL, 3)):
        row = diagnostics.summary([measured([1], [-1], [1], images)], REAL)
        np.testing.assert_allclose(row["diversity"], expected)


def test_a_fake_has_the_class_of_its_nearest_image():
    images, labels = np.array([0.0, 1.0, 10.0, 20.0])[:, None], np.array([3, 3, 5, 7])
    shares = diagnostics.class_shares(np.array([0.4, 0.9, 11.0, 3.0])[:, None], images, labels)
    assert shares == {"class_3": 0.75, "class_5": 0.25, "class_7": 0.0}


def test_held_out_digits_have_shares_near_a_tenth(digits):
    images, held_out = (data.to_float(part).numpy() for part in (digits.x_train[:1000], digits.x_test))
    shares = diagnostics.class_shares(held_out, images, digits.y_train[:1000])
    assert len(shares) == 10
    assert 0.05 < min(shares.values()) < max(shares.values()) < 0.16


# the callback

SCHEDULE = callbacks.Schedule(images=32, steps_per_epoch=6, epochs=1)


def watched(model: gan.GAN, digits: data.Dataset, every: int = 2, **options) -> callbacks.History:
    """Train for six steps with the callback, and return the history."""
    history = callbacks.History(SCHEDULE, options.pop("folder", None))
    watching = diagnosis.Diagnostics(history, digits, every=every, **options)
    labels = digits.y_train if model.labelled else None
    batches = data.batches(digits.x_train, 32, seed=0, labels=labels, endless=True)
    batches = devices.distribute(batches, model.distribute_strategy)
    model.fit(batches, steps_per_epoch=6, verbose=0, callbacks=[history, watching])
    return history


@pytest.mark.slow
def test_a_row_comes_every_so_many_steps(digits, tmp_path):
    table = watched(built(), digits, folder=tmp_path).diagnostics
    assert table["step"] == [2, 4, 6]
    assert table["images"] == [64, 128, 192]
    assert read_csv(tmp_path / "diagnostics.csv") == table
    assert all(np.isfinite(column).all() for name, column in table.items() if name != "memorised")
    np.testing.assert_allclose(sum(np.array(table[f"class_{digit}"]) for digit in range(10)), 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dcgan", "mlp"])
def test_the_training_is_the_same_with_and_without_it(digits, kind):
    model, other = built(kind), built(kind)
    watched(model, digits)
    batches = data.batches(digits.x_train, 32, seed=0, endless=True)
    other.fit(batches, steps_per_epoch=6, verbose=0)
    assert all(np.array_equal(*pair) for pair in zip(state(model), state(other), strict=True))


@pytest.mark.slow
def test_the_update_is_what_a_step_moves_the_weights_by(digits):
    model, moved = calm(), []

    class Moved(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.before = np.concatenate([np.ravel(w) for w in self.model.generator.trainable_variables])

        def on_train_batch_end(self, batch, logs=None):
            now = np.concatenate([np.ravel(w) for w in self.model.generator.trainable_variables])
            moved.append(np.linalg.norm(now - self.before) / np.linalg.norm(self.before))

    history = callbacks.History(SCHEDULE)
    batches = data.batches(digits.x_train, 32, seed=0, endless=True)
    listed = [history, diagnosis.Diagnostics(history, digits, every=3), Moved()]
    model.fit(batches, steps_per_epoch=6, verbose=0, callbacks=listed)
    np.testing.assert_allclose(history.diagnostics["generator_update"], [moved[2], moved[5]], rtol=1e-4)
    rows = np.reshape(history.losses["generator_loss"], (2, 3)).mean(axis=1)
    np.testing.assert_allclose(history.diagnostics["generator_loss"], rows, rtol=1e-5)


@pytest.mark.slow
def test_with_several_steps_for_each_call_it_comes_where_the_multiple_was_passed(digits):
    model = built()
    model.compile(
        keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3), loss=losses.least_squares, steps_per_execution=3
    )
    table = watched(model, digits, every=2).diagnostics
    assert table["step"] == [3, 6]
    assert 0 < table["generator_update"][0] < 0.01


@pytest.mark.slow
def test_conditional_networks_are_given_labels(digits):
    z, label = keras.Input((4,)), keras.Input((), dtype="int32")
    x = keras.layers.Concatenate()([z, keras.layers.Embedding(10, 3)(label)])
    generator = keras.Model([z, label], keras.layers.Reshape((28, 28, 1))(keras.layers.Dense(784, "tanh")(x)))
    image, label = keras.Input((28, 28, 1)), keras.Input((), dtype="int32")
    x = keras.layers.Concatenate()([keras.layers.Flatten()(image), keras.layers.Embedding(10, 3)(label)])
    model = gan.GAN(generator, keras.Model([image, label], keras.layers.Dense(1)(x)))
    model.compile("sgd", "adam")
    assert watched(model, digits).diagnostics["step"] == [2, 4, 6]


@pytest.mark.slow
def test_two_replicas_measure_what_one_does(digits):
    tables = []
    for name in ("one", "mirrored"):
        with devices.strategy(name).scope():
            model = calm()
        tables.append(watched(model, digits).diagnostics)
    one, two = tables
    assert one.keys() == two.keys()
    for name in ("real_logit", "held_out_logit", "discriminator_update", "generator_update", "generator_loss"):
        np.testing.assert_allclose(two[name], one[name], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_dataset_without_labels_has_no_classes(digits):
    table = watched(built(), digits._replace(y_train=None, y_test=None)).diagnostics
    assert not [name for name in table if name.startswith("class_")]


@pytest.mark.slow
def test_a_finding_is_told_once(digits, monkeypatch):
    told, finding = [], diagnosis.doctor.Finding("x", 64, 192, True, "evidence", "cause", "cure", "chapter")
    monkeypatch.setattr(diagnosis.doctor, "findings", lambda table: [finding] * (len(table["step"]) > 1))
    watched(built(), digits, say=told.append)
    assert told == [finding.in_short()]


@pytest.mark.slow
def test_a_run_that_is_stopped_and_goes_on_has_the_same_rows(monkeypatch, tmp_path):
    monkeypatch.setattr(diagnosis, "EVERY", 2)
    settings = runs.Settings(dataset="digits", epochs=2, batch_size=250, model="mlp")
    runs.train(tmp_path / "whole", settings, build=small.build)

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.steps_taken) == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.train(tmp_path / "again", settings, checkpoint_every=3, build=small.build, callbacks=[Stop()])
    runs.train(tmp_path / "again", settings, checkpoint_every=3, build=small.build)
    tables = [read_csv(tmp_path / name / "diagnostics.csv") for name in ("whole", "again")]
    assert tables[0]["step"] == [2, 4, 6, 8, 10, 12]
    np.testing.assert_equal(tables[0], tables[1])
    assert (tmp_path / "whole" / "diagnostics.png").exists()


@pytest.mark.slow
def test_the_figure_has_six_panels_with_the_class_s_share(digits):
    figure = diagnostics.plot(watched(built(), digits).diagnostics)
    assert [axes.get_title() for axes in figure.axes] == list(diagnostics.PANELS)
    assert figure.axes[-1].lines[-1].get_label() == "share of the largest class"
    plots.plt.close(figure)
