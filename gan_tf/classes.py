"""What a class that was asked for gets: scores within each class. NumPy and SciPy only.

Agreement alone rewards collapse: one good image of each class, repeated, is never mistaken for another class. So no
class is judged without the distance and the spread within it. Real and generated images come as what
`Evaluator.extract` returns of them, features (n, d) and probabilities (n, classes), beside whole numbers (n,): the
labels of the real ones, and of the generated ones the classes that were asked for.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gan_tf.metrics import density_coverage, frechet_distance

FEWEST = 6  # images of a class: what `density_coverage` needs, whose balls reach to the fifth nearest
LONGEST = 20  # letters of a name in a table


class ClassScores(NamedTuple):
    """Of one class.

    `agreement` is the share of the images that the classifier takes for what was asked, in [0, 1]. `spread` is how much
    they differ from each other: the root of the trace of their features' covariance, over that of real images of the
    class, so 0 for one image repeated and 1 for real ones. `coverage` is the share of the class's real images reached.
    """

    agreement: float
    frechet_distance: float
    spread: float
    coverage: float


def scores_by_class(real, real_labels, fake, asked) -> dict[int, ClassScores]:
    """Judge each class that was asked for by itself; there must be at least `FEWEST` images of it on either side."""
    named, found = np.argmax(fake.probabilities, axis=1), {}
    for label in map(int, np.unique(asked)):
        ours, theirs = fake.features[asked == label], real.features[real_labels == label]
        found[label] = ClassScores(
            float(np.mean(named[asked == label] == label)),
            frechet_distance(theirs, ours),
            _spread(ours) / _spread(theirs),
            density_coverage(theirs, ours).coverage,
        )
    return found


def means(scores: dict[int, ClassScores]) -> ClassScores:
    """Return the means over the classes, each of which counts the same."""
    return ClassScores(*np.mean(list(scores.values()), axis=0).tolist())


def fewest(labels: np.ndarray, known: Sequence[int]) -> int:
    """Return how often the rarest of the known labels is there."""
    return min(int(np.sum(labels == label)) for label in known)


def why_not(dataset, real_labels: np.ndarray, asked: np.ndarray, probabilities: np.ndarray | None) -> str | None:
    """Return why the classes of a dataset cannot be judged each by itself, in one line, or None where they can.

    Args:
        dataset: a `datasets.Dataset` with labels.
        real_labels: of the held-out images that are compared.
        asked: what the fakes were asked to be.
        probabilities: of the evaluator; None if it names no classes.
    """
    if probabilities is None:
        return "classes are not judged each by itself, because the evaluator names none"
    known = np.unique(np.concatenate([dataset.y_train, asked])).tolist()
    for labels, of in ((dataset.y_train, "training"), (real_labels, "held-out"), (asked, "generated")):
        rarest = min(known, key=lambda label, labels=labels: np.sum(labels == label))
        if (count := fewest(labels, known)) < FEWEST:
            name = _name(rarest, dataset.class_names)
            return (
                f"classes are not judged each by itself: class {name} has {count} {of} images here, and needs {FEWEST}"
            )
    return None


def asked_of(dataset, count: int, seed: int) -> np.ndarray:
    """Draw what fakes are asked to be: training labels or, where these are too few of a class, held-out ones, (count,).

    Args:
        dataset: a `datasets.Dataset` with labels.
        count: at most as many as there are held-out images.
        seed: of the draw.
    """
    asked = np.random.default_rng(seed).permutation(dataset.y_train)[:count]
    if len(asked) == count and fewest(asked, np.unique(dataset.y_train)) >= FEWEST:
        return asked
    return np.random.default_rng(seed).permutation(dataset.y_test)[:count]


def enough_of_each(rows: np.ndarray, labels: np.ndarray, asked: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return these rows where they hold `FEWEST` of each class that was asked for, else others: as many as asked.

    Each class needs a row; one that has too few is drawn from with repetition.
    """
    known = np.unique(asked)
    if fewest(labels[rows], known) >= FEWEST:
        return rows
    drawn = np.empty(len(asked), np.int64)
    for label in known:
        there, wanted = np.flatnonzero(labels == label), np.flatnonzero(asked == label)
        drawn[wanted] = random.choice(there, len(wanted), replace=len(wanted) > len(there))
    return drawn


def table(contestants: dict[str, dict[int, ClassScores]], names: Sequence[str] = ()) -> str:
    """Lay contestants side by side, each under its name: a line for each class, by its name if any, and their means."""
    sets = [scores | {"mean": means(scores)} for scores in contestants.values()]
    heads = {label: label if label == "mean" else _name(label, names)[:LONGEST] for label in sets[0]}
    width = max(6, *(len(head) + 1 for head in heads.values()))

    titles = "".join(f"{title:>11}" for title in ("agreement", "distance", "spread", "coverage"))
    lines = [f"{'class':{width}}" + "  ".join(f"{name:^44}" for name in contestants).rstrip()]
    lines.append(" " * width + "  ".join([titles] * len(contestants)))
    for label, head in heads.items():
        cells = (f"{a:11.1%}{d:11.2f}{s:11.2f}{c:11.3f}" for a, d, s, c in (scores[label] for scores in sets))
        lines.append(f"{head:{width}}" + "  ".join(cells))
    return "\n".join(lines)


def _name(label: int | str, names: Sequence[str]) -> str:
    return names[int(label)] if names else str(label)


def report(real, real_labels, contestants: dict, labels: dict, names: Sequence[str] = ()) -> dict:
    """Return the part of metrics.json that is of classes: contestants by the names that stand in `labels`."""
    found = {name: scores_by_class(real, real_labels, contestants[name], labels[name]) for name in labels}
    by_name = {name: {str(label): one._asdict() for label, one in scores.items()} for name, scores in found.items()}
    by_name["test_images_agreement"] = float(np.mean(real.probabilities.argmax(axis=1) == real_labels))
    return by_name | ({"names": list(names)} if names else {})


def report_table(name: str, found: dict) -> str:
    """Lay the classes of a generator beside those of training images, with what `report` found."""
    sets = {name: found["generator"], "training images": found["training_images"]}
    scores = {title: {label: ClassScores(**one) for label, one in each.items()} for title, each in sets.items()}
    foot = "Agreement: how often the evaluator sees the class that was asked for; of real test images it names "
    foot += f"{found['test_images_agreement']:.1%} rightly. Spread: 0 for one image repeated, 1 for real ones."
    return f"{table(scores, found.get('names', ()))}\n\n{foot}"


def _spread(features: np.ndarray) -> float:
    return float(np.sqrt(np.var(features.astype(np.float64), axis=0, ddof=1).sum()))
