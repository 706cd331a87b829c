"""The shipped evaluator, the reports made with it, and runs that are scored."""

import copy
import csv
import hashlib
import json
import re
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import small
import tensorflow as tf
from conftest import SETTINGS

from gan_tf import data, evaluator, metrics, runs
from gan_tf.runs import shipped

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def judge():
    return evaluator.Evaluator()


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A finished run, evaluated every 5 of its 12 steps."""
    folder = tmp_path_factory.mktemp("scored") / "run"
    runs.train(folder, SETTINGS, evaluate_every=5)
    return folder


def accuracy(judge, dataset) -> float:
    return float(np.mean(judge.extract(dataset.x_test).probabilities.argmax(axis=1) == dataset.y_test))


def test_the_evaluator_knows_digits(judge, digits):
    assert accuracy(judge, digits) >= 0.975  # 290 of 297; it never saw one of this set
    try:
        mnist = data.load("mnist")
    except data.DataError:
        pytest.skip("MNIST is not on this machine: set GAN_TF_DATA")
    assert accuracy(judge, mnist) >= 0.994


def test_its_file_is_small_and_its_name_is_the_documented_one(judge):
    assert evaluator.SHIPPED.stat().st_size < 1_000_000
    assert judge.sha256 in (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    assert str(judge) == f"digit-classifier, SHA-256 {judge.sha256[:12]}"


def test_what_it_says_does_not_depend_on_the_batches(judge, digits, monkeypatch):
    whole = judge.extract(digits.x_test)
    assert whole.features.shape == (297, 128)
    assert whole.features.dtype == whole.probabilities.dtype == np.float32
    np.testing.assert_allclose(whole.probabilities.sum(axis=1), 1.0, atol=1e-5)
    monkeypatch.setattr(evaluator, "BATCH_SIZE", 7)
    parts = judge.extract(digits.x_test)
    np.testing.assert_allclose(parts.features, whole.features, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, atol=1e-5)


def test_its_features_are_the_layer_before_the_logits(judge, digits):
    found = judge.extract(digits.x_test[:5])
    logits = judge.model.get_layer("logits")(tf.constant(found.features))
    np.testing.assert_allclose(keras.ops.softmax(logits), found.probabilities, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "error"),
    [
        (np.zeros((5, 28, 28, 1), np.float32), TypeError),
        (np.zeros((5, 28, 28), np.uint8), ValueError),
        (np.zeros((5, 32, 32, 1), np.uint8), ValueError),
        (np.zeros((0, 28, 28, 1), np.uint8), ValueError),
    ],
)
def test_other_images_are_refused(judge, images, error):
    with pytest.raises(error, match="images must be"):
        judge.extract(images)


def test_files_that_are_no_evaluator_are_refused(tmp_path):
    whole = evaluator.SHIPPED.read_bytes()
    other = tmp_path / "other.keras"
    keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]).save(other)
    for suffix, others in ((".npz", [other.read_bytes()]), (".keras", [whole, other.read_bytes()])):
        bad = tmp_path / f"bad{suffix}"
        for content in (None, b"", b"no archive", whole[:5000], whole[:-1000], *others):
            bad.unlink(missing_ok=True)
            if content is not None:
                bad.write_bytes(content)
            with pytest.raises(evaluator.EvaluatorError, match=re.escape(f"{bad} is no evaluator")):
                evaluator.Evaluator(bad)


def test_a_flipped_weight_of_the_shipped_file_is_refused(tmp_path, monkeypatch):
    """Written as a good archive, so that no checksum of the archive tells."""
    model = evaluator.load_weights(evaluator.SHIPPED)
    monkeypatch.setattr(evaluator, "SHIPPED", tmp_path / "evaluator.npz")
    evaluator.save_weights(evaluator.SHIPPED, model)
    assert evaluator.Evaluator().sha256 == evaluator.SHA256  # the same weights make the same file
    weights = model.get_weights()
    weights[0].view(np.uint32)[0, 0, 0, 0] ^= 1  # the smallest change that there is
    model.set_weights(weights)
    evaluator.save_weights(evaluator.SHIPPED, model)
    with pytest.raises(evaluator.EvaluatorError, match=r"its SHA-256 is .* install gan_tf again"):
        evaluator.Evaluator()


def test_the_shipped_file_holds_weights_and_nothing_that_a_version_of_keras_could_refuse(judge):
    with np.load(evaluator.SHIPPED, allow_pickle=False) as archive:
        stored = [archive[name] for name in archive.files]
    assert {weight.dtype for weight in stored} == {np.dtype(np.float32)}
    assert sum(weight.size for weight in stored) == judge.model.count_params() == 224_426


def test_its_network_is_in_32_bits_whatever_the_policy(judge, digits):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        other = evaluator.Evaluator()
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(other.extract(digits.x_test).features, judge.extract(digits.x_test).features)


def test_an_evaluator_of_your_own(judge, digits, tmp_path):
    """In the package's format, or in Keras's; by its own digest."""
    expected = judge.extract(digits.x_test[:50])
    judge.model.save(tmp_path / "own.keras")
    evaluator.save_weights(tmp_path / "own.npz", judge.model)
    for path in (tmp_path / "own.keras", tmp_path / "own.npz"):
        own = evaluator.Evaluator(path)
        assert own.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        np.testing.assert_array_equal(own.extract(digits.x_test[:50]).features, expected.features)


def test_the_shipped_generator_draws_every_digit(judge):
    assert runs.PRETRAINED.stat().st_size < 500_000
    generator = runs.pretrained_generator()
    images = runs.sample_images(generator, 1000, 0)
    np.testing.assert_array_equal(images, runs.sample_images(runs.pretrained_generator(), 1000, 0))
    histogram = metrics.mode_histogram(judge.extract(images).probabilities)
    assert histogram.min() > 0.03
    assert judge.extract(images).probabilities.max(axis=1).mean() > 0.95  # real test images: 0.99


def test_a_damaged_shipped_generator_is_named(tmp_path, monkeypatch):
    bad = tmp_path / "pretrained.npz"
    monkeypatch.setattr(shipped, "PRETRAINED", bad)
    for content in (None, b"", b"no archive", b"PK\x03\x04 half of one"):
        if content is not None:
            bad.write_bytes(content)
        with pytest.raises(runs.RunError, match=r"pretrained\.npz cannot be loaded"):
            runs.pretrained_generator()


def test_another_generator_in_the_shipped_ones_place_is_named(tmp_path, monkeypatch):
    with np.load(runs.PRETRAINED) as archive:
        arrays = dict(archive)
    arrays["00"] = arrays["00"] * np.float16(1.001)  # as good a generator, and not the one whose scores are published
    np.savez_compressed(tmp_path / "pretrained.npz", **arrays)
    monkeypatch.setattr(shipped, "PRETRAINED", tmp_path / "pretrained.npz")
    with pytest.raises(runs.RunError, match=r"its SHA-256 is .*, that of the shipped one 9f5e9f464df7"):
        runs.pretrained_generator()


def test_different_evaluators_are_not_compared(judge, digits):
    real = judge.extract(digits.x_test)
    other = real._replace(evaluator="another, SHA-256 0")
    with pytest.raises(evaluator.EvaluatorError, match="different evaluators"):
        evaluator.quick_scores(real, other)
    with pytest.raises(evaluator.EvaluatorError, match="different evaluators"):
        evaluator.all_scores(real, real, other)


def test_scores_tell_reals_from_noise(judge, digits):
    real = judge.extract(digits.x_test)
    train = judge.extract(digits.x_train)
    noise = judge.extract(np.random.default_rng(0).integers(0, 256, (297, 28, 28, 1)).astype(np.uint8))
    good = evaluator.all_scores(real, train.subset(slice(0, 297)), train)
    bad = evaluator.all_scores(real, noise, train)
    assert good["frechet_distance"] < 0.1 * bad["frechet_distance"]
    assert good["kernel_distance"] < 0.1 * bad["kernel_distance"]
    assert good["coverage"] > 0.7 > 0.1 > bad["coverage"]
    assert good["classifier_score"] > 8 > 5 > bad["classifier_score"]
    assert good["copied"] == 1.0
    assert bad["copied"] == 0.0
    assert set(evaluator.TABLE_ROWS) == set(good)
    few = evaluator.all_scores(real, real.subset(np.repeat(np.arange(10), 30)), train)  # ten images
    assert few["precision"] == 1.0  # the two roles are not the same
    assert few["recall"] < 0.05


def test_a_report_learns_from_all_test_images_what_near_is(judge, digits):
    images = digits.x_test[:50]
    found = evaluator.report(judge, digits, images, images, seed=0)["scores"]["generator"]
    test, train = judge.extract(digits.x_test), judge.extract(digits.x_train)
    expected = metrics.memorisation(train.features, test.features, judge.extract(images).features)
    assert (found["data_copying_z"], found["copied"]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_a_run_is_evaluated(scored, tmp_path):
    folder = shutil.copytree(scored, tmp_path / "run")
    report = runs.evaluate(folder)
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8")) == report
    assert (report["count"], report["split"], report["dataset"], report["seed"]) == (297, "test", "digits", 0)
    assert report["evaluator"]["sha256"] == evaluator.Evaluator().sha256
    assert set(report["scores"]) == {"generator", "training_images", "untrained_generator"}
    reference = report["scores"]["training_images"]
    assert reference["frechet_distance"] < report["scores"]["generator"]["frechet_distance"]
    assert runs.evaluate(folder) == report  # the same seed, the same scores
    assert runs.evaluate(folder, count=100, seed=1)["scores"] != report["scores"]
    text = evaluator.table(run=report)
    assert all(title in text for title, _, _ in evaluator.TABLE_ROWS.values())
    assert f"even they have a Fréchet distance of {reference['frechet_distance']:.3f}, not 0" in text
    assert "297 images of each against 297 test images of bundled digits;" in text
    assert "297 test images of bundled digits, changed;" in evaluator.table(run=report | {"dataset_sha256": "0"})
    assert report["evaluator"]["sha256"][:12] in text


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 9, 298, 10**9])
def test_more_images_than_there_are_test_images_are_refused(scored, count):
    with pytest.raises(ValueError, match="count must be from 10 to the 297 test images"):
        runs.evaluate(scored, count=count)


@pytest.mark.slow
def test_reports_that_cannot_be_compared(scored, tmp_path):
    report = runs.evaluate(shutil.copytree(scored, tmp_path / "run"), count=50)
    assert evaluator.table(one=report, two=report).count("50 images of each") == 1
    for key, value in {"evaluator": {"name": "x", "sha256": "0"}, "dataset_sha256": "0", "count": 49}.items():
        with pytest.raises(evaluator.EvaluatorError, match=f"another {key} cannot be compared"):
            evaluator.table(one=report, two=copy.deepcopy(report) | {key: value})


@pytest.mark.slow
def test_runs_that_cannot_be_evaluated(scored, tmp_path):
    with pytest.raises(runs.RunError, match="is not there"):
        runs.evaluate(tmp_path / "nothing")
    folder = shutil.copytree(scored, tmp_path / "run")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"dataset_sha256": "0"}), encoding="utf-8")
    with pytest.raises(runs.RunError, match="trained on other images"):
        runs.evaluate(folder)
    (folder / "config.json").unlink()
    with pytest.raises(runs.RunError, match=r"config\.json"):
        runs.evaluate(folder)


def rows(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_scores_while_training(scored):
    table = rows(scored / "scores.csv")
    assert [(row["step"], row["images"]) for row in table] == [
        ("0", "0"),
        ("5", "1250"),
        ("10", "2500"),
        ("12", "3000"),
    ]
    history = rows(scored / "history.csv")
    assert [row["frechet_distance"] for row in history] == [table[1]["frechet_distance"], table[3]["frechet_distance"]]
    seconds = [float(row["seconds"]) for row in table]
    assert seconds == sorted(seconds)
    assert seconds[0] == 0.0
    assert (scored / "scores.png").stat().st_size > 1000
    final = runs.sample_images(runs.load_generator(scored), 297, 0)
    judge, digits = evaluator.Evaluator(), data.load("digits")
    expected = evaluator.quick_scores(judge.extract(digits.x_test), judge.extract(final))
    assert float(table[-1]["frechet_distance"]) == pytest.approx(expected["frechet_distance"], rel=1e-4)


@pytest.mark.slow
def test_scores_are_in_tensorboard(scored):
    (events,) = (scored / "tensorboard").iterdir()
    found = {}
    for event in tf.compat.v1.train.summary_iterator(str(events)):
        for value in event.summary.value:
            found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    last = rows(scored / "scores.csv")[-1]
    assert found["frechet_distance", 12] == pytest.approx(float(last["frechet_distance"]), rel=1e-5)
    assert {tag for tag, step in found if step == 5} > {"generator_loss", "discriminator_loss", "smallest_class"}
    assert last["memorised"] == "nan"  # nothing was measured in 12 steps
    assert np.isfinite(list(found.values())).all()


def last_state(folder) -> dict[str, np.ndarray]:
    with np.load(max((folder / "checkpoints").glob("*.npz"))) as archive:
        return {name: archive[name] for name in archive.files if "/" in name}


@pytest.mark.slow
def test_evaluation_changes_nothing_in_the_training(scored, tmp_path):
    runs.train(tmp_path / "plain", SETTINGS)
    first, second = last_state(scored), last_state(tmp_path / "plain")
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_run_stopped_and_continued_keeps_its_scores(scored, tmp_path):
    """Also where the second part does not evaluate, or evaluates at other steps."""

    whole = [{k: v for k, v in row.items() if k != "seconds"} for row in rows(scored / "scores.csv")]
    for name, every, expected in (("same", 5, whole), ("none", None, whole[:2]), ("other", 6, [*whole[:2], whole[3]])):
        with pytest.raises(runs.Stopped):
            runs.train(tmp_path / name, SETTINGS, evaluate_every=5, callbacks=[small.StopIn(7)])
        runs.train(tmp_path / name, SETTINGS, evaluate_every=every)
        found = [{k: v for k, v in row.items() if k != "seconds"} for row in rows(tmp_path / name / "scores.csv")]
        assert found == expected
        assert "frechet_distance" in rows(tmp_path / name / "history.csv")[-1]


@pytest.mark.slow
def test_a_run_that_is_scored_from_its_second_epoch_on(tmp_path):
    """The first one's row has the same columns and no scores."""
    with pytest.raises(runs.Stopped):
        runs.train(tmp_path / "run", SETTINGS, build=small.build, callbacks=[small.StopIn(7)])
    runs.train(tmp_path / "run", SETTINGS, evaluate_every=5, build=small.build)
    assert [row["step"] for row in rows(tmp_path / "run" / "scores.csv")] == ["7", "10", "12"]
    first, last = rows(tmp_path / "run" / "history.csv")
    assert (first["frechet_distance"], last["frechet_distance"] == "nan") == ("nan", False)


