"""What a run is made of."""

import dataclasses

from gan_tf import losses


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a run is made of; two runs with equal settings on one machine are equal.

    Args:
        dataset: "auto", "mnist" or "digits".
        epochs: passes over the training images; None for as many as show about 240,000 images.
        batch_size: images a step.
        seed: of the initial weights, the order of the images, the noise and the pictures.
        model: "dcgan" or "mlp".
        loss: a name in `losses.LOSSES`.
        precision: "float32", "mixed_bfloat16", "mixed_float16", or "auto" for what a few timed steps find fastest.
        devices: "one", "mirrored", "multiworker" (see `devices.strategy`), or "auto": all GPUs if there are several.

    Raises:
        ValueError: a value is not one of those.
    """

    dataset: str = "auto"
    epochs: int | None = None
    batch_size: int = 32
    seed: int = 0
    model: str = "dcgan"
    loss: str = "non_saturating"
    precision: str = "float32"
    devices: str = "auto"

    def __post_init__(self):
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        whole = {"epochs": 1 if self.epochs is None else self.epochs, "batch_size": self.batch_size}
        for name, value in whole.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be a whole number from 0 to 2147483647, got {self.seed!r}")


CHOICES = {
    "dataset": ("auto", "mnist", "digits"),
    "model": ("dcgan", "mlp"),
    "loss": tuple(losses.LOSSES),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16", "auto"),
    "devices": ("auto", "one", "mirrored", "multiworker"),
}
