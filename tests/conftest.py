"""For all tests: no network, two devices, one seed a test, the benchmarks' folder to import from, a small run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest
import small
import tensorflow as tf
from clock import pytest_collection_modifyitems, pytest_terminal_summary  # noqa: F401, hooks of pytest

from gan_tf import runs
from gan_tf.runs import recipe

# Two devices, for tests of several replicas: to be named before TensorFlow starts. All else runs on the first.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
os.environ["GAN_TF_OFFLINE"] = "1"
collect_ignore = ["samples"]  # notebooks for test_nbval.py, which breaks them
SETTINGS = recipe.Settings(dataset="digits", epochs=2, batch_size=250, model="mlp")  # 12 steps


def pytest_generate_tests(metafunc):
    """Refuse cases that come from a set: each worker would have them in another order, and no test would run."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        if isinstance(mark.args[1], set | frozenset):
            raise pytest.UsageError(f"{metafunc.definition.nodeid}: parametrize over sorted(...), a set has no order")


@pytest.fixture(autouse=True)
def seeded():
    """Give every test the same seeds, whatever ran before it."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def no_process(request, monkeypatch):
    """Let only tests that are marked as slow start a process: `make check` is for after every edit."""
    if not request.node.get_closest_marker("slow"):

        def refuse(*arguments, **options):
            raise AssertionError("a test that starts a process must be marked: @pytest.mark.slow")

        monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run that was never stopped. Tests that write into it work on a copy."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    runs.train(folder, SETTINGS, build=small.build)
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")
