"""The same networks, losses and optimizers in PyTorch, for `train_step.py`; only imported where torch is installed."""

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional


def generator() -> nn.Module:
    """Build the tutorial's generator; padding and cropping give TensorFlow's sizes."""
    return nn.Sequential(
        nn.Linear(100, 7 * 7 * 256, bias=False),
        nn.BatchNorm1d(7 * 7 * 256),
        nn.LeakyReLU(0.3),
        nn.Unflatten(1, (256, 7, 7)),
        nn.ConvTranspose2d(256, 128, 5, padding=2, bias=False),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.3),
        nn.ConvTranspose2d(128, 64, 5, stride=2, padding=2, output_padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.LeakyReLU(0.3),
        nn.ConvTranspose2d(64, 1, 5, stride=2, padding=2, output_padding=1, bias=False),
        nn.Tanh(),
    )


def discriminator() -> nn.Module:
    """Build the tutorial's discriminator."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 5, stride=2, padding=2),
        nn.LeakyReLU(0.3),
        nn.Dropout(0.3),
        nn.Conv2d(64, 128, 5, stride=2, padding=2),
        nn.LeakyReLU(0.3),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(7 * 7 * 128, 1),
    )


def turn(
    real: torch.Tensor, steps: int, *, channels_last: bool, bfloat16: bool, compiled: bool
) -> Callable[[], object]:
    """Return a turn of train steps in one mode."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    real = real.contiguous(memory_format=layout)
    players = [player.to(memory_format=layout) for player in (generator(), discriminator())]
    optimizers = [torch.optim.Adam(player.parameters(), 1e-4, betas=(0.9, 0.999)) for player in players]
    make, judge = (torch.compile(player) if compiled else player for player in players)
    bce = functional.binary_cross_entropy_with_logits

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            fake = make(torch.randn(len(real), 100))
            real_logits, fake_logits = judge(real), judge(fake.detach())
        discriminator_loss = bce(real_logits.float(), torch.ones_like(real_logits, dtype=torch.float32))
        discriminator_loss = discriminator_loss + bce(fake_logits.float(), torch.zeros(len(real), 1))
        optimizers[1].zero_grad()
        discriminator_loss.backward()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            fake_logits = judge(fake)
        optimizers[0].zero_grad()
        generator_gradients = torch.autograd.grad(
            bce(fake_logits.float(), torch.ones(len(real), 1)), list(players[0].parameters())
        )
        for parameter, gradient in zip(players[0].parameters(), generator_gradients, strict=True):
            parameter.grad = gradient
        for optimizer in optimizers:
            optimizer.step()

    return lambda: [step() for _ in range(steps)]


def turns(real: np.ndarray, steps: int) -> dict[str, Callable[[], object]]:
    """Return a turn for each mode that works here, by name."""
    found, batch = {}, torch.from_numpy(real).permute(0, 3, 1, 2)
    for channels_last, bfloat16, compiled in itertools.product((False, True), repeat=3):
        words = ["channels last"] * channels_last + ["bfloat16"] * bfloat16 + ["compiled"] * compiled
        name = f"PyTorch, {', '.join(words) or 'plain'}"
        one = turn(batch, 1, channels_last=channels_last, bfloat16=bfloat16, compiled=compiled)
        try:
            one()
        except Exception as error:  # no C++ compiler, no bfloat16 kernels: a mode that this machine does not have
            print(f"{name} does not run here: {str(error).splitlines()[0]}")
            continue
        found[name] = turn(batch, steps, channels_last=channels_last, bfloat16=bfloat16, compiled=compiled)
    return found
