"""The command line: `python -m gan_tf {train,sample,gif,evaluate,doctor} RUN ...`."""

import argparse
import dataclasses
import math
import os
import shlex
import sys
import time
from typing import NoReturn

from gan_tf import Error, UsageError
from gan_tf.arguments import at_least, digits, pictures, run_folder, with_suffix
from gan_tf.runs.settings import Settings, parsed

EPILOG = """\
examples:
  python -m gan_tf train runs/dcgan                  train by the default recipe; again, to continue a stopped run
  python -m gan_tf train runs/dcgan --epochs 6       go on to more epochs, to the bits of a run that was asked for 6
  python -m gan_tf train runs/digits --conditional   learn to draw the digit that is asked for
  python -m gan_tf train runs/mine --dataset pictures/ --size 64    learn from a folder of pictures
  python -m gan_tf train runs/more --from runs/dcgan --seed 1       another run, from the networks of this one
  python -m gan_tf sample --digits 2026 --out year.png              four digits by the generator that ships
  python -m gan_tf sample runs/dcgan --count 100 --seed 1 --out samples.png
  python -m gan_tf sample runs/dcgan --count 1000 --out samples/    a picture each, in a new folder
  python -m gan_tf gif runs/dcgan --out progress.gif
  python -m gan_tf evaluate runs/dcgan               score it, write runs/dcgan/metrics.json
  python -m gan_tf doctor runs/dcgan                 say what its diagnostics show, and what to try

exit codes: 0 done; 1 a failure, told in one line; 2 wrong usage; 130 and 143 stopped by a signal, after saving
environment: GAN_TF_DATA, a folder to look for datasets in first; GAN_TF_OFFLINE=1, never download;
GAN_TF_TRACEBACK=1, show where an error came from
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # names of files need not be text
    code, line = run(options)
    if line:  # the error and all that it held is gone by now: whatever that wrote in going stands above
        print(f"gan_tf: {line}", file=sys.stderr)
    return code


def run(options: argparse.Namespace) -> tuple[int, str]:
    """Run a command and return its exit code, and what to say of a failure."""
    try:
        options.command(options)
    except KeyboardInterrupt:
        return 130, "stopped; what was saved before is intact"
    except Exception as error:
        if number := getattr(error, "signal_number", 0):  # of runs.Stopped
            return 128 + number, f"{error}. Continue with: python -m gan_tf {shlex.join(sys.argv[1:])}"
        if os.environ.get("GAN_TF_TRACEBACK"):
            raise
        return 2 if isinstance(error, UsageError) else 1, " ".join(failure(error).split())
    return 0, ""


def failure(error: Exception) -> str:
    """Return what to say of an error: our own messages as they are, of others what kind they are, too."""
    if isinstance(error, Error):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}"
    return f"unexpected {type(error).__name__}: {str(error)[:300]} (GAN_TF_TRACEBACK=1 shows where)"


def leave(code: int) -> NoReturn:
    """End the process at once.

    Python's own way out would run what TensorFlow left behind, such as a pool of threads whose worker is lost, and that
    may write after the last line (tensorflow/tensorflow#50487).
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # nobody reads, or there is no room: not all was told
            code = code or 1
    os._exit(code)


def parser() -> argparse.ArgumentParser:
    """Build the parser; values are checked here, before TensorFlow is imported."""
    top = argparse.ArgumentParser(
        prog="python -m gan_tf",
        description="Train a GAN on digits or your own pictures, draw samples, make the GIF of its progress, score it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train", help="train into a run folder, or continue there", description=train_run.__doc__
    )
    train.add_argument("run", type=run_folder, help="the run folder, as runs/dcgan; made where there is none")
    train.add_argument(
        "--from",
        dest="start_from",
        type=run_folder,
        metavar="RUN",
        help="start from both networks of this finished run, with new optimizers (default: from random weights)",
    )
    for field in dataclasses.fields(Settings):
        add_setting(train, field)
    train.add_argument(
        "--checkpoint-every",
        type=at_least(1),
        default=500,
        metavar="STEPS",
        help="from one checkpoint to the next: what a kill costs at most (default: 500)",
    )
    train.add_argument(
        "--evaluate-every",
        type=at_least(1),
        metavar="STEPS",
        help="score the generator every so many steps, for history.csv, scores.png and TensorBoard, and keep the best "
        "(default: never)",
    )
    train.set_defaults(command=train_run)

    sample = commands.add_parser("sample", help="draw images, the digits asked for", description=sample_run.__doc__)
    sample.add_argument("run", type=run_folder, nargs="?", help="the run folder (default: the generator that ships)")
    sample.add_argument("--count", type=at_least(1), help="how many images (default: 100), or rows of --digits (1)")
    asked = sample.add_mutually_exclusive_group()
    asked.add_argument(
        "--digit", type=at_least(0), help="the digit to draw, by a conditional run (default: an even mix)"
    )
    asked.add_argument("--class", dest="name", metavar="NAME", help="the class to draw, by its folder's name or number")
    asked.add_argument("--digits", type=digits, help="the digits to draw, as 3141592653, in a row")
    sample.add_argument("--seed", type=at_least(0), default=0, help="of the noise (default: 0)")
    sample.add_argument(
        "--out",
        type=pictures,
        default="samples.png",
        help="a .png grid; .npz with `images` uint8 (n, height, width, 1 or 3); or FOLDER/, new or empty, for a PNG of "
        "each image, named by its number and its class, as 0007-apple.png (default: samples.png)",
    )
    sample.set_defaults(command=sample_run)

    gif = commands.add_parser("gif", help="make the progress GIF from a run's frames", description=gif_run.__doc__)
    gif.add_argument("run", type=run_folder, help="the run folder")
    gif.add_argument("--out", type=with_suffix(".gif"), default="progress.gif", help="where (default: progress.gif)")
    gif.set_defaults(command=gif_run)

    evaluate = commands.add_parser(
        "evaluate", help="score finished runs, side by side", description=evaluate_runs.__doc__
    )
    evaluate.add_argument(
        "runs", metavar="run", nargs="+", type=run_folder, help="one run folder, or several of one dataset"
    )
    evaluate.add_argument(
        "--count", type=at_least(10), help="images of each kind (default: all held-out images, 10,000 of MNIST)"
    )
    evaluate.add_argument("--seed", type=at_least(0), default=0, help="of noise and draws (default: 0)")
    evaluate.set_defaults(command=evaluate_runs)

    doctor = commands.add_parser("doctor", help="say what goes wrong in a run", description=doctor_run.__doc__)
    doctor.add_argument("run", type=run_folder, help="the run folder, of a run that is finished or not")
    doctor.set_defaults(command=doctor_run)
    return top


def add_setting(train: argparse.ArgumentParser, field: dataclasses.Field) -> None:
    """Add a setting's option, with what the setting itself says of its values, its default and its meaning."""
    if of_model := field.metadata["of_model"]:
        default = "; ".join(f"{as_text(value)} for {model}" for model, value in of_model.items())
    else:
        default = as_text(field.default)

    option = f"--{field.name.replace('_', '-')}"
    if field.type is bool:
        train.add_argument(option, action="store_true", help=field.metadata["help"])
        return

    def value(text: str):
        try:
            return parsed(field, text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    train.add_argument(
        option,
        type=value,
        choices=None if field.metadata["or_path"] else field.metadata["choices"],
        metavar="NAME" if field.metadata["or_path"] else None if field.metadata["choices"] else "N",
        default=field.default,
        help=field.metadata["help"] + (f" (default: {default})" if default else ""),
    )


def as_text(value) -> str:
    """Return a setting's value as it is typed; nothing where there is none."""
    if value is None:
        return ""
    return ",".join(f"{each:g}" for each in value) if isinstance(value, tuple) else str(value)


def train_run(options: argparse.Namespace) -> None:
    """Train into a run folder.

    A stopped run of the same settings is continued, a finished one is left as it is, or goes on to more epochs.
    """
    settings = Settings(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Settings)})
    from gan_tf import runs

    started = time.perf_counter()
    every = options.evaluate_every, options.checkpoint_every
    gif = runs.train(options.run, settings, *every, start_from=options.start_from)
    print(f"After {time.perf_counter() - started:.0f} s the progress GIF is at {gif}")


