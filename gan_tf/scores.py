"""What an evaluator saw in images -> scores, a report of them, and a table.

A score means something only beside the network that made the features. Its name and SHA-256 go with all that it says,
and what two evaluators say is never compared. And it means something only between two others: the **real-data
reference**, what training images get in the generator's place, and the **untrained baseline**, what the generator gets
before training. `n` images have features float32 (n, d) and, where the evaluator names classes, probabilities float32
(n, classes).
"""

import functools
from typing import NamedTuple, Protocol

import numpy as np
from tqdm import tqdm

from gan_tf import Error, classes, datasets, metrics
from gan_tf.neighbours import nearest

ENOUGH_PER_FEATURE = 10  # images: with fewer, what a Fréchet distance shows is mostly how few they are
HUNDRED = 100  # held-out images: of fewer, the nearest hundredth is less than one

FALSE_ALARM = 0.1  # images of an untrained generator that count as copied


class EvaluatorError(Error):
    """An evaluator that cannot be used, or scores of different ones side by side."""


class Features(NamedTuple):
    """What an evaluator sees in n images, and which one it was.

    `small` is a second space, float32 (n, e), of which nothing was learned: the images themselves, averaged to 8x8.
    """

    features: np.ndarray
    probabilities: np.ndarray | None  # of one that names classes
    evaluator: str
    small: np.ndarray | None = None

    def subset(self, rows) -> "Features":
        """Return the rows of an index, a slice or a mask."""
        arrays = {"features": self.features, "probabilities": self.probabilities, "small": self.small}
        return self._replace(**{name: None if array is None else array[rows] for name, array in arrays.items()})

    def spaces(self) -> dict[str, np.ndarray]:
        """Return the features by what the names of the scores in their space begin with: nothing, or "small_"."""
        return {"": self.features} | ({} if self.small is None else {"small_": self.small})


class Judge(Protocol):
    """What an evaluator is: `gan_tf.evaluator` has the shipped one, `gan_tf.judges` those of any dataset."""

    name: str
    sha256: str
    facts: dict  # what metrics.json says of it beside these two; nothing of the shipped one

    def extract(self, images: np.ndarray, progress=iter) -> Features:
        """Look at images, uint8 (n, h, w, c); `progress` wraps the loop over batches, as `tqdm` does."""


def _check_same_evaluator(*sets: Features) -> None:
    """Refuse, as an EvaluatorError, features that come from different evaluators."""
    names = {features.evaluator for features in sets}
    if len(names) > 1:
        raise EvaluatorError(f"scores of different evaluators cannot be compared: {' and '.join(sorted(names))}")


QUICK_SCORES = ("frechet_distance", "classifier_score", "label_jsd", "smallest_class")  # of the shipped evaluator
WATCHED = (*QUICK_SCORES, "kernel_distance", "small_frechet_distance", "small_kernel_distance")  # of any


def quick_scores(real: Features, fake: Features) -> dict[str, float]:
    """Compute the scores that `train --evaluate-every` follows, in less than a second for a few thousand images.

    `QUICK_SCORES`, those of classes only where the evaluator names any; and where it has a second space, the kernel
    distance too, and both distances in that space.
    """
    _check_same_evaluator(real, fake)
    found = {"frechet_distance": metrics.frechet_distance(real.features, fake.features)}
    if fake.probabilities is not None:
        real_histogram, histogram = (metrics.mode_histogram(features.probabilities) for features in (real, fake))
        found["classifier_score"] = metrics.classifier_score(fake.probabilities)
        found["label_jsd"] = metrics.jensen_shannon_divergence(real_histogram, histogram)
        found["smallest_class"] = float(histogram.min())
    if fake.small is not None:
        found["kernel_distance"] = metrics.kernel_distance(real.features, fake.features).value
        found["small_frechet_distance"] = metrics.frechet_distance(real.small, fake.small)
        found["small_kernel_distance"] = metrics.kernel_distance(real.small, fake.small).value
    return found


def all_scores(real: Features, fake: Features, train: Features, held_out: dict | None = None) -> dict[str, float]:
    """Compute every score of `metrics`.

    Args:
        real: held-out images.
        fake: generated images.
        train: the training images, all of them: what `fake` could have copied.
        held_out: distances of held-out images to the nearest of `train`, as `distances` gives them; by default those
            of `real`, computed here.
    """
    _check_same_evaluator(real, fake, train)
    held_out = distances(real, train) if held_out is None else held_out
    found = quick_scores(real, fake)
    for space, own in real.spaces().items():
        pair, of_train = (own, fake.spaces()[space]), train.spaces()[space]
        kernel = metrics.kernel_distance(*pair)
        memorisation = metrics.memorisation(of_train, held_out[space], pair[1])
        more = {"kernel_distance": kernel.value, "kernel_distance_error": kernel.standard_error}
        if not space:
            more |= metrics.precision_recall(*pair)._asdict() | metrics.density_coverage(*pair)._asdict()
        more |= {"data_copying_z": memorisation.z_score, "copied": memorisation.copied}
        found |= {f"{space}{name}": value for name, value in more.items()}
    return found


