"""The command line: exit codes, one line on standard error, files.

Most tests call `main` in this process. What only a process can show has one: that it starts quietly and without
TensorFlow where it needs none, what its exit codes are, and what a signal does to it.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import imageio.v3 as iio
import numpy as np
import pytest

from gan_tf import Error, UsageError, data, runs
from gan_tf import __main__ as command_line

pytestmark = pytest.mark.slow

OF_FINISHED = ("--dataset", "digits", "--model", "mlp", "--epochs", "2", "--batch-size", "250")


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def gan_tf(capfd):
    """Return a function that runs a command in this process."""

    def run(*arguments) -> Done:
        capfd.readouterr()
        try:
            code = command_line.main([str(argument) for argument in arguments])
        except SystemExit as stop:  # of argparse
            code = stop.code
        except KeyboardInterrupt:  # would end pytest
            pytest.fail("KeyboardInterrupt got through")
        return Done(code, *capfd.readouterr())

    return run


def process(*arguments, options=(), **surroundings) -> subprocess.CompletedProcess:
    """Run a command as a shell does."""
    command = [sys.executable, *options, "-m", "gan_tf", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **surroundings)


def test_a_run_from_a_shell_shows_its_progress_and_nothing_else(tmp_path):
    """And without MNIST it is one of the bundled digits, and says so."""
    folder = tmp_path / "run with spaces"
    elsewhere = {**os.environ, "GAN_TF_DATA": str(tmp_path / "nowhere")}
    done = process("train", folder, "--model", "mlp", "--epochs", 1, "--batch-size", 500, env=elsewhere)
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("Using the bundled digits, because MNIST cannot be had: GAN_TF_DATA names")
    assert last.endswith(f"the progress GIF is at {folder / 'progress.gif'}")
    assert folder.joinpath("progress.gif").exists()
    bar = done.stderr.replace("\r", "\n").split("\n")
    assert any("100%" in line for line in bar)
    assert {line.split(":")[0] for line in bar if line} == {"run with spaces"}


WITHOUT_TENSORFLOW = """
import os, runpy, sys
os._exit = sys.exit  # which `python -m gan_tf` ends with
for arguments in (["--help"], ["train", "--help"], ["train", "r", "--epochs", "0"], MLP_WITH_NOISE):
    sys.argv = ["-m", *arguments]
    try:
        runpy.run_module("gan_tf", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print("exit code", end.code)
print({"gan_tf", "argparse"} <= set(sys.modules), sorted({"tensorflow", "keras", "numpy"} & set(sys.modules)))
"""


def test_help_and_wrong_usage_do_not_wait_for_tensorflow(tmp_path):
    """Nor where two settings do not go together, which argparse does not know of."""
    code = WITHOUT_TENSORFLOW.replace("MLP_WITH_NOISE", '["train", "r", "--model", "mlp", "--input-noise", "0.1"]')
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in ("train", "sample", "gif", "evaluate", "GAN_TF_DATA", "exit codes"))
    assert re.findall("exit code ([0-9]+)", done.stdout) == ["0", "0", "2", "2"]
    assert done.stdout.splitlines()[-1] == "True []"
    assert "error: argument --epochs: epochs must be a whole number from 1 to 2147483647, got 0" in done.stderr
    assert done.stderr.splitlines()[-1] == "gan_tf: input_noise is of dcgan and not of mlp; leave it out"
    assert not list(tmp_path.iterdir())


def test_a_tensorflow_that_cannot_be_imported_ends_a_process_with_1_and_is_heard(tmp_path):
    """Its messages are held back while it is imported, and must not be lost where they say why it failed."""
    broken = "import os\nos.write(2, b'a library is missing\\n')\nraise ImportError('it does not start')\n"
    (tmp_path / "tensorflow.py").write_text(broken, encoding="utf-8")
    first = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = process("gif", "r", cwd=tmp_path, env={**os.environ, "PYTHONPATH": first})
    assert done.returncode == 1
    missing, last = done.stderr.splitlines()
    assert missing == "a library is missing"
    assert last.startswith("gan_tf: unexpected ImportError: it does not start")


def test_sample_writes_a_grid_and_an_array(gan_tf, finished, tmp_path):
    assert gan_tf("sample", finished, "--count", 9, "--seed", 1, "--out", tmp_path / "nine.png").returncode == 0
    assert iio.imread(tmp_path / "nine.png").shape == (84, 84)
    assert gan_tf("sample", finished, "--count", 9, "--seed", 1, "--out", tmp_path / "nine.npz").returncode == 0
    with np.load(tmp_path / "nine.npz") as archive:
        assert archive.files == ["images"]
        assert (archive["images"].shape, archive["images"].dtype) == ((9, 28, 28, 1), np.uint8)


def test_sample_writes_a_folder_of_pictures(gan_tf, finished, tmp_path):
    """By a name that ends in a slash, or that of a folder which is there; in another one nothing is touched."""
    (tmp_path / "there").mkdir()
    for out in (f"{tmp_path}/new/", tmp_path / "there"):
        done = gan_tf("sample", finished, "--count", 3, "--seed", 1, "--out", out)
        assert done.stdout == f"3 images are at {str(out).rstrip('/')}\n", done.stderr
    expected = runs.sample_images(runs.load_generator(finished), 3, 1)
    for folder in (tmp_path / "new", tmp_path / "there"):
        assert sorted(path.name for path in folder.iterdir()) == ["0000.png", "0001.png", "0002.png"]
        for number, image in enumerate(expected):
            np.testing.assert_array_equal(iio.imread(folder / f"{number:04d}.png"), image[..., 0])

    again = gan_tf("sample", finished, "--count", 5, "--out", f"{tmp_path}/new/")
    assert "new is not empty; name a new folder, or empty it" in one_line_of_failure(again, 2)
    assert len(list((tmp_path / "new").iterdir())) == 3


def test_a_run_that_is_not_there_leaves_no_folder_for_its_pictures(gan_tf, tmp_path):
    assert "generator.keras is not there" in one_line_of_failure(gan_tf("sample", tmp_path, "--out", f"{tmp_path}/a/"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("out", "line"),
    [
        ("folder", "must end in .png or .npz or /, got folder"),
        ("", "must end in .png or .npz or /, got "),
        ("no/such/", "no is not a folder that can be written"),
        ("a.png/", "a folder's name must not end in .png, got a.png/"),
        ("file/", "file is a file; name a folder"),
        ("x" * 300 + "/a/", "is not a folder that can be written"),
        ("file/a/", "file is not a folder that can be written"),
    ],
)
def test_where_no_pictures_can_be_written_is_wrong_usage(gan_tf, out, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    done = gan_tf("sample", "r", "--out", out)
    assert done.returncode == 2
    assert line in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_gif_is_made_anew_from_the_frames(gan_tf, finished, tmp_path):
    assert gan_tf("gif", finished, "--out", tmp_path / "out.gif").returncode == 0
    assert (tmp_path / "out.gif").read_bytes() == (finished / "progress.gif").read_bytes()


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
        ("train", "r", "--generator-learning-rate", "1"),
        ("train", "r", "--betas", "0.5"),
        ("train", "r", "--generator-widths", "128,64,"),
        ("train", "r", "--from", " "),
        ("train", "r", "--from"),
        ("sample", "r", "--count", "0"),
        ("sample", "r", "--out", "picture.jpg"),
        ("sample", "r", "--out", "no/such/folder/picture.png"),
        ("gif", "r", "--out", "picture.png"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_refused_before_any_work(gan_tf, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command_line, "run", lambda options: pytest.fail("the work began"))
    done = gan_tf(*arguments)
    assert done.returncode == 2
    assert "error:" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def one_line_of_failure(done: Done, code: int = 1) -> str:
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("gan_tf: ")
    return lines[0]


def test_failures_are_told_in_one_line(gan_tf, tmp_path, finished, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "generator.keras is not there" in one_line_of_failure(gan_tf("sample", tmp_path))
    assert "holds no frames" in one_line_of_failure(gan_tf("gif", tmp_path))
    assert "another run (seed: 0 there, 5 asked" in one_line_of_failure(
        gan_tf("train", finished, *OF_FINISHED, "--seed", "5")
    )
    too_large = gan_tf("train", tmp_path / "r", "--dataset", "digits", "--batch-size", "5000")
    assert "at most the 1500 training images" in one_line_of_failure(too_large, 2)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("count must be less"), 2, "gan_tf: count must be less"),
        (Error("the disk\nis full"), 1, "gan_tf: the disk is full"),
        (ValueError("shapes (2,)"), 1, "gan_tf: unexpected ValueError: shapes (2,) (GAN_TF_TRACEBACK=1 shows"),
        (OSError(28, "No space left", "r/x"), 1, "gan_tf: r/x: No space left"),
        (MemoryError(), 1, "gan_tf: unexpected MemoryError: "),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_only_a_usage_error_of_our_own_is_wrong_usage(gan_tf, monkeypatch, error, code, line):
    """A ValueError of Keras or NumPy is nobody's wrong usage: a fault of ours, most likely."""

    def broken(*arguments):
        raise error

    monkeypatch.setattr(runs, "evaluate", broken)
    assert one_line_of_failure(gan_tf("evaluate", "r"), code).startswith(line)


def test_a_dataset_that_cannot_be_had_is_told_in_one_line(gan_tf, tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_TF_DATA", str(tmp_path / "nowhere"))
    assert "is not a folder" in one_line_of_failure(gan_tf("train", tmp_path / "r", "--dataset", "mnist"))


def test_control_c_before_the_training_is_told_in_one_line(gan_tf, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "write_gif", interrupted)
    assert "what was saved before is intact" in one_line_of_failure(gan_tf("gif", "r"), 130)


def epochs_done(folder: Path) -> int:
    """Return how many epochs a run's history has."""
    history = folder / "history.csv"
    return len(history.read_text(encoding="utf-8").splitlines()) - 1 if history.exists() else 0


def test_a_finished_run_goes_on_and_another_starts_from_it(gan_tf, tmp_path):
    """From the command line: what `--epochs` and `--from` do is in test_longer.py and test_source.py."""
    one = ("--dataset", "digits", "--batch-size", "750", "--latent-dim", "4")
    one += ("--generator-widths", "4,2,2", "--discriminator-widths", "2,2")
    for epochs in (1, 2):
        assert gan_tf("train", tmp_path / "a", *one, "--epochs", epochs).returncode == 0
        assert epochs_done(tmp_path / "a") == epochs
    done = gan_tf("train", tmp_path / "b", *one[:6], "--from", tmp_path / "a", "--epochs", 1, "--evaluate-every", 1)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'b' / 'best_generator.keras'}\n" in done.stdout
    fewer = gan_tf("train", tmp_path / "a", *one, "--epochs", 1)
    assert "another run (epochs: 2 there, 1 asked)" in one_line_of_failure(fewer)
    no_such = gan_tf("train", tmp_path / "c", *one, "--from", tmp_path / "nothing")
    assert "holds no run to start from" in one_line_of_failure(no_such)


def stopped_after_an_epoch(command: list[str], folder: Path, number: int) -> tuple[int, str]:
    """Start a command, send it a signal when it has done one epoch more; return its exit code and its last line."""
    before = epochs_done(folder)
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while epochs_done(folder) == before:
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(number)
    lines = running.communicate()[1].splitlines()
    return running.returncode, lines[-1]


def test_a_signal_saves_and_says_how_to_continue(tmp_path):
    """The second process is the command that the first one's last line names. Either would go on for minutes."""
    folder = tmp_path / "my run"
    command = [sys.executable, "-m", "gan_tf", "train", str(folder)]
    command += ["--dataset", "digits", "--model", "mlp", "--epochs", "5000", "--batch-size", "500"]
    steps = 0
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        returncode, last = stopped_after_an_epoch(command, folder, number)
        assert returncode == code, last
        told = re.search(r"stopped at step ([\d,]+) of 15,000, saved. Continue with: python (.*)", last)
        assert told, last
        newest = max((folder / "checkpoints").glob("*.npz"))
        assert steps < int(newest.stem) == int(told[1].replace(",", ""))
        command, steps = [sys.executable, *shlex.split(told[2])], int(newest.stem)
    assert not list(folder.glob("*.keras"))


@contextlib.contextmanager
def no_file_longer_than(size: int):
    """Stand for a full disk: what is written after so many bytes of a file fails."""
    resource = pytest.importorskip("resource", reason="Windows has no limit on the size of a process's files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_in_one_line(gan_tf, finished, tmp_path):
    (tmp_path / "out.png").write_text("the one before", encoding="utf-8")
    with no_file_longer_than(2_000):
        done = gan_tf("sample", finished, "--out", tmp_path / "out.png")
    assert "out.png cannot be written: File too large" in one_line_of_failure(done)
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    assert (tmp_path / "out.png").read_text(encoding="utf-8") == "the one before"


def test_a_disk_that_is_full_at_the_first_frame_is_told_in_one_line(gan_tf, tmp_path):
    with no_file_longer_than(2_000):
        done = gan_tf("train", tmp_path / "run", "--dataset", "digits", "--model", "mlp")
    assert "run cannot be written: File too large" in one_line_of_failure(done)
    assert (tmp_path / "run" / "config.json").exists()
    assert not list((tmp_path / "run" / "frames").iterdir())


@pytest.fixture
def locked(tmp_path, finished, monkeypatch):
    """Yield a folder that may be read and not written; root, who may do both, is somebody else meanwhile.

    Nobody else may be allowed to read the project: `finished` has imported the code, and the digits are loaded here.
    """
    digits = data.load("digits")
    monkeypatch.setattr(data, "load", lambda *asked: digits)
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    private = {path: path.stat().st_mode for path in folder.parents if not path.stat().st_mode & 0o001}
    for path in private:  # let anybody look into pytest's own folders
        path.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    for path, mode in private.items():
        path.chmod(mode)


def test_a_read_only_folder_is_told_in_one_line(gan_tf, locked):
    done = gan_tf("train", locked, "--dataset", "digits", "--model", "mlp")
    assert "locked cannot be written: Permission denied" in one_line_of_failure(done)
    assert list(locked.iterdir()) == []