def sample_run(options: argparse.Namespace) -> None:
    """Draw images from a generator, always the same ones for the same seed: that of a finished run, or the shipped one.

    A conditional one draws the digits that it is asked for.
    """
    from gan_tf import files, runs

    asked, columns = options.digits or [], len(options.digits or []) or None
    count = (options.count or 1) * len(asked) if asked else options.count or 100
    number = options.digit if options.name is None else runs.class_number(options.run, options.name)
    files.check_empty(options.out)
    generator = runs.load_generator(options.run) if options.run else runs.pretrained_generator(conditional=True)
    values = math.prod(side or 1 for side in generator.output_shape[1:])  # None: one that is not known before
    files.check_memory(5 * values * count, f"drawing {count} images")  # uint8, and copies of these
    labels = runs.asked_labels(generator, asked if number is None else [number], count)

    images = runs.sample_images(generator, count, options.seed, labels)
    enlarged = max(1, 128 // images.shape[2]) if asked else 1
    runs.write_images(options.out, images, labels, columns, enlarged, runs.class_names(options.run))
    print(f"{count} images are at {options.out}")


def gif_run(options: argparse.Namespace) -> None:
    """Make the progress GIF from the frames of a run, finished or not."""
    from gan_tf import runs

    runs.write_gif(options.run, options.out)
    print(f"The progress GIF is at {options.out}")


def evaluate_runs(options: argparse.Namespace) -> None:
    """Score generated images against test images, and write each run's metrics.json.

    Digits are judged by the shipped evaluator, other images by a classifier that is trained on their labels first, or,
    without labels, by a network of random weights; and all but digits by the images made small, too. Beside the scores
    stand what training images and an untrained generator get: the best and the worst that can be expected.
    """
    from gan_tf import runs, scores

    reports = {str(folder): runs.evaluate(folder, options.count, options.seed) for folder in options.runs}
    print(scores.table(**reports))
    print("Written to " + ", ".join(str(folder / "metrics.json") for folder in options.runs))


def doctor_run(options: argparse.Namespace) -> None:
    """Say what a run's diagnostics show: symptom, cause, what to try, and the chapter to read. Takes no training."""
    from gan_tf.doctor import read, report

    print(report(read(options.run)))


if __name__ == "__main__":
    leave(main())
