"""What is made from a finished run: its generator, pictures, the progress GIF and scores"""

import functools
from collections.abc import Sequence
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from gan_tf import UsageError, classes, data, diagnostics, gan, gif, judges, players, plots, scores
from gan_tf.files import one_line, read_csv, write_json, write_whole
from gan_tf.runs import pictures
from gan_tf.runs.folder import (
    RunError,
    check_pictures,
    frame_paths,
    missed_if_unwritable,
    os_errors_in_one_line,
    read_config,
)
from gan_tf.runs.history import Best
from gan_tf.runs.images import write_images
from gan_tf.untrusted import load_model

GIF_BYTES = 300_000  # of frames in grey; of those in colour three times as many
GIF_FRAMES = 40
GIF_HEIGHT = 320  # pixels, to which frames of fewer are enlarged; a frame has five rows of images
NETWORKS = ("generator.keras", "discriminator.keras")
OUTPUTS = (*NETWORKS, "progress.gif", "samples.png", "losses.png")  # in the order in which they are written


def write_outputs(
    folder: Path, model: gan.GAN, batch: gan.Batch, seed: int, best: Best | None = None, columns: int | None = None
) -> None:
    """Write a finished run's networks and then the pictures, none of which is worth losing them.

    Args:
        folder: of the run.
        model: trained.
        batch: what samples.png is drawn for, as in `pictures.Frames`.
        seed: of the samples.
        best: of the generators that were scored, where any was.
        columns: of samples.png, as in `pictures.Frames`.
    """
    for name, network in zip(NETWORKS, (model.ema_generator, model.discriminator), strict=True):
        write_network(folder / name, network)
    if best:
        write_best(folder, model, best)

    views = {
        "progress.gif": lambda path: write_gif(folder, path),
        "samples.png": lambda path: write_images(path, pictures.drawn(model, batch, seed), columns=columns),
        "losses.png": lambda path: write_figure(path, plots.plot_losses(read_csv(folder / "losses.csv"))),
    }
    if (folder / "diagnostics.csv").exists():
        watched = functools.partial(read_csv, folder / "diagnostics.csv")
        views["diagnostics.png"] = lambda path: write_figure(path, diagnostics.plot(watched()))
    if (folder / "scores.csv").exists():
        scores = functools.partial(read_csv, folder / "scores.csv")
        views["scores.png"] = lambda path: write_figure(path, plots.plot_scores({folder.name: scores()}))
    for name, write in views.items():
        with missed_if_unwritable(folder / name, set()):
            write(folder / name)


def write_network(path: Path, network: keras.Model) -> None:
    """Write a network as Keras does, but whole or not at all."""
    partial = path.with_name(f".{path.stem}.partial.keras")
    network.save(partial)
    write_whole(path, lambda file: file.write(partial.read_bytes()))
    partial.unlink()


def write_best(folder: Path, model: gan.GAN, best: Best) -> None:
    """Write the generator with the lowest Fréchet distance, and when it was, and say so."""
    generator = keras.models.clone_model(model.ema_generator)
    generator.set_weights(best.weights)
    write_network(folder / "best_generator.keras", generator)
    step, images, distance, _ = best
    write_json(folder / "best.json", {"step": step, "images": images, "frechet_distance": distance})
    print(
        f"The best generator by Fréchet distance ({distance:.1f}) is that of step {step:,} ({images:,} images): "
        f"{folder / 'best_generator.keras'}"
    )


