"""Settings of all tests: no network, one process-wide seed a test."""

import os

import keras
import pytest

os.environ["GAN_TF_OFFLINE"] = "1"


@pytest.fixture(autouse=True)
def seeded():
    """Give every test the same seeds, whatever ran before it."""
    keras.utils.set_random_seed(0)