def distances(images: Features, train: Features) -> dict[str, np.ndarray]:
    """Return how far each image is from the nearest training image, float64 (n,), in each space."""
    return {space: nearest(own, train.spaces()[space]) for space, own in images.spaces().items()}


def report(
    evaluator: Judge,
    dataset: datasets.Dataset,
    fake: np.ndarray,
    untrained: np.ndarray,
    seed: int,
    asked: np.ndarray | None = None,
    digest: str | None = None,
) -> dict:
    """Score generated images against test images, with the reference and the baseline beside: what metrics.json holds.

    Args:
        evaluator: computes the features.
        dataset: its test images are the real ones; as many as there are fakes, drawn by the seed, if it has more. How
            far new images are from the training set is learned from all of them.
        fake: at most as many images as there are test images.
        untrained: as many, of a generator before training.
        seed: of the draws.
        asked: the classes that the fakes were asked to be, whole numbers: each is judged by itself, too, where it has
            enough images and the evaluator names classes.
        digest: the dataset's, where it is known already: to compute it takes as long as to read all images.
    """
    count, random = len(fake), np.random.default_rng(seed)
    bar = functools.partial(tqdm, desc="features", unit="batch", leave=False, disable=None)  # only on a terminal
    train = evaluator.extract(dataset.x_train, bar)
    test = evaluator.extract(dataset.x_test)
    rows = np.sort(random.choice(len(dataset.x_test), count, replace=False))
    real = test.subset(rows)
    held_out = distances(test, train)  # the same for all contestants

    copied = random.choice(len(dataset.x_train), count, replace=count > len(dataset.x_train))
    left_out = None if asked is None else classes.why_not(dataset, dataset.y_test[rows], asked, test.probabilities)
    if asked is not None and not left_out:
        copied = classes.enough_of_each(copied, dataset.y_train, asked, random)
    contestants = {
        "generator": evaluator.extract(fake),
        "training_images": train.subset(copied),  # copies, each
        "untrained_generator": evaluator.extract(untrained),
    }
    by_class = {}
    if left_out:
        by_class["classes_left_out"] = left_out
    elif asked is not None:
        labels = {"generator": asked, "training_images": dataset.y_train[copied]}
        by_class["classes"] = classes.report(real, dataset.y_test[rows], contestants, labels, dataset.class_names)

    bar = tqdm(contestants.items(), desc="scores", unit="set", leave=False, disable=None)
    found = {
        "evaluator": {"name": evaluator.name, "sha256": evaluator.sha256} | evaluator.facts,
        "dataset": dataset.name,
        "dataset_sha256": digest or dataset.digest,
        "split": "test",
        "count": count,
        "seed": seed,
        "scores": {name: all_scores(real, features, train, held_out) for name, features in bar},
    }
    return found | _own(evaluator, dataset, real) | by_class


def _own(evaluator: Judge, dataset: datasets.Dataset, real: Features) -> dict:
    """Return what the table needs to know of images that are not the shipped evaluator's."""
    found = {"held_out": len(dataset.x_test)} if evaluator.facts else {}
    if "classes" in evaluator.facts:
        found["rarest_class"] = float(metrics.mode_histogram(real.probabilities).min())
    return found


TABLE_ROWS = {  # of each score: title, format, which way is better
    "frechet_distance": ("Fréchet distance", "{:.3f}", "lower"),
    "kernel_distance": ("kernel distance", "{:.4f}", "lower"),
    "kernel_distance_error": ("  its standard error", "{:.4f}", ""),
    "precision": ("precision", "{:.3f}", "higher"),
    "recall": ("recall", "{:.3f}", "higher"),
    "density": ("density", "{:.3f}", "higher"),
    "coverage": ("coverage", "{:.3f}", "higher"),
    "classifier_score": ("classifier score (1 to 10)", "{:.2f}", "higher"),
    "label_jsd": ("label JSD", "{:.4f}", "lower"),
    "smallest_class": ("share of the rarest class", "{:.3f}", "near 0.1"),
    "data_copying_z": ("data-copying z", "{:.1f}", "near 0"),
    "copied": ("copied", "{:.3f}", "near 0.01"),
}
SMALL_ROWS = {
    f"small_{key}": (f"8x8: {TABLE_ROWS[key][0].strip()}", *TABLE_ROWS[key][1:])
    for key in ("frechet_distance", "kernel_distance", "kernel_distance_error", "data_copying_z", "copied")
}


