"""Rules that put a name to what a run's diagnostics show, with the evidence, a likely cause and what to try.

    print(doctor.report(doctor.read("runs/dcgan")))

Each rule looks at three rows in a row, so that one odd batch is no finding. The limits stand between recorded runs that
fail and healthy ones (`benchmarks/traces.py`): a run of another kind may need others. No TensorFlow here.
"""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gan_tf import Error
from gan_tf.files import one_line, read_csv

ROWS = 3  # so many in a row must show it
BY_HEART = 0.25  # of `memorised`: few images gave 0.3 to 0.6 (200 sprites), and runs on many at most 0.15 in three rows
CHAPTER = "notebooks/06_when_gans_fail.ipynb"
NEEDED = ("step", "images", "separation", "memorised", "generator_gradient", "diversity")
NEEDED += ("real_logit", "fake_logit", "held_out_logit")
Table = dict[str, list[float]]
Rows = dict[str, np.ndarray]


class Rule(NamedTuple):
    """What a failure looks like in the rows of diagnostics."""

    name: str
    shows: Callable[[Rows], np.ndarray]  # which rows look like it
    evidence: str  # a template for the means of the columns over three rows that show it
    cause: str
    cure: str
    chapter: str = CHAPTER


class Finding(NamedTuple):
    """A rule that held for three rows in a row: from when to when, in images seen, and by which numbers."""

    name: str
    first: int
    last: int
    lasting: bool  # it holds at the end of what was recorded
    evidence: str
    cause: str
    cure: str
    chapter: str

    def in_short(self) -> str:
        """Return a line for a training that goes on."""
        return f"This looks like {self.name}, after {self.last:,} images: {self.evidence}. See {self.chapter}"


def read(folder: str | Path) -> Table:
    """Return the diagnostics of a run, finished or not.

    Raises:
        Error: there are none, or they are damaged.
    """
    path = Path(folder) / "diagnostics.csv"
    if not path.exists():
        there = (Path(folder) / "config.json").exists()
        reason = "has no diagnostics yet; train on" if there else "holds no run; name the folder of one"
        raise Error(f"{folder} {reason}")
    try:
        table = read_csv(path)
        if missing := [name for name in NEEDED if name not in table]:
            raise ValueError(f"no column {', '.join(missing)}")
    except (OSError, ValueError, IndexError) as error:
        raise Error(f"{path} is damaged ({one_line(error)}); training writes it anew") from error
    return table


def findings(table: Table) -> list[Finding]:
    """Return what a run's diagnostics show, in the order in which it began."""
    rows = {name: np.asarray(column, float) for name, column in table.items()}
    if len(rows.get("step", ())) < ROWS:
        return []
    shares = [values for name, values in rows.items() if name.startswith("class_")]
    rows["largest_class"] = np.max(shares, axis=0) if shares else np.zeros_like(rows["step"])
    rows["which_class"] = np.argmax(shares, axis=0) if shares else np.zeros_like(rows["step"])
    found = [finding for rule in RULES if (finding := _applied(rule, rows))]
    return sorted(found, key=lambda one: one.first)


def _applied(rule: Rule, rows: Rows) -> Finding | None:
    shows = rule.shows(rows)
    ends = [i for i in range(ROWS - 1, len(shows)) if shows[i - ROWS + 1 : i + 1].all()]
    if not ends:
        return None
    last = slice(ends[-1] - ROWS + 1, ends[-1] + 1)
    means = {name: values[last].mean() for name, values in rows.items()}
    when = [int(rows["images"][i]) for i in (ends[0] - ROWS + 1, ends[-1])]
    lasting = ends[-1] == len(shows) - 1
    return Finding(rule.name, *when, lasting, rule.evidence.format(**means), rule.cause, rule.cure, rule.chapter)


def report(table: Table, width: int = 100) -> str:
    """Return the findings as text: of each its symptom, cause, cure and chapter."""
    seen = f"{len(table['step'])} rows of diagnostics, up to {int(max([0, *table['images']])):,} images"
    found = findings(table)
    if not found:
        few = f" ({ROWS} rows are the fewest that can show anything)" if len(table["step"]) < ROWS else ""
        return f"Nothing found in {seen}{few}."

    lines = [f"{len(found)} finding{'s' * (len(found) > 1)} in {seen}"]
    for finding in found:
        until = "to the end" if finding.lasting else f"to {finding.last:,}, and not after"
        lines += ["", f"{finding.name}, from {finding.first:,} images {until}"]
        parts = {"symptom": finding.evidence, "cause": finding.cause, "try": finding.cure, "read": finding.chapter}
        for name, text in parts.items():
            lines += textwrap.wrap(text, width, initial_indent=f"  {name:9}", subsequent_indent=" " * 11)
    return "\n".join(lines)


