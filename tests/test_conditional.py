"""Where a label goes in, checked by hand; ACGAN's objectives; what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

from gan_tf import conditional, data, evaluator, gan, models, players, runs
from gan_tf.__main__ import main
from gan_tf.runs import plan, training

Z = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2])
IMAGES = np.random.default_rng(1).uniform(-1, 1, (6, 28, 28, 1)).astype(np.float32)


def generator() -> keras.Model:
    return conditional.conditional_generator(models.dcgan_generator(4 + conditional.LABEL_DIM, (8, 4, 2)), 3)


def discriminator(into, channels: int = 1) -> keras.Model:
    return into(models.dcgan_discriminator((2, 4), dropout=0.0, image_shape=(28, 28, channels)), 3)


def embedding(network: keras.Model) -> np.ndarray:
    return network.get_layer("label_embedding").get_weights()[0]


def test_z_stands_before_the_label_s_own_numbers():
    labelled = generator()
    plain = models.dcgan_generator(4 + conditional.LABEL_DIM, (8, 4, 2))
    plain.set_weights([w for w in labelled.get_weights() if w.shape != (3, conditional.LABEL_DIM)])
    together = np.concatenate([Z, embedding(labelled)[LABELS]], axis=1)
    np.testing.assert_allclose(labelled([Z, LABELS]), plain(together), atol=1e-6)


def test_a_label_counts_as_much_as_z_at_the_start():
    network = conditional.conditional_generator(models.dcgan_generator(4 + conditional.LABEL_DIM, (8, 4, 2)), 200)
    assert 0.9 < embedding(network).std() < 1.1  # of 2,000 numbers of a standard normal


def test_concatenation_puts_a_plane_beside_the_image():
    network = discriminator(conditional.concatenation, channels=2)
    plain = models.dcgan_discriminator((2, 4), dropout=0.0, image_shape=(28, 28, 2))
    plain.set_weights([w for w in network.get_weights() if w.shape != (3, 28 * 28)])
    planes = embedding(network)[LABELS].reshape(6, 28, 28, 1)
    expected = plain(np.concatenate([IMAGES, planes], axis=-1))
    np.testing.assert_allclose(network([IMAGES, LABELS]), expected, atol=1e-5)


def test_projection_is_the_papers_equation():
    """Miyato and Koyama 2018, equation 3, by NumPy on the features that the last layer reads."""
    network = discriminator(conditional.projection)
    rows = np.random.default_rng(2).standard_normal(embedding(network).shape).astype(np.float32)
    network.get_layer("label_embedding").set_weights([rows])
    dense = next(layer for layer in network.layers if isinstance(layer, layers.Dense))
    dot = next(layer for layer in network.layers if isinstance(layer, layers.Dot))
    features = keras.Model(network.inputs[0], dot.input[1])(IMAGES).numpy()

    weight, bias = dense.get_weights()
    expected = features @ weight[:, 0] + bias + (rows[LABELS] * features).sum(axis=1)
    np.testing.assert_allclose(network([IMAGES, LABELS])[:, 0], expected, rtol=1e-4, atol=1e-5)


def test_projection_begins_without_a_view_on_labels():
    network = discriminator(conditional.projection)
    np.testing.assert_array_equal(network([IMAGES, LABELS]), network([IMAGES, (LABELS + 1) % 3]))


def test_auxiliary_gives_a_logit_and_class_logits_of_the_same_features():
    logit, class_logits = discriminator(conditional.auxiliary)(IMAGES)
    assert logit.shape == (6, 1)
    assert class_logits.shape == (6, 3)


@pytest.mark.parametrize("make", [generator, models.dcgan_generator, lambda: discriminator(conditional.projection)])
def test_only_a_generator_with_an_embedding_knows_its_classes(make):
    assert players.classes_of(make()) == (None if make is models.dcgan_generator else 3)


@pytest.mark.parametrize(
    ("into", "network", "classes", "line"),
    [
        (conditional.projection, generator, 3, "a label is put into a Sequential model that begins with keras.Input"),
        (conditional.projection, models.dcgan_discriminator, 1, "classes must be a whole number of at least 2, got 1"),
        (conditional.auxiliary, models.dcgan_discriminator, True, "classes must be a whole number of at least 2"),
        (conditional.projection, models.dcgan_generator, 3, r"must end in Dense\(1\), and ends in Activation"),
        (conditional.concatenation, models.dcgan_discriminator, 3, "must take images of one channel more"),
        (
            conditional.conditional_generator,
            lambda: models.dcgan_generator(10),
            3,
            "must take more than the label's 10 numbers, and takes 10",
        ),
        (conditional.projection, lambda: keras.Sequential([layers.Dense(1)]), 3, "begins with keras.Input"),
    ],
)
def test_what_cannot_take_a_label_is_refused(into, network, classes, line):
    with pytest.raises(ValueError, match=line):
        into(network(), classes)


# ACGAN.


def acgan(weight: float = 1.0) -> conditional.ACGAN:
    model = conditional.ACGAN(generator(), discriminator(conditional.auxiliary), class_weight=weight)
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
    return model


def cross_entropy_by_hand(class_logits: np.ndarray) -> float:
    shifted = class_logits - class_logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -float(log_p[np.arange(6), LABELS].mean())


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_objectives_are_the_papers_equations(weight):
    """Odena et al. 2017, equations 2 and 3, with softplus for the adversarial part and NumPy for the classes."""
    model, batch = acgan(weight), {"images": tf.constant(IMAGES), "labels": tf.constant(LABELS)}
    fake = model.generator([Z, LABELS], training=True)
    (real_logits, real_classes), (fake_logits, fake_classes) = (
        [output.numpy() for output in model.discriminator(images)] for images in (IMAGES, fake)
    )

    of_real, of_fake = cross_entropy_by_hand(real_classes), cross_entropy_by_hand(fake_classes)
    expected = np.log1p(np.exp(-real_logits)).mean() + np.log1p(np.exp(fake_logits)).mean()
    expected += weight * (of_real + of_fake)
    assert float(model.discriminator_objective(batch, fake, [0, 0])) == pytest.approx(expected, rel=1e-4)

    model._begin(batch)
    expected = np.log1p(np.exp(-fake_logits)).mean() + weight * of_fake
    assert float(model.generator_objective(batch, fake, [0, 0])) == pytest.approx(expected, rel=1e-4)


def test_class_loss_falls_while_the_generator_is_paid_for_it():
    """By steps of the generator alone, against a discriminator that has learned the classes of bright patches."""
    images = np.full((30, 28, 28, 1), -1.0, np.float32)
    labels = np.arange(30) % 3
    for image, label in zip(images, labels, strict=True):
        image[9 * label : 9 * label + 9] = 1.0
    batch = {"images": tf.constant(images), "labels": tf.constant(labels)}
    model = acgan()
    model.compile(keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.01))
    for step in range(40):
        model._begin(batch)
        model.discriminator_step(batch, gan.fold([0, step], "test"))
    found = []
    for step in range(40):
        model._begin(batch)
        model.generator_step(batch, gan.fold([0, step], "test"))
        found.append(float(model.logs["class_loss"]))
    assert found[-1] < 0.5 * found[0]


def test_a_saved_acgan_takes_the_same_next_step(tmp_path):
    model, batch = acgan(0.5), {"images": tf.constant(IMAGES), "labels": tf.constant(LABELS)}
    model.train_step(batch)
    model.save(tmp_path / "acgan.keras")
    again = keras.saving.load_model(tmp_path / "acgan.keras")
    assert again.class_weight == 0.5
    for one in (model, again):
        one.train_step(batch)
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_acgan_without_class_logits_is_refused():
    with pytest.raises(ValueError, match=r"gives \[logit, class_logits\]"):
        conditional.ACGAN(generator(), models.dcgan_discriminator((2, 4)))


def test_an_acgan_that_names_other_classes_than_it_draws_is_refused():
    with pytest.raises(ValueError, match="the generator draws 3 classes, and the discriminator names 4"):
        conditional.ACGAN(generator(), conditional.auxiliary(models.dcgan_discriminator((2, 4)), 4))


def test_an_acgan_wants_labels():
    with pytest.raises(ValueError, match="labels"):
        acgan().train_step(tf.constant(IMAGES))


# A conditional run.

FEW = runs.Settings(
    dataset="digits",
    epochs=1,
    batch_size=250,
    conditional=True,
    latent_dim=4,
    generator_widths=(8, 4, 2),
    discriminator_widths=(2, 4),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditional") / "run"
    runs.train(folder, FEW)
    return folder


@pytest.mark.parametrize(
    "settings", [FEW, runs.Settings(dataset="digits", epochs=1, batch_size=250, conditional=True, model="mlp")]
)
def test_both_models_take_labels(settings):
    model = runs.recipe.build(settings)
    assert model.labelled
    assert model.latent_dim == settings.with_model_defaults().latent_dim
    assert players.classes_of(model.generator) == 10


def test_frames_have_a_class_a_column(run):
    """Each column is one class: with the same weights, its digits are alike in what the label decides."""
    frame = np.asarray(Image.open(sorted((run / "frames").glob("*.png"))[-1]))
    assert frame.shape == (5 * 28, 10 * 28)
    assert np.asarray(Image.open(run / "samples.png")).shape == (10 * 28, 10 * 28)


def test_pictures_are_drawn_for_labels_in_columns(run):
    model, digits = runs.recipe.build(FEW), data.load("digits")
    batch, columns = training.shown_rows(training.Run(run, {}, FEW, digits, None, model), 50)
    np.testing.assert_array_equal(np.reshape(batch["labels"], (5, columns)), np.tile(np.arange(10), (5, 1)))
    assert len(np.unique(np.reshape(batch["images"], (50, -1)), axis=0)) == 50


def test_labels_of_a_dataset_that_has_none_cannot_be_learned(monkeypatch):
    unlabelled = data.load("digits")._replace(y_train=None, y_test=None)
    monkeypatch.setattr(plan.data, "load", lambda *asked: unlabelled)
    monkeypatch.setattr(data.Dataset, "__repr__", lambda self: "pictures")
    with pytest.raises(ValueError, match="pictures has no labels, from which a conditional run learns"):
        plan.resolve(FEW, None)


@pytest.mark.slow
def test_a_run_that_starts_from_a_conditional_one_is_conditional(run, tmp_path):
    runs.train(tmp_path / "more", runs.Settings(dataset="digits", epochs=1, batch_size=500), start_from=run)
    assert len(runs.load_generator(tmp_path / "more").inputs) == 2


@pytest.mark.slow
def test_a_conditional_run_cannot_start_from_one_without_labels(finished, tmp_path):
    with pytest.raises(ValueError, match="knows no labels; leave out --conditional, or --from"):
        runs.train(tmp_path / "more", runs.Settings(model="mlp", conditional=True), start_from=finished)


# What is asked for.


def npz(path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


def asked(*arguments) -> int:
    return main(["sample", *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "labels"),
    [
        (["--digit", 7, "--count", 3], [7, 7, 7]),
        (["--digits", "0042"], [0, 0, 4, 2]),
        (["--digits", "12", "--count", 2], [1, 2, 1, 2]),
        (["--count", 12], [*range(10), 0, 1]),
    ],
)
def test_the_digits_asked_for_are_drawn_in_their_order(run, tmp_path, arguments, labels):
    assert asked(run, *arguments, "--seed", 3, "--out", tmp_path / "some.npz") == 0
    found = npz(tmp_path / "some.npz")
    np.testing.assert_array_equal(found["labels"], labels)
    expected = runs.sample_images(runs.load_generator(run), len(labels), 3, np.array(labels))
    np.testing.assert_array_equal(found["images"], expected)


@pytest.mark.parametrize(
    ("arguments", "size"), [(["--digits", "314"], (336, 112)), (["--digits", "31", "--count", 2], (224, 224))]
)
def test_a_row_of_digits_is_one_picture(run, tmp_path, arguments, size):
    assert asked(run, *arguments, "--out", tmp_path / "row.png") == 0
    assert Image.open(tmp_path / "row.png").size == size


def test_a_folder_of_digits_tells_the_class_of_each_in_its_name(run, tmp_path):
    assert asked(run, "--digits", "314", "--count", 2, "--seed", 3, "--out", f"{tmp_path}/some/") == 0
    names = [f"{number:04d}-class{digit}.png" for number, digit in enumerate([3, 1, 4, 3, 1, 4])]
    assert sorted(path.name for path in (tmp_path / "some").iterdir()) == names
    expected = runs.sample_images(runs.load_generator(run), 6, 3, np.array([3, 1, 4, 3, 1, 4]))
    for name, image in zip(names, expected, strict=True):
        np.testing.assert_array_equal(Image.open(tmp_path / "some" / name), image[..., 0])


def test_another_seed_draws_the_same_digits_by_another_hand(run, tmp_path):
    for seed in (0, 1):
        assert asked(run, "--digits", "77", "--seed", seed, "--out", tmp_path / f"{seed}.npz") == 0
    one, other = (npz(tmp_path / f"{seed}.npz") for seed in (0, 1))
    np.testing.assert_array_equal(one["labels"], other["labels"])
    assert (one["images"] != other["images"]).any()
    assert (one["images"][0] != one["images"][1]).any()


def test_a_digit_that_it_does_not_know_is_refused(run, capsys):
    assert asked(run, "--digit", 10) == 2
    assert "knows the classes 0 to 9, and was asked for 10" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_without_labels_says_what_to_do(finished, capsys):
    assert asked(finished, "--digit", 7) == 2
    assert "was taught no labels: train another one with --conditional" in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["", "1.5", "-1", "٣", "1" * 1001])
def test_what_are_no_digits_is_wrong_usage(run, typed, capsys):
    with pytest.raises(SystemExit) as stop:
        asked(run, f"--digits={typed}")
    assert stop.value.code == 2
    assert "must be digits, as 2026" in capsys.readouterr().err


def test_a_digit_and_digits_at_once_are_wrong_usage(run, capsys):
    with pytest.raises(SystemExit):
        asked(run, "--digit", 1, "--digits", 11)
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.slow
def test_an_evaluation_judges_each_class(run, capsys):
    assert main(["evaluate", str(run)]) == 0
    shown, found = capsys.readouterr().out, runs.evaluate(run)["classes"]
    assert list(found["generator"]) == [str(label) for label in range(10)]
    assert 0.95 < found["test_images_agreement"] < 1.0  # 98.0 %
    assert np.mean([one["agreement"] for one in found["training_images"].values()]) > 0.9
    assert "agreement" in shown
    with pytest.raises(ValueError, match="count must be from 200 to the 297 test images, got 100"):
        runs.evaluate(run, count=100)


def own_generator(*on_the_way) -> keras.Model:
    z, label = keras.Input((4,)), keras.Input((), dtype="int32")
    embedded = label
    for layer in (*on_the_way, layers.Embedding(12, 2)):
        embedded = layer(embedded)
    x = layers.Concatenate()([z, embedded])
    return keras.Model([z, label], layers.Reshape((28, 28, 1))(layers.Dense(784, "tanh")(x)))


def test_a_generator_that_does_not_say_what_it_knows_must_be_asked():
    assert players.classes_of(own_generator()) == 12
    hashed = own_generator(layers.Identity())
    assert players.classes_of(hashed) is None
    np.testing.assert_array_equal(runs.asked_labels(hashed, [30], 2), [30, 30])
    with pytest.raises(ValueError, match="does not say how many classes it knows"):
        runs.asked_labels(hashed, [], 2)


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("wrong", [3, -1])
def test_a_label_that_the_networks_do_not_know_is_refused(wrong, eagerly):
    """On a GPU TensorFlow reads zeros for it, and says nothing."""
    model = gan.GAN(generator(), discriminator(conditional.projection))
    model.compile(*(keras.optimizers.SGD(0.1) for _ in range(2)), run_eagerly=eagerly)
    labels = LABELS.copy()
    labels[4] = wrong
    before = [w.numpy() for w in model.weights]
    with pytest.raises(
        ValueError, match=r"labels must be from 0 to 2, which the networks know, these go from .* to"
    ) as error:
        model.fit(IMAGES, labels, verbose=0)
    assert "\n" not in str(error.value)
    for one, other in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(one, other)


# The generator that ships.


@pytest.fixture(scope="module")
def shipped():
    return runs.pretrained_generator(conditional=True)


def test_the_shipped_generator_draws_what_it_is_asked_for(shipped):
    """In 97 of 100 images of each class but the worst; chapter 09 asks 10,000 times."""
    assert runs.shipped.CONDITIONAL.stat().st_size < 1_500_000
    assert players.classes_of(shipped) == 10
    labels = np.repeat(np.arange(10), 100)
    images = runs.sample_images(shipped, 1000, 0, labels)
    named = evaluator.Evaluator().extract(images).probabilities.argmax(axis=1)
    by_class = (named == labels).reshape(10, 100).mean(axis=1)
    assert by_class.mean() > 0.97
    assert by_class.min() > 0.9


def test_it_draws_one_digit_in_many_ways(shipped):
    sevens = runs.sample_images(shipped, 100, 0, np.full(100, 7)).reshape(100, -1)
    assert len(np.unique(sevens, axis=0)) == 100
    assert sevens.astype(float).std(axis=0).max() > 60  # of 255: some pixel is black in one and white in another


def test_digits_need_no_run_and_no_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert asked("--digits", "2026", "--out", "year.png") == 0
    assert Image.open("year.png").size == (448, 112)
    assert [path.name for path in tmp_path.iterdir()] == ["year.png"]


def test_a_damaged_shipped_generator_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "conditional.npz").write_bytes(runs.shipped.CONDITIONAL.read_bytes()[:-9])
    monkeypatch.setattr(runs.shipped, "CONDITIONAL", tmp_path / "conditional.npz")
    assert asked("--digit", 7) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "conditional.npz cannot be loaded" in line
    assert "install gan_tf again" in line


@pytest.mark.parametrize("add", [conditional.projection, conditional.auxiliary])
def test_a_spectrally_normalised_discriminator_takes_a_label_too(add):
    """Miyato and Koyama 2018 have both. The logit's layer stays normalised."""
    discriminator = models.dcgan_discriminator((2, 4), 0.0, normalization="spectral")
    network = add(discriminator, 3)
    x = tf.random.stateless_uniform((4, 28, 28, 1), [0, 0], -1, 1)
    logit = network([x, tf.constant([0, 1, 2, 0])]) if add is conditional.projection else network(x)[0]
    np.testing.assert_allclose(logit, discriminator(x), rtol=1e-5, atol=1e-6)  # rows begin at 0
