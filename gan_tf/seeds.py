"""One seed becomes many, each for one use, by words that say what it is for."""

import zlib

import tensorflow as tf


def fold(seed, *words: str | int) -> tf.Tensor:
    """Derive a seed for one use from the seed of all: `fold(seed, "noise")` has nothing to do with any other word."""
    for word in words:
        number = zlib.crc32(word.encode()) & 0x7FFFFFFF if isinstance(word, str) else word
        seed = tf.random.experimental.stateless_fold_in(seed, number)
    return seed
