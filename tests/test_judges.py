"""An evaluator for any dataset, and what its scores say of images whose faults are known."""

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import small
from scipy import ndimage
from scipy.signal import correlate2d

from gan_tf import data, datasets, evaluator, judges, metrics, prepare, random_network, runs, scores
from gan_tf.datasets import Dataset
from gan_tf.random_network import RandomNetwork, averages
from gan_tf.runs import diagnosis

NAMES = ("square", "disc", "cross")
PINNED = {
    (32, 32, 3): "a6bcb811c0a250f8028aa2d9d800c07452e5c43cfdcec3a81f85a34fad6197d6",
    (28, 28, 1): "9fd4c5dc6607d2baa85de2484db9f0f6ba9ba72f05efe25c3f8bb677117e5df1",
}


def drawn(count: int, seed: int, channels: int = 3, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Draw a light shape on a dark ground, somewhere, with some grain; and which shape it is."""
    random = np.random.default_rng(seed)
    labels, images = np.arange(count) % 3, []
    for label in labels:
        centre, radius = random.uniform(0.35, 0.65, 2) * side, random.uniform(0.2, 0.3) * side
        offset = np.abs(np.indices((side, side)) - centre[:, None, None])
        square, disc = offset.max(axis=0) < radius, np.hypot(*offset) < radius
        inside = (square, disc, square & (offset.min(axis=0) < radius / 3))[label]
        ground, shape = random.integers(0, 90, channels), random.integers(160, 256, channels)
        image = np.where(inside[..., None], shape, ground) + random.normal(0, 5, (side, side, channels))
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    return np.stack(images), labels.astype(np.uint8)


def made(channels: int = 3, seed: int = 0, labelled: bool = True, held_out: int = 48) -> Dataset:
    train, test = drawn(240, seed, channels), drawn(held_out, seed + 1, channels)
    if not labelled:
        return Dataset("shapes", train[0], None, test[0], None)
    return Dataset("shapes", *train, *test, NAMES)


SHAPES, BARE = made(), made(labelled=False)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_TF_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """So many steps are enough to tell these shapes apart."""
    monkeypatch.setattr(judges, "STEPS", (80, 80))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The classifier of `SHAPES`, the folder of a run that keeps it, and what was said."""
    folder, said = tmp_path_factory.mktemp("run"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judges, "STEPS", (80, 80))
        judge = judges.of_dataset(SHAPES, folder, said.append, cache=folder / "cache")
    return judge, folder, said


@pytest.fixture
def untrainable(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("this evaluator is there already")

    monkeypatch.setattr(judges, "_trained", refuse)


# Which evaluator is whose.


def test_digits_have_the_shipped_evaluator():
    for name in ("digits", "mnist"):
        judge = judges.of_dataset(data.load("digits")._replace(name=name))
        assert (judge.sha256, judge.facts) == (evaluator.SHA256, {})


@pytest.mark.parametrize(
    "dataset",
    [
        BARE,
        BARE._replace(name="digits"),  # of another shape
        SHAPES._replace(y_test=None),
        data.load("digits")._replace(name="pictures", y_train=None, y_test=None),
    ],
    ids=["bare", "digits in colour", "no labels held out", "another name"],
)
def test_images_without_labels_have_a_random_network(dataset, tmp_path):
    judge = judges.of_dataset(dataset, tmp_path)
    assert isinstance(judge, RandomNetwork)
    assert not list(tmp_path.iterdir())  # nothing to keep


def test_classes_of_few_images_are_not_learned(monkeypatch, trained):
    said, calls = [], []
    monkeypatch.setattr(judges, "_trained", lambda *arguments: calls.append(arguments) or trained[0])
    few = np.append(np.repeat(np.arange(26), 9), np.zeros(6)).astype(np.uint16)  # of one class 15, of all others 9
    judge = judges.of_dataset(SHAPES._replace(y_train=few, class_names=()), say=said.append)
    assert isinstance(judge, RandomNetwork)
    (line,) = said
    assert "No two classes have 10 training images" in line
    few[-1] = 25
    assert judges.of_dataset(SHAPES._replace(y_train=few, class_names=()), say=said.append) is trained[0]
    assert len(calls) == 1


# The classifier.


def test_a_classifier_of_the_dataset_is_trained_and_says_how_good_it_is(trained):
    judge, _, said = trained
    held_out = judge.extract(SHAPES.x_test).probabilities.argmax(axis=1)
    assert judge.facts["accuracy"] == np.mean(held_out == SHAPES.y_test)
    assert judge.facts["accuracy"] > 0.8  # by chance 1 / 3; 0.96 to 1 was seen
    (line,) = said
    assert line.startswith(
        f"The evaluator of shapes was trained: it names {judge.facts['accuracy']:.1%} of 48 held-out"
    )
    assert "commonest class, 33.3%" in line


def test_its_features_have_the_size_for_which_the_kernel_is_made(trained):
    found = trained[0].extract(SHAPES.x_train)
    assert found.features.shape == (240, 64)
    assert np.mean(np.square(found.features)) == pytest.approx(1.0, rel=1e-4)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(found.small, averages(SHAPES.x_train))


def test_it_is_kept_in_the_run_and_read_again(trained, untrainable, tmp_path):
    judge, folder, _ = trained
    again = judges.of_dataset(SHAPES, folder, cache=tmp_path / "none")
    assert (again.sha256, again.facts, str(again)) == (judge.sha256, judge.facts, str(judge))
    np.testing.assert_array_equal(again.extract(SHAPES.x_test).features, judge.extract(SHAPES.x_test).features)
    assert not (tmp_path / "none").exists()  # what came with a run is no other run's


def test_two_runs_on_one_dataset_share_one(trained, untrainable, tmp_path):
    judge, folder, _ = trained
    other = judges.of_dataset(SHAPES, tmp_path, cache=folder / "cache")
    assert other.sha256 == judge.sha256
    assert (tmp_path / "evaluator.npz").read_bytes() == (folder / "evaluator.npz").read_bytes()


@pytest.mark.slow
def test_training_it_draws_nothing_from_the_global_seed_and_is_the_same_twice(trained, tmp_path):
    after = []
    for train in (lambda: None, lambda: judges.of_dataset(SHAPES)):
        keras.utils.set_random_seed(3)
        judge = train()
        after.append(keras.random.normal((3,)).numpy())
    np.testing.assert_array_equal(*after)
    assert judge.sha256 == trained[0].sha256
    assert (prepare.cache_folder() / f"evaluator-{SHAPES.digest[:32]}.npz").exists()  # beside prepared pictures


@pytest.mark.slow
def test_another_process_trains_the_same(trained, tmp_path):
    code = "import test_judges as t; t.judges.STEPS = 80, 80; print(t.judges.of_dataset(t.SHAPES).sha256)"
    environment = os.environ | {"GAN_TF_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.split()[-1] == trained[0].sha256


@pytest.mark.slow
def test_by_its_own_number_of_steps_it_knows_shapes_better(monkeypatch, tmp_path):
    monkeypatch.undo()
    assert judges.of_dataset(made(channels=1), cache=tmp_path, say=len).facts["accuracy"] > 0.9


def stored(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


def about(**changed) -> dict[str, np.ndarray]:
    told = {"recipe": judges.RECIPE, "dataset_sha256": SHAPES.digest, "accuracy": 0.9} | changed
    return {"about": np.array(json.dumps(told))}


OTHERS = {
    "another dataset": (about(dataset_sha256="0" * 64), "it is of another dataset"),
    "another recipe": (about(recipe=0), "or of another version of gan_tf"),
    "no accuracy": (about(accuracy=1.5), "its accuracy is 1.5"),
    "a text for a number": (about(accuracy="1.0"), "its accuracy is '1.0'"),
    "unknown entries": (about(more=1), "unexpected keyword"),
    "no json": ({"about": np.array("[" * 900)}, "recursion|depth|Expecting|delimiter|value"),
    "much to say": ({"about": np.array("x" * 4000)}, "too large"),
    "an object": ({"about": np.array([{}], object)}, "allow_pickle"),
    "another shape": ({"00": np.zeros((3, 3, 3, 47), np.float32)}, ""),
    "a bomb": ({"00": np.zeros((1000, 1000), np.float32)}, "too large"),
    "other numbers": ({"00": np.zeros((3, 3, 3, 48), np.float16)}, "no numbers of 32 bits"),
    "NaN": ({"00": np.full((3, 3, 3, 48), np.nan, np.float32)}, "no numbers of 32 bits"),
}


@pytest.mark.parametrize(("arrays", "reason"), OTHERS.values(), ids=OTHERS)
def test_a_file_that_is_another_is_replaced_and_told(trained, tmp_path, untrainable, arrays, reason):
    judge, folder, _ = trained
    said, path = [], tmp_path / "evaluator.npz"
    np.savez(path, **(stored(folder / "evaluator.npz") | arrays))
    found = judges.of_dataset(SHAPES, tmp_path, said.append, cache=folder / "cache")
    (line,) = said
    assert line.startswith(f"{path} is not the evaluator of these images (")
    assert line.endswith("; it is replaced")
    assert re.search(reason, line)
    assert found.sha256 == judge.sha256
    assert path.read_bytes() == (folder / "evaluator.npz").read_bytes()


@pytest.mark.parametrize("kept", [0, 10, 5000, -1000])
def test_a_damaged_file_is_replaced(trained, tmp_path, untrainable, kept):
    _, folder, _ = trained
    said, whole = [], (folder / "evaluator.npz").read_bytes()
    (tmp_path / "evaluator.npz").write_bytes(whole[:kept])
    judges.of_dataset(SHAPES, tmp_path, said.append, cache=folder / "cache")
    assert len(said) == 1
    assert (tmp_path / "evaluator.npz").read_bytes() == whole


def test_a_pipe_in_its_place_is_not_waited_for(trained, tmp_path, untrainable):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "evaluator.npz")
    judges.of_dataset(SHAPES, tmp_path, cache=trained[1] / "cache")
    assert (tmp_path / "evaluator.npz").is_file()


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(judges, "_trained", lambda *arguments: trained[0])
    said, file = [], tmp_path / "file"
    file.write_text("in the way", encoding="utf-8")
    assert judges.of_dataset(SHAPES, tmp_path, said.append, cache=file / "cache") is trained[0]
    assert said == []
    assert (tmp_path / "evaluator.npz").exists()


def test_a_run_s_folder_that_cannot_be_written_is_told(trained, tmp_path):
    said, file = [], tmp_path / "file"
    file.write_text("in the way", encoding="utf-8")
    judges.of_dataset(SHAPES, file / "run", said.append, cache=trained[1] / "cache")
    (line,) = said
    assert f"{file / 'run' / 'evaluator.npz'} cannot be written (" in line


def test_half_a_file_is_never_left(trained, tmp_path, monkeypatch):
    def full(file, **arrays):
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(judges.np, "savez", full)
    said = []
    judges.of_dataset(SHAPES, tmp_path / "run", said.append, cache=trained[1] / "cache")
    assert "No space left on device" in said[0]
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize("shape", [(16, 16, 1), (28, 28, 3), (64, 64, 1), (128, 128, 3)])
def test_the_network_fits_every_size(shape):
    model = judges.classifier_network(shape, 5)
    features, logits = model(np.zeros((2, *shape), np.float32), training=False)
    assert (features.shape, logits.shape) == ((2, 64), (2, 5))
    assert model.count_params() < 100_000


# The random network.


@pytest.mark.parametrize(("shape", "sha256"), PINNED.items())
def test_the_random_network_is_one_for_all_machines(shape, sha256):
    assert RandomNetwork(shape).sha256 == sha256
    assert RandomNetwork(shape).facts == {"features": 64}


def test_its_filters_do_not_see_brightness():
    for filters, variance in zip(random_network.random_filters(3), (2 / 27, 2 / 72, 2 / 108), strict=True):
        np.testing.assert_allclose(filters.sum(axis=(0, 1)), 0.0, atol=1e-6)
        assert np.var(filters) == pytest.approx(variance * 8 / 9, rel=0.15)  # He's, less what the mean took
    flat = np.repeat(np.arange(0, 256, 51, dtype=np.uint8), 16 * 16).reshape(-1, 16, 16, 1)
    np.testing.assert_allclose(RandomNetwork((16, 16, 1)).extract(flat).features, 0.0, atol=1e-4)


def by_hand(image: np.ndarray, filters: list[np.ndarray]) -> np.ndarray:
    """Compute one image's features with SciPy's correlation, one pair of channels at a time."""
    x, found = image / 127.5 - 1.0, []
    for bank in filters:
        x = np.pad(x, ((1, 1), (1, 1), (0, 0)), "symmetric")
        pairs = [[correlate2d(x[..., i], kernel, "valid") for i, kernel in enumerate(each)] for each in bank.T]
        sums = np.stack([np.sum(maps, axis=0)[::2, ::2] for maps in pairs], axis=-1)
        x = np.where(sums > 0, sums, 0.2 * sums)
        found += [x.mean(axis=(0, 1)), x.std(axis=(0, 1))]
    return 10.0 * np.concatenate(found)


def test_its_features_are_those_of_a_twin_in_numpy():
    filters = [bank.astype(np.float64) for bank in random_network.random_filters(3)]
    transposed = [bank.transpose(1, 0, 2, 3) for bank in filters]  # so that `.T` has rows before columns
    found = RandomNetwork((16, 16, 3)).extract(SHAPES.x_test[:3])
    for image, features in zip(SHAPES.x_test, found.features, strict=False):
        np.testing.assert_allclose(features, by_hand(image, transposed), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("side", [16, 20, 28, 32])
def test_small_images_are_means_over_boxes(side):
    """The reference enlarges each pixel to 8x8 first, so that each box is made of whole ones."""
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 2)).astype(np.uint8)
    enlarged = images.repeat(8, axis=1).repeat(8, axis=2).astype(np.float64)
    expected = enlarged.reshape(3, 8, side, 8, side, 2).mean(axis=(2, 4)) / 127.5 - 1.0
    np.testing.assert_allclose(averages(images), expected.reshape(3, -1), atol=1e-5)


def test_what_it_says_does_not_depend_on_the_batches(monkeypatch):
    whole = RandomNetwork((16, 16, 3)).extract(SHAPES.x_train)
    monkeypatch.setattr(random_network, "BATCH_SIZE", 7)
    parts = RandomNetwork((16, 16, 3)).extract(SHAPES.x_train, progress=lambda starts: starts)
    np.testing.assert_allclose(parts.features, whole.features, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(parts.small, whole.small)


@pytest.mark.parametrize(
    ("images", "error"),
    [
        (np.zeros((5, 16, 16, 3), np.float32), TypeError),
        (np.zeros((5, 16, 16, 1), np.uint8), ValueError),
        (np.zeros((0, 16, 16, 3), np.uint8), ValueError),
    ],
)
def test_other_images_are_refused(trained, images, error):
    for judge in (trained[0], RandomNetwork((16, 16, 3))):
        with pytest.raises(error, match="images must be"):
            judge.extract(images)


# Controls: what the scores say of images whose faults are known.


@pytest.fixture(params=["classifier", "random network"])
def judge(request, trained):
    return trained[0] if request.param == "classifier" else RandomNetwork(SHAPES.image_shape)


def judged(judge, images: np.ndarray, held_out: int = 48) -> dict[str, float]:
    train, real = judge.extract(SHAPES.x_train), judge.extract(SHAPES.x_test[:held_out])
    return scores.all_scores(real, judge.extract(images), train)


def shuffled(images: np.ndarray) -> np.ndarray:
    order = np.random.default_rng(0).permutation(16 * 16)
    return images.reshape(len(images), -1, 3)[:, order].reshape(images.shape)


def test_new_images_of_the_same_kind_are_at_the_floor(judge):
    found = judged(judge, drawn(48, 7)[0])
    for space in ("", "small_"):
        assert abs(found[f"{space}kernel_distance"]) < 4 * found[f"{space}kernel_distance_error"]
        assert abs(found[f"{space}data_copying_z"]) < 3.5  # of a standard normal
        assert found[f"{space}copied"] < 0.2


FAULTS = {
    "noise": lambda images: np.random.default_rng(0).integers(0, 256, images.shape).astype(np.uint8),
    "one image repeated": lambda images: images[:1].repeat(len(images), axis=0),
    "shuffled pixels": shuffled,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_far_from_the_floor_in_both_spaces(judge, fault):
    images = drawn(48, 7)[0]
    floor, found = judged(judge, images), judged(judge, FAULTS[fault](images))
    for space in ("", "small_"):
        frechet, kernel = f"{space}frechet_distance", f"{space}kernel_distance"
        assert found[frechet] > 3 * floor[frechet]
        assert found[kernel] > floor[kernel] + 3 * floor[f"{kernel}_error"]
    assert found["coverage"] < 0.5 * floor["coverage"]


def test_what_is_lost_to_one_space_is_seen_in_the_other():
    """Brightness is next to nothing to the random network, and fine grain is nothing to 8x8 averages."""
    judge, images = RandomNetwork(SHAPES.image_shape), drawn(48, 7)[0]
    floor = judged(judge, images)
    darker = judged(judge, np.clip(images.astype(int) - 40, 0, 255).astype(np.uint8))
    blurred = judged(judge, ndimage.uniform_filter(images, (1, 3, 3, 1)))
    assert darker["small_kernel_distance"] > 10 * abs(floor["small_kernel_distance"])
    assert blurred["frechet_distance"] > 3 * floor["frechet_distance"]
    assert blurred["small_frechet_distance"] < 2 * floor["small_frechet_distance"]


def test_copies_are_found_in_both_spaces(judge):
    found = judged(judge, SHAPES.x_train[:48])
    for space in ("", "small_"):
        assert found[f"{space}copied"] == 1.0
        assert found[f"{space}data_copying_z"] < -6


def test_copies_with_a_grain_are_found_by_the_small_images(judge):
    grain = np.random.default_rng(0).normal(0, 5, (48, 16, 16, 3))
    found = judged(judge, np.clip(SHAPES.x_train[:48] + grain, 0, 255).astype(np.uint8))
    assert found["small_copied"] > 0.95


def test_sixteen_held_out_images_are_enough_to_score(judge):
    """Without a warning; the reference and the fakes have as few."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new, noise = (judged(judge, images[:16], 16) for images in (drawn(16, 7)[0], FAULTS["noise"](SHAPES.x_test)))
    assert all(np.isfinite(value) for value in new.values())
    for space in ("", "small_"):
        assert noise[f"{space}frechet_distance"] > 3 * new[f"{space}frechet_distance"]
        assert noise[f"{space}kernel_distance"] > new[f"{space}kernel_distance"]


# Reports and tables.


CLASS_SCORES = {"classifier_score", "label_jsd", "smallest_class"}


def test_quick_scores_are_those_that_can_be_watched(judge):
    real, fake = (judge.extract(images) for images in (SHAPES.x_test, SHAPES.x_train[:48]))
    quick, all_of_them = scores.quick_scores(real, fake), scores.all_scores(real, fake, fake)
    left_out = CLASS_SCORES if real.probabilities is None else set()
    assert set(quick) == set(scores.WATCHED) - left_out
    assert set(all_of_them) == {*scores.TABLE_ROWS, *scores.SMALL_ROWS} - left_out
    assert quick == {name: all_of_them[name] for name in quick}


def reported(judge, count: int = 30, **changed) -> dict:
    dataset = made(held_out=48)._replace(**changed)
    return scores.report(judge, dataset, drawn(count, 7)[0], drawn(count, 8)[0], seed=0)


def test_a_report_names_the_classifier_and_how_good_it_is(trained):
    found = reported(trained[0])
    assert found["evaluator"] == {
        "name": "classifier of these classes, 64 features, and 8x8 averages",
        "sha256": trained[0].sha256,
        "features": 64,
        "classes": 3,
        "accuracy": trained[0].facts["accuracy"],
    }
    assert found["held_out"] == 48
    text = scores.table(run=found)
    assert f"({trained[0].facts['accuracy']:.1%} of held-out images named rightly)" in text
    assert "classifier score (1 to 3)" in text
    assert "(1 to 10)" not in text
    (share,) = re.findall("share of the rarest class .* near (.*)", text)
    assert float(share) == pytest.approx(1 / 3, abs=0.1)
    assert "30 images are few for 64 features" in text
    assert "the nearest of only 48 held-out images" in text
    assert re.findall("copied .* near (.*)", text) == ["0.03", "0.03"]


def test_a_report_without_labels_has_no_scores_of_classes():
    found = scores.report(RandomNetwork((16, 16, 3)), BARE, drawn(30, 7)[0], drawn(30, 8)[0], seed=0)
    assert found["evaluator"]["name"] == "frozen random network, 64 features, and 8x8 averages"
    assert not CLASS_SCORES & set(found["scores"]["generator"])
    text = scores.table(run=found)
    assert "evaluator frozen random network, 64 features, and 8x8 averages, SHA-256" in text
    assert "classifier" not in text
    assert all(title in text for title, _, _ in scores.SMALL_ROWS.values())


def test_the_reference_has_as_many_images_as_the_fakes(judge):
    """And is drawn from the training images: copies, each."""
    reference = reported(judge, count=16)["scores"]["training_images"]
    assert reference["copied"] == reference["small_copied"] == 1.0


def test_with_many_images_nothing_is_said_of_few(judge):
    found = reported(judge) | {"count": 640, "held_out": 1000}
    text = scores.table(run=found)
    assert "are few for" not in text
    assert "Copied:" not in text
    assert re.findall("copied .* near (.*)", text) == ["0.01", "0.01"]


def test_flat_images_that_count_as_copied_are_told_as_a_false_alarm():
    """One training image has little contrast: grey ones are nearer to it than any held-out image is to any other."""
    train = np.append(BARE.x_train, BARE.x_train[:1] // 64 + 100, axis=0)
    flat, noise = np.full((30, 16, 16, 3), 101, np.uint8), FAULTS["noise"](BARE.x_test[:30])
    line = "The untrained generator's images count as copied, and copied nothing"
    for untrained, told in ((flat, True), (noise, False)):
        judge = RandomNetwork((16, 16, 3))
        found = scores.report(judge, BARE._replace(x_train=train), BARE.x_test[:30], untrained, seed=0)
        assert (line in scores.table(run=found)) is told


def test_a_number_that_does_not_fit_is_written_in_four_digits():
    found = reported(RandomNetwork((16, 16, 3)))
    found["scores"]["generator"]["kernel_distance"] = 123456.789
    (line,) = [line for line in scores.table(run=found).splitlines() if line.startswith("kernel distance")]
    assert line.split()[2] == "1.235e+05"


def test_scores_of_two_evaluators_are_not_compared(trained):
    mine, random = trained[0], RandomNetwork((16, 16, 3))
    with pytest.raises(scores.EvaluatorError, match="different evaluators cannot be compared"):
        scores.quick_scores(mine.extract(SHAPES.x_test), random.extract(SHAPES.x_test))
    found = reported(mine)
    other = found | {"evaluator": found["evaluator"] | {"sha256": "0"}}
    with pytest.raises(scores.EvaluatorError, match=r"another evaluator .* delete evaluator\.npz in one run's folder"):
        scores.table(one=found, other=other)


# Runs of your own pictures.


def settings(folder: Path, **changed) -> runs.Settings:
    return runs.Settings(dataset=str(folder), epochs=1, batch_size=60, **changed)


def save(path: Path, labelled: bool, count: int = 330, labels=None) -> Path:
    images, found = drawn(count, 0, channels=1)
    np.savez(path, images=images[..., 0], **({"labels": found if labels is None else labels} if labelled else {}))
    return path


@pytest.fixture
def bare_run(tmp_path):
    runs.train(tmp_path / "bare", settings(save(tmp_path / "bare.npz", labelled=False)), build=small.build)
    return tmp_path / "bare"


@pytest.mark.slow
def test_a_run_of_pictures_without_labels_is_evaluated(bare_run, monkeypatch):
    original, hashed = datasets._digest, []
    monkeypatch.setattr(datasets, "_digest", lambda array: hashed.append(1) or original(array))
    found = runs.evaluate(bare_run)
    assert len(hashed) == 4  # each array once
    assert json.loads((bare_run / "metrics.json").read_text(encoding="utf-8")) == found
    assert (found["count"], found["held_out"], found["evaluator"]["sha256"]) == (
        33,
        33,
        RandomNetwork((16, 16, 1)).sha256,
    )
    assert runs.evaluate(bare_run) == found
    assert runs.evaluate(bare_run, count=10, seed=1)["count"] == 10
    for count in (9, 34):
        with pytest.raises(ValueError, match="count must be from 10 to the 33 test images"):
            runs.evaluate(bare_run, count=count)


@pytest.mark.slow
def test_a_conditional_run_of_labelled_pictures_is_judged_by_class(tmp_path):
    source = save(tmp_path / "own.npz", labelled=True)
    runs.train(tmp_path / "run", settings(source, conditional=True), evaluate_every=2, build=small.build)
    assert (tmp_path / "run" / "evaluator.npz").exists()
    found = runs.evaluate(tmp_path / "run")
    assert list(found["classes"]["generator"]) == ["0", "1", "2"]
    assert found["evaluator"]["accuracy"] > 0.8
    assert "agreement" in scores.table(run=found)
    few = runs.evaluate(tmp_path / "run", count=12)
    assert "classes" not in few
    assert re.fullmatch(
        "classes are not judged each by itself: class [012] has [0-5] held-out images here, and needs 6",
        few["classes_left_out"],
    )
    assert few["classes_left_out"] in scores.table(run=few)

    table = (tmp_path / "run" / "scores.csv").read_text(encoding="utf-8").splitlines()
    assert set(table[0].split(",")) == {"step", "images", "seconds", *scores.WATCHED, "memorised"}


@pytest.mark.slow
def test_the_training_on_pictures_is_the_same_with_an_evaluator(tmp_path):
    asked = settings(save(tmp_path / "own.npz", labelled=True))
    for name, every in (("judged", 2), ("plain", None)):
        runs.train(tmp_path / name, asked, evaluate_every=every, build=small.build)
    pair = [runs.load_generator(tmp_path / name).get_weights() for name in ("judged", "plain")]
    assert all(np.array_equal(one, other) for one, other in zip(*pair, strict=True))


# How far the discriminator knows its images by heart, beside the scores.


@pytest.mark.slow
def test_scores_stand_beside_what_was_measured_last(tmp_path, monkeypatch):
    monkeypatch.setattr(diagnosis, "EVERY", 2)
    asked = settings(save(tmp_path / "own.npz", labelled=False))
    runs.train(tmp_path / "run", asked, evaluate_every=1, build=small.build)
    found, measured = (columns(tmp_path / "run" / name) for name in ("scores.csv", "diagnostics.csv"))
    assert found["step"] == [0, 1, 2, 3, 4]
    first, second = measured["memorised"]
    expected = [np.nan, np.nan, round(first, 6), round(first, 6), round(second, 6)]
    np.testing.assert_array_equal(found["memorised"], expected)


@pytest.mark.slow
def test_a_run_stopped_and_continued_has_the_same_scores_beside_the_same_measurements(tmp_path, monkeypatch):
    monkeypatch.setattr(diagnosis, "EVERY", 2)
    asked = settings(save(tmp_path / "own.npz", labelled=True))
    runs.train(tmp_path / "whole", asked, evaluate_every=1, build=small.build)
    with pytest.raises(runs.Stopped):
        runs.train(tmp_path / "run", asked, evaluate_every=1, build=small.build, callbacks=[small.StopIn(3)])
    runs.train(tmp_path / "run", asked, evaluate_every=1, build=small.build)
    whole, again = (columns(tmp_path / name / "scores.csv") for name in ("whole", "run"))
    for name in set(whole) - {"seconds"}:
        np.testing.assert_array_equal(again[name], whole[name], err_msg=name)


def columns(path: Path) -> dict[str, list[float]]:
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    return dict(zip(header.split(","), np.array([line.split(",") for line in lines], float).T.tolist(), strict=True))


def test_the_share_of_new_images_that_count_as_copied():
    """By a simulation: held-out and new distances of one distribution, 2,000 times."""
    random = np.random.default_rng(0)
    train = np.zeros((2, 1))
    for held_out in (16, 100):
        shares = [metrics.memorisation(train, *random.random((2, held_out))[..., None]).copied for _ in range(2000)]
        assert np.mean(shares) == pytest.approx(metrics.copied_by_chance(held_out), rel=0.08)  # error below 3 %
