"""The sides that square images may have: 4, 5, 6 or 7 pixels, doubled two to five times, up to 128."""

from gan_tf import UsageError

SIZES = tuple(sorted(base << times for times in (2, 3, 4, 5) for base in (4, 5, 6, 7) if base << times <= 128))


def check_size(size: int) -> None:
    """Refuse a side that is none of `SIZES`, and name the two nearest."""
    if type(size) is not int or size not in SIZES:
        raise UsageError(f"size must be one of {', '.join(map(str, SIZES))}{nearest(size)}, got {size!r:.20}")


def nearest(size) -> str:
    """Return the two sizes that are nearest to one that cannot be had, for a message; nothing for what is no number."""
    if type(size) is not int:
        return ""
    low, high = sorted(sorted(SIZES, key=lambda each: abs(each - size))[:2])
    return f" (nearest: {low} and {high})"


def doublings(size: int) -> int:
    """Return how often a side can be halved until it is below 8: as often as a generator doubles its first maps."""
    return max(0, size.bit_length() - 3)


def generator_widths(size: int, last: int = 32, most: int = 256) -> tuple[int, ...]:
    """Return the channels of a generator's layers, from z on: twice as many with each halving, up to `most`."""
    return tuple(min(most, last << i) for i in range(doublings(size), -1, -1))


def discriminator_widths(size: int, widths: tuple[int, ...] = (48, 64, 128, 256, 256)) -> tuple[int, ...]:
    """Return the channels of a discriminator's layers, from the image on: as many as bring it to 4 pixels or fewer."""
    return widths[: (size - 1).bit_length() - 2]
