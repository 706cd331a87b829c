"""What a class that was asked for gets: scores within each class. NumPy and SciPy only.

Agreement alone rewards collapse: one good image of each class, repeated, is never mistaken for another class. So no
class is judged without the distance and the spread within it. Real and generated images come as what
`Evaluator.extract` returns of them, features (n, d) and probabilities (n, classes), beside whole numbers (n,): the
labels of the real ones, and of the generated ones the classes that were asked for.
"""

from typing import NamedTuple

import numpy as np

from gan_tf.metrics import density_coverage, frechet_distance


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
    """Judge each class that was asked for by itself; there must be at least 6 images of it on either side."""
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


def table(contestants: dict[str, dict[int, ClassScores]]) -> str:
    """Lay contestants side by side, each under its name: a line for each class, and their means."""
    titles = "".join(f"{title:>11}" for title in ("agreement", "distance", "spread", "coverage"))
    lines = [f"{'class':6}" + "  ".join(f"{name:^44}" for name in contestants).rstrip()]
    lines.append(" " * 6 + "  ".join([titles] * len(contestants)))

    sets = [scores | {"mean": means(scores)} for scores in contestants.values()]
    for label in sets[0]:
        cells = (f"{a:11.1%}{d:11.2f}{s:11.2f}{c:11.3f}" for a, d, s, c in (scores[label] for scores in sets))
        lines.append(f"{label!s:6}" + "  ".join(cells))
    return "\n".join(lines)


def report(real, real_labels, contestants: dict, labels: dict) -> dict:
    """Return the part of metrics.json that is of classes: contestants by the names that stand in `labels`."""
    found = {name: scores_by_class(real, real_labels, contestants[name], labels[name]) for name in labels}
    by_name = {name: {str(label): one._asdict() for label, one in scores.items()} for name, scores in found.items()}
    return by_name | {"test_images_agreement": float(np.mean(real.probabilities.argmax(axis=1) == real_labels))}


def report_table(name: str, found: dict) -> str:
    """Lay the classes of a generator beside those of training images, with what `report` found."""
    sets = {name: found["generator"], "training images": found["training_images"]}
    scores = {title: {label: ClassScores(**one) for label, one in each.items()} for title, each in sets.items()}
    foot = "Agreement: how often the evaluator sees the class that was asked for; of real test images it names "
    foot += f"{found['test_images_agreement']:.1%} rightly. Spread: 0 for one image repeated, 1 for real ones."
    return f"{table(scores)}\n\n{foot}"


def _spread(features: np.ndarray) -> float:
    return float(np.sqrt(np.var(features.astype(np.float64), axis=0, ddof=1).sum()))