@pytest.mark.slow
def test_scores_of_another_evaluator_are_not_continued(scored, tmp_path):
    folder = shutil.copytree(scored, tmp_path / "run")
    (folder / "generator.keras").unlink()  # unfinished
    newest = max((folder / "checkpoints").glob("*.npz"))
    with np.load(newest) as archive:
        content = dict(archive) | {"history.scored_by": np.array("0" * 64)}
    np.savez(newest, **content)
    with pytest.raises(runs.RunError, match="another evaluator"):
        runs.train(folder, SETTINGS, evaluate_every=5)


@pytest.mark.slow
def test_a_signal_while_scoring_is_obeyed_and_the_scores_are_made_up_for(scored, tmp_path, monkeypatch):
    original, calls = evaluator.quick_scores, []

    def signalled(*judged):
        calls.append(len(calls))
        if len(calls) == 3:  # those of step 10
            signal.raise_signal(signal.SIGTERM)
            calls.append("went on")
        return original(*judged)

    with monkeypatch.context() as patch:
        patch.setattr(evaluator, "quick_scores", signalled)
        with pytest.raises(runs.Stopped, match="stopped at step 10 of 12, saved"):
            runs.train(tmp_path / "run", SETTINGS, evaluate_every=5)
    assert calls == [0, 1, 2]  # at once
    assert [row["step"] for row in rows(tmp_path / "run" / "scores.csv")] == ["0", "5"]
    runs.train(tmp_path / "run", SETTINGS, evaluate_every=5)
    for name in ("scores.csv", "history.csv"):
        tables = [[{**row, "seconds": ""} for row in rows(folder / name)] for folder in (scored, tmp_path / "run")]
        assert tables[0] == tables[1]
