"""What a run is made of. Each setting stands here once; its checks, its option and its help derive from that line."""

import dataclasses
import json
import os
import types
import typing

from gan_tf import UsageError
from gan_tf.sizes import SIZES, discriminator_widths, generator_widths, nearest

DATASETS = ("auto", "mnist", "digits", "fashion_mnist", "kmnist")
USUAL_SIZE = 28  # of images, where nobody says


def setting(default, help: str, *, choices=None, or_path=False, at_least=0, below=2**31, of_model=None):
    """Declare one setting.

    Args:
        default: None where a run settles it, or where it depends on the model.
        help: what it is, for a reader of this file and of `train --help`.
        choices: the words or numbers it may be.
        or_path: whether it may also be the path of something that is there; it is kept as an absolute one.
        at_least: the lowest number it may be, or each of its numbers.
        below: what each must be less than.
        of_model: the default of each model that has this setting; widths of a dcgan are for 28 pixels.
    """
    metadata = {"help": help, "choices": choices, "or_path": or_path, "at_least": at_least, "below": below}
    metadata["of_model"] = of_model
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run is made of; two runs with equal settings on one machine are equal.

    Raises:
        UsageError: a value is not what its line allows.
    """

    dataset: str = setting(
        "auto",
        "auto (MNIST where it can be had, else the bundled digits), mnist, digits, fashion_mnist, kmnist, or the path "
        "of a folder of pictures, whose subfolders are classes, or of an .npz with `images` and perhaps `labels`",
        choices=DATASETS,
        or_path=True,
    )
    epochs: int | None = setting(
        None,
        "passes over the training images; by default about 120,000 images in all, 2 of MNIST or 80 of the digits, and "
        "more where images are larger",
        at_least=1,
    )
    batch_size: int = setting(16, "images of one step of one player", at_least=1)
    seed: int = setting(0, "of weights, order, noise and pictures")
    model: str = setting("dcgan", "convolutional or fully connected networks", choices=("dcgan", "mlp"))
    size: int | None = setting(None, "the side of the images; by default as they are, or 32", choices=SIZES)
    channels: int | None = setting(None, "1: grey, 3: colour; by default as they are", choices=(1, 3))
    conditional: bool = setting(False, "learn to draw the class that is asked for, from the dataset's labels")
    classes: int | None = setting(
        None, "how many labels a conditional run knows; by default those of the dataset", at_least=2, below=2**16
    )
    latent_dim: int | None = setting(
        None, "the length of z", at_least=1, below=2**14, of_model={"dcgan": 10, "mlp": 100}
    )
    generator_widths: tuple[int, ...] | None = setting(
        None,
        "channels (dcgan, here of 28 pixels) or units (mlp) of the generator's layers, from z on",
        at_least=1,
        below=2**14,
        of_model={"dcgan": (128, 64, 32), "mlp": (128, 256, 512, 1024)},
    )
    discriminator_widths: tuple[int, ...] | None = setting(
        None,
        "channels (dcgan, here of 28 pixels) or units of the discriminator's layers, from the image on",
        at_least=1,
        below=2**14,
        of_model={"dcgan": (48, 64, 128), "mlp": (1024, 512, 256)},
    )
    input_noise: float | None = setting(
        None,
        "standard deviation of the noise on what the discriminator sees in training; pixels are in [-1, 1]",
        below=1,
        of_model={"dcgan": 0.2},
    )
    augment: str = setting(
        "auto",
        "what the discriminator sees images through; auto: translation, where there are fewer than 5,000 of your own",
        choices=("auto", "none", "translation", "diffaugment"),
    )
    loss: str = setting(
        "non_saturating",
        "the adversarial loss",
        # Wasserstein's is not among them: without a penalty its critic has no bound.
        choices=("non_saturating", "minimax", "least_squares", "hinge", "relativistic"),
    )
    generator_learning_rate: float | None = setting(
        None, "of the generator's Adam", below=1, of_model={"dcgan": 2e-3, "mlp": 2e-4}
    )
    discriminator_learning_rate: float | None = setting(
        None, "of the discriminator's Adam", below=1, of_model={"dcgan": 1e-3, "mlp": 2e-4}
    )
    betas: tuple[float, float] | None = setting(
        None,
        "how slowly both Adams forget: the decay of the gradients' mean and of their squares' mean",
        below=1,
        of_model={"dcgan": (0.0, 0.99), "mlp": (0.5, 0.999)},
    )
    ema_decay: float = setting(
        0.9995, "how slowly the average of the generator's weights, which is drawn and saved, forgets", below=1
    )
    precision: str = setting(
        "float32",
        "of the arithmetic; weights stay float32; auto: what a few timed steps find fastest",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    devices: str = setting(
        "auto",
        "one; mirrored: all of this machine; multiworker: all of TF_CONFIG or Slurm; auto: all GPUs if several",
        choices=("auto", "one", "mirrored", "multiworker"),
    )

    def __post_init__(self):
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, checked(field, getattr(self, field.name)))
            defaults = field.metadata["of_model"]
            if defaults and self.model not in defaults and getattr(self, field.name) is not None:
                raise UsageError(f"{field.name} is of {', '.join(defaults)} and not of {self.model}; leave it out")

    def with_model_defaults(self) -> "Settings":
        """Return the settings with the model's own values where none were asked for."""
        own = {field.name: field.metadata["of_model"] or {} for field in dataclasses.fields(self)}
        values = {name: each[self.model] for name, each in own.items() if self.model in each}
        values |= {"size": self.size or USUAL_SIZE, "channels": self.channels or 1}
        if self.model == "dcgan":
            of_size = {"generator_widths": generator_widths, "discriminator_widths": discriminator_widths}
            values |= {name: widths(values["size"]) for name, widths in of_size.items()}
        return dataclasses.replace(self, **{name: v for name, v in values.items() if getattr(self, name) is None})

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images, as far as they are settled: else those of MNIST."""
        return self.size or USUAL_SIZE, self.size or USUAL_SIZE, self.channels or 1

    def to_json(self) -> dict:
        """Return the settings as a file of JSON gives them back: `Settings(**settings.to_json()) == settings`."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