def table(**reports: dict) -> str:
    """Lay reports side by side, each under its name, and the real-data reference and untrained baseline of the first.

    Those that differ in the evaluator, the dataset, the split or the number of images are an EvaluatorError.
    """
    first, *others = reports.values()
    for other in others:
        _check_comparable(first, other)

    columns = {name: one["scores"]["generator"] for name, one in reports.items()}
    columns |= {name.replace("_", " "): first["scores"][name] for name in ("training_images", "untrained_generator")}
    widths = {name: max(len(name), 8) + 2 for name in columns}
    lines = [f"{'':26}" + "".join(f"{name:>{width}}" for name, width in widths.items()) + "  better"]
    for key, (title, shape, better) in _rows_of(first).items():
        values = "".join(_cell(shape, column[key], widths[name]) for name, column in columns.items())
        lines.append(f"{title:26}{values}  {better}".rstrip())

    by_class = [f"\n{classes.report_table(name, one['classes'])}" for name, one in reports.items() if "classes" in one]
    by_class += [f"\n{name}: {one['classes_left_out']}" for name, one in reports.items() if "classes_left_out" in one]
    return "\n".join([_head(first), "", *lines, "", *_foot(first), *by_class])


def _cell(shape: str, value: float, width: int) -> str:
    """Return a number for a column, in four digits where more do not fit."""
    text = shape.format(value)
    return f"{text if len(text) < width else f'{value:.3e}':>{width}}"


def _check_comparable(first: dict, other: dict) -> None:
    for name in ("evaluator", "dataset_sha256", "split", "count"):
        if first[name] != other[name]:
            trained = name == "evaluator" and "accuracy" in first[name] and "accuracy" in other[name]
            cure = "delete evaluator.npz in one run's folder and " if trained else ""
            pair = f"{first[name]} and {other[name]}"
            raise EvaluatorError(f"scores of another {name} cannot be compared: {pair}; {cure}evaluate both again")


def _rows_of(one: dict) -> dict[str, tuple[str, str, str]]:
    """Return the table's rows of a report, with what is true of its evaluator, its classes and its images."""
    rows, facts = TABLE_ROWS | SMALL_ROWS, one["evaluator"]
    if "classes" in facts:
        rows |= {"classifier_score": (f"classifier score (1 to {facts['classes']})", "{:.2f}", "higher")}
        rows |= {"smallest_class": (*rows["smallest_class"][:2], f"near {one['rarest_class']:.2g}")}
    if "held_out" in one:
        near = f"near {metrics.copied_by_chance(one['held_out']):.2f}"
        rows |= {key: (*rows[key][:2], near) for key in ("copied", "small_copied")}
    return {key: row for key, row in rows.items() if key in one["scores"]["generator"]}


def _head(one: dict) -> str:
    facts, count = one["evaluator"], f"{one['count']:,}"
    rightly = f" ({facts['accuracy']:.1%} of held-out images named rightly)" if "accuracy" in facts else ""
    head = f"{count} images of each against {count} {one['split']} images of "
    head += f"{datasets.title_of(one['dataset'], one['dataset_sha256'])}; evaluator {facts['name']}{rightly}, "
    return head + f"SHA-256 {facts['sha256'][:12]}; seed {one['seed']}"


def _foot(one: dict) -> list[str]:
    """Return what must be known to read the table, and of few images what their scores cannot tell."""
    count, facts = one["count"], one["evaluator"]
    reference = one["scores"]["training_images"]["frechet_distance"]
    lines = [
        f"The training images are the real-data reference: with {count:,} images even they have a Fréchet distance of "
        f"{reference:.3f}, not 0. The untrained generator is the baseline."
    ]
    if not facts.get("features"):
        return lines
    lines.append("8x8: the images themselves, averaged to that size, in place of the evaluator's features.")
    if count < ENOUGH_PER_FEATURE * facts["features"]:
        lines.append(
            f"{count:,} images are few for {facts['features']} features: Fréchet distances are too large, all of them. "
            "Read the kernel distance, which is right in the mean, beside its standard error."
        )
    if one["held_out"] < HUNDRED:
        lines.append(
            f"Copied: about as near to a training image as the nearest of only {one['held_out']} held-out images is, "
            f"or nearer; of new images, {metrics.copied_by_chance(one['held_out']):.0%} are."
        )
    if max(one["scores"]["untrained_generator"][key] for key in ("copied", "small_copied")) > FALSE_ALARM:
        lines.append(
            "The untrained generator's images count as copied, and copied nothing: flat images are near to many. Trust "
            "`copied` only where a generator's images look real and the distances are small."
        )
    return lines
