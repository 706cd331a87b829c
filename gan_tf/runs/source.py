"""What a run starts from: both networks of a finished run, whose averaged generator and discriminator it trains on."""

import dataclasses
import hashlib
import os
from pathlib import Path

import keras

import gan_tf
from gan_tf import UsageError, gan
from gan_tf.runs.folder import RunError, of_another_version, read_config
from gan_tf.runs.results import NETWORKS, load_discriminator, load_generator
from gan_tf.runs.settings import Settings

SHAPES = ("size", "channels", "classes", "latent_dim", "generator_widths", "discriminator_widths")
INHERITED = (*SHAPES, "input_noise")  # where they were not asked for
FIXED = ("model", *SHAPES)  # on which the weights depend


def origin(folder: Path, config: dict | None, start_from: str | Path | None) -> dict | None:
    """Return what config.json says of the run that this one starts from, or None: its folder, its networks' SHA-256.

    A run that goes on need not be told again, and the other one may be gone by then.

    Args:
        folder: of the run.
        config: what its config.json says.
        start_from: what was asked.

    Raises:
        RunError: the run began otherwise, or there is none to start from, or it is unfinished or damaged.
        UsageError: it is the run itself.
    """
    known = config.get("from") if config else None
    if start_from is None:
        return known
    if Path(start_from).resolve() == folder.resolve():
        raise UsageError(f"--from must name another run than {folder}, which goes on by itself; leave it out")
    if config and not known:
        raise RunError(f"{folder} holds another run, which started from none; leave out --from, or name another folder")

    # Who repeats the command that was stopped names it again, whether or not it is there.
    gone = known and not Path(start_from).exists() and os.path.abspath(start_from) == known["run"]
    asked = known if gone else described(Path(start_from))
    if known and not same(asked, known):
        raise RunError(
            f"{folder} started from other networks than {start_from} has now, those that {known['run']} had; leave out "
            "--from to go on, or name another folder"
        )
    return known or asked


def described(run: Path) -> dict:
    """Return what config.json says of a run to start from."""
    config = read_config(run)
    if config is None:
        raise RunError(f"{run} holds no run to start from (no config.json); name a finished one")
    if of_another_version(config):
        old = config["versions"]["gan_tf"]
        raise RunError(f"{run} is of gan_tf {old}, and this is {gan_tf.__version__}: train it again to start from it")
    if not all((run / name).exists() for name in NETWORKS):
        raise RunError(f"{run} is not finished: run `python -m gan_tf train {run}` to its end first")
    sums = {name.removesuffix(".keras"): hashlib.sha256((run / name).read_bytes()).hexdigest() for name in NETWORKS}
    return {"run": os.path.abspath(run)} | sums


def same(one: dict, other: dict) -> bool:
    """Return whether two runs started from the same networks, wherever these were."""
    return all(one[name.removesuffix(".keras")] == other[name.removesuffix(".keras")] for name in NETWORKS)


def settle(settings: Settings, source: dict | None, config: dict | None) -> Settings:
    """Take from the other run what decides on the networks and was not asked for.

    Raises:
        UsageError: something else was asked for, which its weights cannot fit.
    """
    if source is None:
        return settings
    there = Settings(**(config or read_config(Path(source["run"])))["settings"]).with_model_defaults()
    asked = dataclasses.asdict(settings)
    for name in FIXED if config is None else ():
        if asked[name] not in (None, now := getattr(there, name)):
            value = ",".join(map(str, now)) if isinstance(now, tuple) else now
            raise UsageError(
                f"{source['run']} has other networks ({name}: {now} there, {asked[name]} asked); to start from it, give"
                f" --{name.replace('_', '-')} {value}"
            )
    if settings.conditional and not there.conditional:
        raise UsageError(f"{source['run']} knows no labels; leave out --conditional, or --from")
    if settings.model != there.model:
        return settings  # a run that goes on was asked to be another one, which is told later
    inherited = {name: getattr(there, name) for name in INHERITED if asked[name] is None}
    return dataclasses.replace(settings, conditional=there.conditional, **inherited)


def load(folder: Path, source: dict) -> tuple[keras.Model, keras.Model]:
    """Load the networks that a run starts from, in safe mode.

    Raises:
        RunError: they are not there any more, or have changed, or cannot be loaded.
    """
    run = Path(source["run"])
    if not same(described(run), source):
        raise RunError(f"{run} has changed since {folder} was to start from it; name another folder")
    return load_generator(run), load_discriminator(run)


def start(model: gan.GAN, source: dict, networks: tuple[keras.Model, keras.Model]) -> None:
    """Give a GAN the weights that it starts from; its optimizers and its count of steps stay new.

    Raises:
        UsageError: they do not fit.
    """
    generator, discriminator = networks
    for player, network in (("generator", generator), ("discriminator", discriminator)):
        there, here = network.get_weights(), getattr(model, player).weights
        shapes = [[tuple(weight.shape) for weight in weights] for weights in (there, here)]
        if shapes[0] != shapes[1]:
            raise UsageError(
                f"the {player} of {source['run']} does not fit the one that is built here (weights {shapes[0]} there, "
                f"{shapes[1]} here); ask for the same networks (--model, --latent-dim, --{player}-widths) and builder"
            )
    model.generator.set_weights(generator.get_weights())
    model.ema_generator.set_weights(generator.get_weights())
    model.discriminator.set_weights(discriminator.get_weights())