def checked(field: dataclasses.Field, value):
    """Return a setting's value in its own type.

    Raises:
        UsageError: it is none of the choices, of another type, or out of bounds.
    """
    if value is None and field.default is None:
        return None
    kind, count = _kind(field)
    if field.metadata["or_path"] and (path := _path(value, field.metadata["choices"])):
        return path
    values = (value,) if count == 1 else tuple(value) if isinstance(value, tuple | list) else ()
    if not values or count not in (None, len(values)) or not all(_allowed(field, kind, each) for each in values):
        near = nearest(value) if field.metadata["choices"] is SIZES else ""
        raise UsageError(f"{field.name} must be {_expected(field)}{near}, got {value!r:.100}; see `train --help`")
    values = tuple(kind(each) for each in values)
    return values[0] if count == 1 else values


def parsed(field: dataclasses.Field, text: str):
    """Return the value that a text on the command line stands for; several numbers have commas between them.

    Raises:
        UsageError: as `checked`.
    """
    kind, count = _kind(field)
    try:
        values = [kind(part) for part in ([text] if count == 1 else text.split(","))]
    except ValueError:
        return checked(field, text)
    return checked(field, values[0] if count == 1 else values)


def _path(value, choices: tuple[str, ...]) -> str | None:
    """Return the absolute path that a value is; an absolute one need not be there (any more)."""
    if not isinstance(value, str | os.PathLike) or value in choices or not str(value).strip():
        return None
    there = os.path.isdir(value) or (os.path.isfile(value) and str(value).endswith(".npz"))
    return os.path.abspath(value) if there or os.path.isabs(value) else None


def _kind(field: dataclasses.Field) -> tuple[type, int | None]:
    """Return the type of a setting's values and how many it has; None stands for any number of them."""
    kind = field.type
    if isinstance(kind, types.UnionType):  # of X and None
        kind = typing.get_args(kind)[0]
    parts = typing.get_args(kind)
    if not parts:
        return kind, 1
    return parts[0], None if parts[-1] is Ellipsis else len(parts)


def _allowed(field: dataclasses.Field, kind: type, value) -> bool:
    if choices := field.metadata["choices"]:
        return type(value) is kind and value in choices
    exact = (int, float) if kind is float else (kind,)
    return type(value) in exact and field.metadata["at_least"] <= value < field.metadata["below"]  # True is no number


def _expected(field: dataclasses.Field) -> str:
    if choices := field.metadata["choices"]:
        path = ", or a folder or an .npz that is there" if field.metadata["or_path"] else ""
        return f"one of {', '.join(map(str, choices))}{path}"
    if field.type is bool:
        return "True or False"
    (kind, count), low, high = _kind(field), field.metadata["at_least"], field.metadata["below"]
    bounds = f"from {low} to {high - 1}" if kind is int else f"of at least {low} and below {high}"
    noun = "whole number" if kind is int else "number"
    if count == 1:
        return f"a {noun} {bounds}"
    return f"{f'{count} ' if count else ''}{noun}s {bounds}"