def starves(rows: Rows) -> np.ndarray:
    """D is certain, and next to nothing of it comes back to G."""
    return (rows["separation"] > 0.98) & (rows["generator_gradient"] < 0.05)


def diverges(rows: Rows) -> np.ndarray:
    """Logits for which a probability is a 0 or a 1, whatever the precision."""
    return np.maximum(np.abs(rows["real_logit"]), np.abs(rows["fake_logit"])) > 50


def overpowers(rows: Rows) -> np.ndarray:
    """D is right on nearly all pairs, by what it knows of images and not by heart, and G hears of it."""
    known_by_heart = rows["memorised"] > BY_HEART  # a nan is not
    return (rows["separation"] > 0.95) & ~starves(rows) & ~diverges(rows) & ~known_by_heart


def memorises(rows: Rows) -> np.ndarray:
    """D takes images that it has not seen for fakes."""
    return (rows["separation"] > 0.8) & (rows["memorised"] > BY_HEART)


def collapses(rows: Rows) -> np.ndarray:
    """Fakes are alike, or most are of one class, though G learns."""
    return ((rows["diversity"] < 0.4) | (rows["largest_class"] > 0.7)) & ~starves(rows)


def oscillates(rows: Rows) -> np.ndarray:
    """Most fakes are of one class, and of another one than in the row before; or D was ahead, was behind, and is ahead.

    Each row is looked at with the two before it.
    """
    swings = np.zeros(len(rows["step"]), bool)
    ahead, behind = rows["separation"] > 0.9, rows["separation"] < 0.3
    hops = np.zeros_like(swings)
    hops[1:] = (rows["largest_class"][1:] > 0.6) & (np.diff(rows["which_class"]) != 0)
    for i in range(2, len(swings)):
        now = slice(i - 2, i + 1)
        swings[i] = (ahead[now] | behind[now]).all() and ahead[i] == ahead[i - 2] != ahead[i - 1]
    return swings | hops


RULES = (
    Rule(
        "divergence",
        diverges,
        "the discriminator's mean logits are {real_logit:.3g} for real images and {fake_logit:.3g} for fakes, where "
        "5 stands for a probability of 99 %",
        "steps so long that weights grow without bound",
        "lower rates for both players, ten times to begin with; less momentum; a penalty (R1)",
    ),
    Rule(
        "a starving generator",
        starves,
        "the discriminator tells {separation:.0%} of all pairs of a real image and a fake apart, and the gradient that "
        "reaches the generator has a length of {generator_gradient:.0e}",
        "a loss that saturates where the discriminator is certain (minimax), or a discriminator far ahead",
        "the non-saturating loss; a lower rate for the discriminator; noise on what it sees",
    ),
    Rule(
        "an overpowering discriminator",
        overpowers,
        "the discriminator tells {separation:.0%} of all pairs of a real image and a fake apart, and held-out images "
        "as well as training images: its mean logit is {real_logit:.1f} for these, {held_out_logit:.1f} for those and "
        "{fake_logit:.1f} for fakes",
        "it learns faster than the generator can follow",
        "a lower rate for the discriminator or a higher one for the generator; noise on what it sees; a penalty (R1)",
    ),
    Rule(
        "a memorising discriminator",
        memorises,
        "held-out images are to the discriminator {memorised:.0%} of the way from training images to fakes",
        "too few training images for a discriminator of this size: it knows them by heart",
        "more images; augmentation that both real images and fakes go through, `--augment translation`, which is the "
        "default below 5,000 pictures of your own; a smaller discriminator; noise on what it sees; an earlier end",
    ),
    Rule(
        "mode collapse",
        collapses,
        "two fakes are {diversity:.2f} times as unlike as two real images, and the largest class holds "
        "{largest_class:.0%} of them",
        "the generator draws the few images that the discriminator of the moment likes, and nothing makes it spread",
        "less momentum; a generator with batch normalisation; a look at the whole batch (MinibatchStddev); packing; a "
        "relativistic loss with R1 and R2",
    ),
    Rule(
        "oscillation",
        oscillates,
        "from row to row the lead changes, or another class comes to hold most fakes ({largest_class:.0%} of late)",
        "each player answers where the other one was: rates too high for one another, or momentum",
        "less momentum (beta_1 = 0); lower rates; the average of the generator's weights; a penalty (R1)",
    ),
)
