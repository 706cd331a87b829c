"""The command line, as a shell sees it: exit codes, one line on standard error, files."""

import functools
import os
import resource
import signal
import subprocess
import sys
import time

import imageio.v3 as iio
import numpy as np
import pytest

SMALL = ("--dataset", "digits", "--model", "mlp", "--epochs", "1", "--batch-size", "500")


def gan_tf(*arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "gan_tf", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("main") / "run with spaces"
    done = gan_tf("train", folder, *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(f"the progress GIF is at {folder / 'progress.gif'}")
    assert "100%" in done.stderr  # the progress bar
    return folder


def test_help_is_quick_and_names_every_command():
    started = time.perf_counter()
    done = gan_tf("--help")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("train", "sample", "gif", "GAN_TF_DATA", "exit codes"))
    assert time.perf_counter() - started < 2  # without TensorFlow, whose import alone takes longer


def test_sample_writes_a_grid_and_an_array(run, tmp_path):
    assert gan_tf("sample", run, "--count", 9, "--seed", 1, "--out", tmp_path / "nine.png").returncode == 0
    assert iio.imread(tmp_path / "nine.png").shape == (84, 84)
    assert gan_tf("sample", run, "--count", 9, "--seed", 1, "--out", tmp_path / "nine.npz").returncode == 0
    with np.load(tmp_path / "nine.npz") as archive:
        assert archive.files == ["images"]
        assert (archive["images"].shape, archive["images"].dtype) == ((9, 28, 28, 1), np.uint8)


def test_gif_is_made_anew_from_the_frames(run, tmp_path):
    assert gan_tf("gif", run, "--out", tmp_path / "out.gif").returncode == 0
    assert (tmp_path / "out.gif").read_bytes() == (run / "progress.gif").read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("train",),
        ("train", "r", "--epochs", "0"),
        ("train", "r", "--epochs", "many"),
        ("train", "r", "--epochs", "1e9999"),
        ("train", "r", "--batch-size", "-5"),
        ("train", "r", "--batch-size", "99999999999999999999"),
        ("train", "r", "--seed", "-1"),
        ("train", "r", "--seed", "nan"),
        ("train", "r", "--dataset", "cifar"),
        ("train", "r", "--model", "vae"),
        ("train", "r", "--loss", "Minimax"),
        ("train", "r", "--precision", "half"),
        ("sample", "r", "--count", "0"),
        ("sample", "r", "--out", "picture.jpg"),
        ("sample", "r", "--out", "no/such/folder/picture.png"),
        ("gif", "r", "--out", "picture.png"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_refused_before_any_work(arguments, tmp_path):
    started = time.perf_counter()
    done = gan_tf(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "error:" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
    assert time.perf_counter() - started < 2


def one_line_of_failure(done: subprocess.CompletedProcess, code: int = 1) -> str:
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("gan_tf: ")
    return lines[0]


def test_failures_are_told_in_one_line(tmp_path, run):
    assert "generator.keras is not there" in one_line_of_failure(gan_tf("sample", tmp_path, cwd=tmp_path))
    assert "holds no frames" in one_line_of_failure(gan_tf("gif", tmp_path, cwd=tmp_path))
    assert "seed: 0 there, 5 asked" in one_line_of_failure(gan_tf("train", run, *SMALL, "--seed", "5"))
    too_large = gan_tf("train", tmp_path / "r", "--dataset", "digits", "--batch-size", "5000")
    assert "at most the 1500 training images" in one_line_of_failure(too_large, 2)


def test_a_dataset_that_cannot_be_had_is_told_in_one_line(tmp_path):
    elsewhere = {**os.environ, "GAN_TF_DATA": str(tmp_path / "nowhere")}
    assert "is not a folder" in one_line_of_failure(
        gan_tf("train", tmp_path / "r", "--dataset", "mnist", env=elsewhere)
    )
    done = gan_tf("train", tmp_path / "r", *SMALL[2:], env=elsewhere)
    assert done.returncode == 0
    assert done.stdout.startswith("Using the bundled digits, because MNIST cannot be had: GAN_TF_DATA names")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_continue(tmp_path, number, code):
    arguments = ("train", tmp_path / "my run", *SMALL[:4], "--epochs", "2000")
    command = [sys.executable, "-m", "gan_tf", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "my run" / "history.csv").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    sent = time.perf_counter()
    last = process.communicate(timeout=60)[1].splitlines()[-1]
    assert process.returncode == code
    assert time.perf_counter() - sent < 5
    assert "saved. Continue with: python -m gan_tf train" in last
    assert "'" in last.split("train")[1]  # the name with a space is quoted
    assert len(list((tmp_path / "my run" / "checkpoints").glob("*.npz"))) >= 1


def test_a_full_disk_is_told_in_one_line(run, tmp_path):
    """A limit on the size of files stands for the full disk."""
    (tmp_path / "out.png").write_text("the one before")
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (20_000, 20_000))
    done = gan_tf("sample", run, "--out", tmp_path / "out.png", preexec_fn=limit)
    assert "out.png cannot be written: File too large" in one_line_of_failure(done)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    assert (tmp_path / "out.png").read_text() == "the one before"


def test_a_disk_that_is_full_at_the_first_frame_is_told_in_one_line(tmp_path):
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (2_000, 2_000))
    done = gan_tf("train", tmp_path / "run", "--dataset", "digits", "--model", "mlp", preexec_fn=limit)
    assert "run cannot be written: File too large" in one_line_of_failure(done)
    assert (tmp_path / "run" / "config.json").exists()


READ_ONLY = """
import os, sys
from gan_tf import __main__, data, runs
data.load("digits")  # and whatever Python imports for it, while it can be read
if os.geteuid() == 0:  # who may write everywhere
    os.seteuid(65534)
sys.exit(__main__.main(sys.argv[1:]))
"""


def test_a_read_only_folder_is_told_in_one_line(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    for folder in locked.parents:  # let anybody look into pytest's own folders
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)
    command = [sys.executable, "-c", READ_ONLY, "train", str(locked), "--dataset", "digits", "--model", "mlp"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "locked cannot be written: Permission denied" in one_line_of_failure(done)
    assert list(locked.iterdir()) == []


def test_a_link_in_the_place_of_a_partial_file_is_not_followed(run, tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    (tmp_path / ".out.png.partial").symlink_to(tmp_path / "precious.txt")
    assert gan_tf("sample", run, "--out", tmp_path / "out.png").returncode == 0
    assert (tmp_path / "precious.txt").read_text() == "mine"
