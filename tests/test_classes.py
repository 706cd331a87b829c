"""Scores within each class, on data whose answer is known."""

from typing import NamedTuple

import numpy as np
import pytest

from gan_tf import classes
from gan_tf.evaluator import Features

CENTRES = 20.0 * np.eye(3, 5)
LABELS = np.arange(3).repeat(400)


def drawn(seed: int, labels: np.ndarray = LABELS, sigma: float = 1.0) -> Features:
    """Draw points around each class's centre, and a classifier that names the nearest centre."""
    points = CENTRES[labels] + sigma * np.random.default_rng(seed).standard_normal((len(labels), 5))
    nearest = ((points[:, np.newaxis] - CENTRES) ** 2).sum(axis=-1).argmin(axis=1)
    return Features(points.astype(np.float32), np.eye(3, dtype=np.float32)[nearest], "nearest centre")


REAL = drawn(0)


def judged(fake: Features, asked: np.ndarray = LABELS) -> dict[int, classes.ClassScores]:
    return classes.scores_by_class(REAL, LABELS, fake, asked)


def test_the_real_images_themselves_are_perfect():
    for scores in judged(REAL).values():
        assert (scores.agreement, scores.coverage) == (1.0, 1.0)
        assert scores.spread == pytest.approx(1.0)
        assert scores.frechet_distance == pytest.approx(0.0, abs=1e-6)


def test_other_images_of_the_same_distribution_are_nearly_so():
    scores = classes.means(judged(drawn(1)))
    assert scores.agreement == 1.0
    assert 0.95 < scores.spread < 1.05  # of 400: 1 ± 0.03
    assert scores.coverage > 0.9
    assert scores.frechet_distance < 0.3


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_spread_is_that_of_the_distributions(sigma):
    assert classes.means(judged(drawn(1, sigma=sigma))).spread == pytest.approx(sigma, rel=0.05)


def test_one_image_a_class_repeated_agrees_wholly_and_has_no_spread():
    rows = np.flatnonzero(np.diff(LABELS, prepend=-1))[LABELS]
    scores = classes.means(judged(REAL.subset(rows)))
    assert scores.agreement == 1.0
    assert scores.spread == 0.0
    assert scores.coverage < 0.2


def test_shuffled_labels_agree_by_chance():
    asked = np.random.default_rng(0).permutation(LABELS)
    scores = classes.means(judged(drawn(1), asked))
    assert scores.agreement == pytest.approx(1 / 3, abs=0.05)  # standard error 0.014
    assert scores.spread > 3  # of all classes, where one is asked for


def test_shifted_labels_never_agree():
    assert classes.means(judged(drawn(1), (LABELS + 1) % 3)).agreement == 0.0


def test_each_class_is_judged_by_itself():
    asked = LABELS.copy()
    asked[LABELS == 2] = 1  # of the images that should be of class 1, half are of class 2
    scores = judged(drawn(1), asked)
    assert list(scores) == [0, 1]
    assert (scores[0].agreement, scores[1].agreement) == (1.0, 0.5)
    assert scores[1].spread > 2 * scores[0].spread


def test_the_table_has_a_line_a_class_and_their_means():
    lines = classes.table({"one": judged(drawn(1)), "other": judged(drawn(2))}).splitlines()
    assert [line.split()[0] for line in lines] == ["class", "agreement", "0", "1", "2", "mean"]
    assert lines[-1].split()[1::4] == ["100.0%", "100.0%"]


def test_the_report_names_what_it_judged():
    asked = {"generator": LABELS, "training_images": LABELS}
    found = classes.report(REAL, LABELS, {"generator": drawn(1), "training_images": drawn(2)}, asked)
    assert found.keys() == {"generator", "training_images", "test_images_agreement"}
    assert found["test_images_agreement"] == 1.0
    assert found["generator"]["0"].keys() == set(classes.ClassScores._fields)
    assert "training images" in classes.report_table("runs/digits", found)


# Names, and classes that have too few images.


class Labelled(NamedTuple):
    """As much of a dataset as these functions look at."""

    y_train: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...] = ()


DATASET = Labelled(np.arange(3).repeat(40), np.arange(3).repeat(10))


def test_classes_stand_under_their_names():
    names = ("disc", "a name that is longer than any column", "x")
    asked = {"generator": LABELS, "training_images": LABELS}
    contestants = {"generator": drawn(1), "training_images": drawn(2)}
    found = classes.report(REAL, LABELS, contestants, asked, names)
    assert found["names"] == list(names)
    assert list(found["generator"]) == ["0", "1", "2"]
    lines = classes.report_table("runs/own", found).splitlines()[:6]
    assert [line[:21] for line in lines[2:]] == [f"{name:21}" for name in ("disc", names[1][:20], "x", "mean")]
    assert len({len(line) for line in lines[1:]}) == 1  # the columns stand below each other


def test_nothing_keeps_classes_of_enough_images_from_being_judged():
    assert classes.why_not(DATASET, DATASET.y_test, DATASET.y_test, REAL.probabilities) is None
    six = np.arange(3).repeat(6)
    assert classes.why_not(DATASET, six, six, REAL.probabilities) is None


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"real_labels": np.array([0] * 9 + [1] * 5 + [2] * 6)}, "class 1 has 5 held-out images here, and needs 6"),
        ({"asked": np.array([0] * 9 + [1] * 9)}, "class 2 has 0 generated images here"),
        ({"dataset": DATASET._replace(y_train=np.array([0, 1] * 9))}, "class 2 has 0 training images here"),
        (
            {"asked": np.array([0] * 9 + [1] * 9), "dataset": DATASET._replace(class_names=("a", "b", "cat"))},
            "class cat has 0 generated",
        ),
        ({"probabilities": None}, "because the evaluator names none"),
    ],
)
def test_why_classes_are_not_judged(changed, line):
    given = {"dataset": DATASET, "real_labels": DATASET.y_test, "asked": DATASET.y_test, "probabilities": np.ones(1)}
    assert line in classes.why_not(**given | changed)


def test_the_reference_has_enough_images_of_each_class():
    random, labels = np.random.default_rng(0), np.array([0] * 90 + [1] * 7 + [2] * 30)
    asked = random.permutation(np.array([0] * 10 + [1] * 9 + [2] * 8))
    good, bad = np.arange(70, 110), np.arange(27)
    assert classes.enough_of_each(good, labels, asked, random) is good
    rows = classes.enough_of_each(bad, labels, asked, random)
    np.testing.assert_array_equal(labels[rows], asked)
    once = rows[asked != 1]
    assert len(np.unique(once)) == len(once)  # of the class with fewer rows than were asked for, some come twice


def test_fakes_are_asked_for_as_before_where_that_gives_enough_of_each_class():
    many = DATASET._replace(y_train=np.arange(3).repeat(400))
    asked = classes.asked_of(many, 60, seed=0)
    np.testing.assert_array_equal(asked, np.random.default_rng(0).permutation(many.y_train)[:60])
    rare = DATASET._replace(y_train=np.array([0] * 500 + [1] * 20 + [2] * 20))
    np.testing.assert_array_equal(np.bincount(classes.asked_of(rare, 30, seed=0)), [10, 10, 10])
