"""Few pictures, with and without augmentation: `python benchmarks/few.py [NAME ...]`, resumable.

Sprites in colour, which can be read by rules: what a small GAN draws of them after 60,000 images, where
200 of them were its training set, or 4,000. Three seeds a row.
"""

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from report import asked_for, machine, read_rows, spread, write_section
from tqdm import tqdm

from gan_tf import augment, data, diagnostics, gan
from gan_tf.files import write_csv
from gan_tf.runs import recipe
from gan_tf.runs.settings import Settings

ROWS = Path(__file__).with_suffix(".csv")
SEEDS = range(3)
IMAGES, DRAWN = 60_000, 1_000
SCORES = ("valid", "combinations", "untrained_pairs", "outside", "twins", "memorised")
COLUMNS = ("name", "seed", *SCORES)

SHAPES = {
    "disc": lambda y, x: y**2 + x**2 <= 49,
    "square": lambda y, x: np.maximum(abs(y), abs(x)) <= 6,
    "triangle": lambda y, x: (y <= 6) & (y >= 2 * abs(x) - 7),
    "cross": lambda y, x: (np.minimum(abs(y), abs(x)) <= 2) & (np.maximum(abs(y), abs(x)) <= 7),
}
COLOURS = {
    "red": (220, 40, 40),
    "green": (30, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (240, 200, 30),
    "magenta": (200, 50, 200),
    "black": (30, 30, 30),
}
CORNERS = {"top left": (8, 8), "top right": (8, 23), "bottom left": (23, 8), "bottom right": (23, 23)}
OFFSETS = range(-1, 2)  # pixels, up or down, left or right
HELD_OUT = [("disc", "red"), ("square", "green"), ("triangle", "blue"), ("cross", "yellow")]


def mask(shape: str, y: int, x: int) -> np.ndarray:
    """Return the pixels of a shape, bool (32, 32)."""
    rows, columns = np.indices((32, 32))
    return SHAPES[shape](rows - y, columns - x)


def sprites(count: int, seed: int, without=()) -> tuple[np.ndarray, np.ndarray]:
    """Draw sprites at random, each shape, colour and corner as often, `without` pairs of a shape and a colour.

    Returns:
        Pictures, uint8 (count, 32, 32, 3), and what each shows, int (count, 5): the numbers of its shape, colour and
        corner, and the y and x of its middle.
    """
    random = np.random.default_rng(seed)
    images, facts = np.full((count, 32, 32, 3), 255, np.uint8), []
    while len(facts) < count:
        shape, colour, corner = (random.integers(len(x)) for x in (SHAPES, COLOURS, CORNERS))
        if (list(SHAPES)[shape], list(COLOURS)[colour]) in without:
            continue
        move = random.integers(OFFSETS[0], OFFSETS[-1] + 1, 2)
        y, x = list(CORNERS.values())[corner] + move
        paint = list(COLOURS.values())[colour] + random.integers(-15, 16, 3)
        images[len(facts)][mask(list(SHAPES)[shape], y, x)] = paint
        facts.append((shape, colour, corner, y, x))
    return images, np.array(facts)


def read_sprites(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Say of each picture whether it is a sprite, bool (n,), and which is nearest, int (n, 5).

    A picture's ink is the sum of its squared differences from white. Of all shapes in all places, each painted on white
    in the colour that fits best, the one that explains most of the ink is taken. The picture is a sprite if that is
    85 % of it or more, if no other shape explains as much to within 5 % of it, and if the paint is within 60 (of 255)
    of one of the six colours in each channel. New sprites lead by 16 % or more; two colours are 140 or more apart in
    some channel.
    """
    corners = enumerate(CORNERS.values())
    places = [(c, y + dy, x + dx) for c, (y, x) in corners for dy in OFFSETS for dx in OFFSETS]
    known = np.array([(s, *place) for s in range(len(SHAPES)) for place in places])
    masks = np.stack([mask(list(SHAPES)[s], y, x).ravel() for s, _, y, x in known])

    off_white = images.reshape(len(images), 1024, 3).astype(np.float32) - 255
    sums = np.einsum("mp,npc->nmc", masks.astype(np.float32), off_white, optimize=True)
    means = sums / masks.sum(axis=1)[:, None]
    ink = np.square(off_white).sum(axis=(1, 2))
    explained = (sums * means).sum(axis=-1)
    by_shape = explained.reshape(len(images), len(SHAPES), -1).max(axis=2)
    second, first = np.sort(by_shape, axis=1)[:, -2:].T
    fits = (first >= 0.85 * ink) & (first - second >= 0.05 * ink)

    best = explained.argmax(axis=1)
    paint = 255 + means[np.arange(len(best)), best]
    away = np.abs(paint[:, None] - list(COLOURS.values())).max(axis=-1)
    shape, corner, y, x = known[best].T
    facts = np.stack([shape, away.argmin(axis=1), corner, y, x], axis=1)
    return fits & (away.min(axis=1) < 60), facts


def combinations(facts: np.ndarray) -> set[tuple]:
    """Return the combinations of shape, colour and corner that there are."""
    return set(map(tuple, facts[:, :3].tolist()))


class Variant(NamedTuple):
    """What a row trains on."""

    count: int
    policy: object


VARIANTS = {
    "200": Variant(200, None),
    "200-translation": Variant(200, augment.translation),
    "200-translation-cutout": Variant(200, augment.in_sequence(augment.translation, augment.cutout)),
    "200-diffaugment": Variant(200, augment.diffaugment),
    "4000": Variant(4000, None),
    "4000-translation": Variant(4000, augment.translation),
}


def build(seed: int, policy) -> gan.GAN:
    """Build the default recipe's networks, narrower, with an augmentation."""
    narrow = {"generator_widths": (64, 64, 24, 12), "discriminator_widths": (32, 48, 64)}
    settings = Settings(size=32, channels=3, seed=seed, **narrow).with_model_defaults()
    model = recipe.build(settings)
    rates = settings.generator_learning_rate, settings.discriminator_learning_rate
    model.compile(*(recipe.optimizer(settings, rate) for rate in rates), augment=policy)
    return model


def memorised(model: gan.GAN, train: np.ndarray, held_out: np.ndarray, batches: int = 10) -> float:
    """Return how far D takes held-out images for fakes, measured on so many pairs of batches of 64."""
    logits = {"real": [], "held_out": [], "fake": []}
    for number in range(batches):
        random = np.random.default_rng(number)
        parts = [{"images": data.to_float(x[random.choice(len(x), 64)])} for x in (train, held_out)]
        found = diagnostics.look(model, *parts, tf.constant([number, 0]))
        for name, column in logits.items():
            column.append(found[f"{name}_logits"].numpy().mean())
    real, unseen, fake = (np.mean(column) for column in logits.values())
    return float((real - unseen) / (real - fake))


def train(name: str, seed: int) -> list[float]:
    """Train one row and return its scores."""
    variant = VARIANTS[name]
    images, facts = sprites(variant.count, seed, HELD_OUT)
    model = build(seed, variant.policy)
    model.fit(data.batches(images, 16, seed=seed, endless=True), steps_per_epoch=IMAGES // 16, verbose=0)
    drawn = gan.sample_images(model.ema_generator, DRAWN, seed)
    return [*scores(drawn, facts), memorised(model, images, sprites(1000, 99, HELD_OUT)[0])]


def scores(drawn: np.ndarray, trained_on: np.ndarray) -> list[float]:
    """Return the share of sprites among pictures, how many combinations there are among them, and which parts are new.

    Namely the share of pairs of shape and colour that were held out, and of combinations not in the training set. Last,
    the share of twins: a picture of the training set has the same shape and colour in the same place.
    """
    valid, facts = read_sprites(drawn)
    facts = facts[valid]
    pairs = {(list(SHAPES).index(s), list(COLOURS).index(c)) for s, c in HELD_OUT}
    new_pairs = np.mean([tuple(fact[:2]) in pairs for fact in facts])
    outside = np.mean([tuple(fact[:3]) not in combinations(trained_on) for fact in facts])
    twins = np.mean([fact in trained_on.tolist() for fact in facts.tolist()])
    return [float(valid.mean()), len(combinations(facts)), float(new_pairs), float(outside), float(twins)]


def main() -> None:
    """Train what is missing, a row at a time, and write the section of RESULTS.md."""
    rows = read_rows(ROWS)
    wanted = [(name, seed) for seed in SEEDS for name in asked_for(__doc__, VARIANTS)]
    for name, seed in tqdm([each for each in wanted if each not in [tuple(row[:2]) for row in rows]], unit="row"):
        keras.utils.clear_session()
        rows.append([name, seed, *(round(value, 4) for value in train(name, seed))])
        write_csv(ROWS, COLUMNS, rows)

    lines = [f"| {' | '.join(('training set', *SCORES))} |", "| --- " * (1 + len(SCORES)) + "|"]
    for name in VARIANTS:
        columns = zip(*(row[2:] for row in rows if row[0] == name), strict=True)
        lines.append(f"| {name} | " + " | ".join(spread(column, ".3g") for column in columns) + " |")
    new, _ = sprites(DRAWN, 77, HELD_OUT)
    for count in (200, 4000):
        real = [scores(new, sprites(count, seed, HELD_OUT)[1]) for seed in SEEDS]
        cells = [spread(column, ".3g") for column in zip(*real, strict=True)]
        lines.append(f"| new sprites, beside {count:,} | {' | '.join(cells)} | |")
    lines += ["", f"After {IMAGES:,} images; median of three seeds (lowest to highest), {DRAWN:,} drawn. {machine()}"]
    write_section("Few pictures", lines)


if __name__ == "__main__":
    main()