def write_gif(folder: str | Path, out: str | Path) -> None:
    """Make the progress GIF from a run's frames: from 40 of them, evenly chosen, where there are more.

    Raises:
        RunError: there are no frames, or one is damaged or unlike the others, or the GIF cannot be written.
    """
    paths = frame_paths(Path(folder))
    if not paths:
        raise RunError(f"{folder} holds no frames: run `python -m gan_tf train {folder}` first")

    frames, captions = [], []
    chosen = {*np.linspace(0, len(paths) - 1, GIF_FRAMES).round()}  # the first and the last always
    for path, seen in (pair for i, pair in enumerate(paths.items()) if i in chosen):
        frames.append(_read_frame(path))
        captions.append(f"{seen:,} images seen")
        _check_alike(path, frames[-1], frames[0])

    times = max(1, GIF_HEIGHT // len(frames[0]))
    told = zip(frames, captions, strict=True)
    frames = [gif.add_caption(plots.enlarge(frame, times), caption) for frame, caption in told]
    with os_errors_in_one_line(Path(out)):
        gif.write_gif(out, frames, max_bytes=GIF_BYTES * (3 if frames[0].ndim == 3 else 1))


def _read_frame(path: Path) -> np.ndarray:
    """Read a frame, uint8 (height, width) or (height, width, 3)."""
    try:
        image = Image.open(path)
        return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except Exception as error:  # Pillow raises many kinds
        raise RunError(f"{path} is damaged; delete it and make the GIF again") from error


def _check_alike(path: Path, frame: np.ndarray, first: np.ndarray) -> None:
    """Refuse a frame of another size than the first one, or a grey one after one in colour, or the other way."""
    if frame.shape[:2] != first.shape[:2]:
        raise RunError(f"{path} has another size than the frames before; delete it and make the GIF again")
    if frame.ndim != first.ndim:
        ours, theirs = ("grey", "in colour") if frame.ndim == 2 else ("in colour", "grey")
        raise RunError(f"{path} is {ours}, the frames before are {theirs}; delete it and make the GIF again")


def write_figure(path: Path, figure: plt.Figure) -> None:
    """Write a figure as PNG and close it."""
    try:
        write_whole(path, functools.partial(figure.savefig, format="png"))
    finally:
        plt.close(figure)


def load_generator(folder: str | Path) -> keras.Model:
    """Load a finished run's generator, in safe mode: no code from the file is executed.

    Raises:
        RunError: there is none yet, or it is damaged.
    """
    return _load(folder, "generator.keras")


def load_discriminator(folder: str | Path) -> keras.Model:
    """Load a finished run's discriminator, from images to logits, as `load_generator` does."""
    return _load(folder, "discriminator.keras")


def _load(folder: str | Path, name: str) -> keras.Model:
    path = Path(folder) / name
    if not path.exists():
        raise RunError(f"{path} is not there: run `python -m gan_tf train {folder}` to its end first")
    try:
        return load_model(path)
    except Exception as error:  # Keras raises many kinds for a bad archive
        raise RunError(f"{path} cannot be loaded ({one_line(error)}); train the run again") from error


def asked_labels(generator: keras.Model, asked: Sequence[int], count: int) -> np.ndarray | None:
    """Return the labels of `count` images: those asked for, again and again; an even mix if none were; None of no use.

    Raises:
        UsageError: the generator takes no labels, or knows no such one.
    """
    if len(generator.inputs) == 1:
        if len(asked):
            raise UsageError("this run's generator was taught no labels: train another one with --conditional")
        return None
    known = players.classes_of(generator)
    if not len(asked) and known is None:
        raise UsageError("this generator does not say how many classes it knows: ask for one, as --digit 7")
    if known is not None and not set(asked) <= set(range(known)):
        raise UsageError(f"this generator knows the classes 0 to {known - 1}, and was asked for {max(asked)}")
    return np.resize(asked if len(asked) else np.arange(known), count).astype(np.int32)


def class_names(folder: str | Path | None) -> list[str]:
    """Return the names of a run's classes, by their labels; none where these are numbers, or no folder is given."""
    config = read_config(Path(folder)) if folder else None
    return [str(each) for each in (config or {}).get("class_names", [])]


def class_number(folder: str | Path | None, name: str) -> int:
    """Return the label of a class of a run's pictures, or of the shipped digits, by its name or its number.

    Raises:
        UsageError: there is no such class.
    """
    names = class_names(folder)
    if name in names:
        return names.index(name)
    if name.isascii() and name.isdigit() and len(name) < 6:
        return int(name)
    known = f"it knows {', '.join(names)}" if names else "its classes have no names: give a number"
    raise UsageError(f"{folder or 'the generator that ships'} has no class {name!r:.50}; {known:.200}")


def evaluate(folder: str | Path, count: int | None = None, seed: int = 0) -> dict:
    """Judge a finished run's generator against its dataset's test images, and write metrics.json.

    The evaluator is the dataset's own (`judges.of_dataset`), trained first where that is not done yet. The classes of a
    conditional run are judged each by itself where they have enough images; else the report says why not.

    Args:
        folder: a finished run.
        count: images of each kind; by default as many as there are test images: 10,000 of MNIST, 297 of the digits.
        seed: of the noise and of the draws.

    Returns:
        The content of metrics.json, for `scores.table`.

    Raises:
        RunError: there is no such run, or its files are damaged, or its dataset was another.
        data.DataError: the dataset cannot be used.
        evaluator.EvaluatorError: the evaluator cannot be used.
        UsageError: there are not so many test images, or fewer than 10 were asked for, of a conditional run 200 where
            there are as many.
    """
    folder = Path(folder)
    config = read_config(folder)
    generator = load_generator(folder)
    if config is None:
        raise RunError(f"{folder} holds a generator and no config.json; restore it, or train again")

    settings = config["settings"]
    dataset = data.load(settings["dataset"], settings.get("size"), settings.get("channels"))
    check_pictures(folder, config, dataset)
    if (digest := dataset.digest) != config["dataset_sha256"]:
        raise RunError(f"{folder} was trained on other images than {dataset!r}; train it again")
    there, labelled = len(dataset.x_test), len(generator.inputs) > 1
    count = there if count is None else count
    fewest = 200 if labelled and there >= 200 else 10  # each class is judged by itself
    if not fewest <= count <= there:
        raise UsageError(f"count must be from {fewest} to the {there} test images, got {count}")

    judge = judges.of_dataset(dataset, folder, digest=digest)
    keras.utils.set_random_seed(seed)
    untrained = keras.models.clone_model(generator)
    asked = classes.asked_of(dataset, count, seed) if labelled else None
    fake, untrained = (gan.sample_images(model, count, seed, asked) for model in (generator, untrained))
    report = scores.report(judge, dataset, fake, untrained, seed, asked, digest)
    with os_errors_in_one_line(folder):
        write_json(folder / "metrics.json", report)
    return report
