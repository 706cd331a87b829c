"""Record runs for the tests of gan_tf.doctor: `python benchmarks/traces.py [NAME ...]`, resumable, a run at a time.

Each run leaves the rows of its diagnostics, at most 32,000 images of them, in tests/traces/NAME-SEED.csv. The healthy
ones train by the default recipe. Each of the others has what makes it fail, and its name says what the doctor has to
find. How often each finding came goes into RESULTS.md.
"""

import argparse
import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
from keras import layers
from report import machine, write_section
from tqdm import tqdm

from gan_tf import data, doctor, gan, losses
from gan_tf.files import read_csv, write_csv
from gan_tf.runs import callbacks, diagnosis, recipe
from gan_tf.runs.folder import RunError

TRACES = Path(__file__).resolve().parent.parent / "tests" / "traces"


def plain_mlp(settings: recipe.Settings) -> gan.GAN:
    """Build two fully connected networks of one hidden layer, without batch normalisation or dropout."""
    keras.utils.set_random_seed(settings.seed)
    generator = [keras.Input((settings.latent_dim,)), layers.Dense(128, activation="relu"), layers.Dense(784)]
    generator += [layers.Reshape((28, 28, 1)), layers.Activation("tanh")]
    discriminator = [keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(128), layers.LeakyReLU(0.2)]
    players = keras.Sequential(generator), keras.Sequential([*discriminator, layers.Dense(1)])

    model = gan.GAN(*players, seed=settings.seed)
    rates = settings.generator_learning_rate, settings.discriminator_learning_rate
    optimizers = [keras.optimizers.Adam(rate, *settings.betas) for rate in rates]
    model.compile(*optimizers, loss=losses.LOSSES[settings.loss])
    return model


class Variant(NamedTuple):
    """A way to train, and how often."""

    finding: str  # what the doctor has to say of it
    seeds: int
    rates: tuple[float, float] | None = None  # the generator's and the discriminator's, where not the default ones
    settings: dict = {}  # noqa: RUF012, never changed
    dataset: str = "mnist"
    pool: int | None = None  # training images there are, where not all
    images: int = 32_000  # how many are seen
    build: Callable[[recipe.Settings], gan.GAN] = recipe.build


MOMENTUM, HALF = {"betas": (0.9, 0.999)}, {"betas": (0.5, 0.999)}
MLP = {"model": "mlp", "latent_dim": 10}
VARIANTS = {
    "healthy-mnist": Variant("", 8),
    "healthy-digits": Variant("", 6, dataset="digits"),
    "overpowering": Variant("an overpowering discriminator", 3, (1e-4, 5e-3)),
    "overpowering-mlp": Variant("an overpowering discriminator", 3, (1e-4, 2e-3), MLP | HALF, build=plain_mlp),
    "starving-mlp": Variant("a starving generator", 8, (1e-4, 1e-3), MLP | HALF | {"loss": "minimax"}, build=plain_mlp),
    "collapse-mlp": Variant("mode collapse", 6, (1e-3, 1e-3), MLP | MOMENTUM, build=plain_mlp),
    "oscillation-mlp": Variant("oscillation", 6, (1e-3, 1e-4), MLP | MOMENTUM, build=plain_mlp),
    "divergence": Variant("divergence", 3, (1e-1, 1e-1), MOMENTUM, images=16_000),
    "divergence-mlp": Variant("divergence", 3, (5e-2, 5e-2), MLP | HALF, build=plain_mlp),
    "memorising": Variant("a memorising discriminator", 6, settings={"input_noise": 0.0}, pool=200, images=16_000),
}


def record(variant: Variant, seed: int) -> dict[str, list]:
    """Train, and return the rows of diagnostics."""
    rates = dict(zip(("generator_learning_rate", "discriminator_learning_rate"), variant.rates or (), strict=False))
    settings = recipe.Settings(dataset=variant.dataset, seed=seed, **rates, **variant.settings).with_model_defaults()
    dataset = data.load(variant.dataset)
    dataset = dataset._replace(x_train=dataset.x_train[: variant.pool], y_train=dataset.y_train[: variant.pool])
    model = variant.build(settings)

    steps = variant.images // settings.batch_size
    history = callbacks.History(callbacks.Schedule(settings.batch_size, steps, 1))
    watching = diagnosis.Diagnostics(history, dataset, seed=seed, say=None)
    batches = data.batches(dataset.x_train, settings.batch_size, seed=seed, endless=True)
    with contextlib.suppress(RunError):  # the losses became NaN: what came before is the trace
        model.fit(batches, steps_per_epoch=steps, verbose=0, callbacks=[callbacks.FiniteLosses(), history, watching])
    return history.diagnostics


def found() -> list[str]:
    """Return a table of how many of each variant's traces have each finding."""
    findings = [rule.name for rule in doctor.RULES]
    lines = [
        f"| recorded | what it has to show | runs | {' | '.join(findings)} |",
        "| --- " * (3 + len(findings)) + "|",
    ]
    for name, variant in VARIANTS.items():
        paths = sorted(TRACES.glob(f"{name}-[0-9].csv"))
        counts = Counter(finding.name for path in paths for finding in doctor.findings(read_csv(path)))
        cells = " | ".join(str(counts[finding]) for finding in findings)
        lines.append(f"| {name} | {variant.finding or 'nothing'} | {len(paths)} | {cells} |")
    return lines


def main() -> None:
    """Record what is missing, and say what the doctor finds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(VARIANTS), metavar="NAME", help=", ".join(VARIANTS))
    wanted = [(name, seed) for name in parser.parse_args().names for seed in range(VARIANTS[name].seeds)]
    TRACES.mkdir(exist_ok=True)
    for name, seed in tqdm([(name, seed) for name, seed in wanted if not (TRACES / f"{name}-{seed}.csv").exists()]):
        table = record(VARIANTS[name], seed)
        write_csv(TRACES / f"{name}-{seed}.csv", table, zip(*table.values(), strict=True))
    explained = "In how many recorded runs, of at most 32,000 images each, `python -m gan_tf doctor` finds what, by"
    write_section("Doctor", [machine(), "", f"{explained} `benchmarks/traces.py`.", "", *found()])


if __name__ == "__main__":
    main()
