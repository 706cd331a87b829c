"""For all tests: no network, one seed a test, the benchmarks' folder to import from, a small run."""

import os
import shutil
import sys
from pathlib import Path

import keras
import pytest

from gan_tf import recipe, runs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
os.environ["GAN_TF_OFFLINE"] = "1"
SETTINGS = recipe.Settings(dataset="digits", epochs=2, batch_size=250, model="mlp")  # 12 steps, dropout included


@pytest.fixture(autouse=True)
def seeded():
    """Give every test the same seeds, whatever ran before it."""
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run that was never stopped. Tests that write into it work on a copy."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    runs.train(folder, SETTINGS)
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")
