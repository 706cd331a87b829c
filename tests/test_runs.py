"""Run folders: what training leaves behind, stopping and continuing, and files that went bad."""

import csv
import dataclasses
import fnmatch
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import keras
import kills
import numpy as np
import on_top
import pytest
import small
from conftest import SETTINGS

import gan_tf
from gan_tf import data, gan, gif, models, plots, runs
from gan_tf.runs import checkpoints, pictures, recipe, results
from gan_tf.runs.callbacks import steps_taken

pytestmark = pytest.mark.slow


def train(folder, settings=SETTINGS, **options) -> Path:
    """Train the small GAN into a folder."""
    return runs.train(folder, settings, build=small.build, **options)


class Before(keras.callbacks.Callback):
    """Do something with the GAN when a step of the run begins, the first one being 1."""

    def __init__(self, step: int, act):
        super().__init__()
        self.step, self.act = step, act

    def on_train_batch_begin(self, batch, logs=None):
        if steps_taken(self.model) == self.step - 1:
            self.act(self.model)


class After(Before):
    """Do it when the step has ended."""

    def on_train_batch_begin(self, batch, logs=None):
        pass

    def on_train_batch_end(self, batch, logs=None):
        if steps_taken(self.model) == self.step:
            self.act(self.model)


def signal_in(step: int, number: int = signal.SIGTERM) -> list[keras.callbacks.Callback]:
    """Let the process get a signal during a step."""
    return [Before(step, lambda _: signal.raise_signal(number))]


def poison(model) -> None:
    """Make weights NaN."""
    weight = model.generator.trainable_variables[0]
    weight.assign(weight * float("nan"))


def state(folder) -> dict[str, np.ndarray]:
    """Everything in the newest checkpoint, but the times."""
    newest = max((folder / "checkpoints").glob("*.npz"))
    with np.load(newest) as archive:
        return {name: archive[name] for name in archive.files if "seconds" not in name}


def rows(folder, name="history.csv") -> list[dict[str, str]]:
    with open(folder / name, newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_a_finished_run_leaves_every_file(finished):
    found = {path.name for path in finished.iterdir() if not path.name.startswith(".")}
    assert found == {
        "config.json",
        "history.csv",
        "losses.csv",
        "checkpoints",
        "frames",
        "progress.gif",
        "samples.png",
        "losses.png",
        "generator.keras",
        "discriminator.keras",
    }
    assert not list(finished.rglob("*.partial*"))


def test_history_has_a_row_an_epoch(finished):
    table = rows(finished)
    assert [(row["epoch"], row["step"], row["images"]) for row in table] == [("1", "6", "1500"), ("2", "12", "3000")]
    assert all(np.isfinite(float(row[name])) for row in table for name in ("generator_loss", "discriminator_loss"))


def test_config_tells_settings_versions_and_data(finished):
    config = json.loads((finished / "config.json").read_text(encoding="utf-8"))
    assert config["settings"] == {
        "dataset": "digits",
        "epochs": 2,
        "batch_size": 250,
        "seed": 0,
        "model": "mlp",
        "conditional": False,
        "augment": "none",
        "size": 28,
        "channels": 1,
        "classes": None,
        "loss": "non_saturating",
        "precision": "float32",
        "devices": "one",
        "latent_dim": 100,
        "generator_widths": [128, 256, 512, 1024],
        "discriminator_widths": [1024, 512, 256],
        "input_noise": None,
        "generator_learning_rate": 0.0002,
        "discriminator_learning_rate": 0.0002,
        "betas": [0.5, 0.999],
        "ema_decay": 0.9995,
    }
    assert config["build"] == "small:build"
    assert config["replicas"] == 1
    assert config["dataset_sha256"] == data.load("digits").digest
    assert config["versions"]["keras"] == keras.__version__


def test_every_setting_is_read_somewhere(tmp_path):
    """Another value of any setting gives another run."""
    base = recipe.Settings(dataset="digits", epochs=1, batch_size=500, model="mlp")
    other = {"epochs": 2, "batch_size": 750, "seed": 1, "loss": "minimax", "precision": "mixed_float16"}
    ends = {}
    for name, value in {"none": None, **other}.items():
        settings = base if name == "none" else recipe.Settings(**{**vars(base), name: value})
        train(tmp_path / name, settings)
        weights = [v.ravel() for k, v in state(tmp_path / name).items() if "generator_optimizer" not in k and "/" in k]
        ends[name] = np.concatenate(weights).astype(np.float64).tobytes()
    assert len(set(ends.values())) == len(ends)


@pytest.mark.parametrize("step", [2, 5, 6, 7, 11])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_stopped_by_a_signal_continues_to_the_same_bits(finished, tmp_path, step, number):
    with pytest.raises(runs.Stopped) as stopped:
        train(tmp_path / "run", callbacks=signal_in(step, number))
    assert stopped.value.signal_number == number
    assert f"stopped at step {step} of 12" in str(stopped.value)
    assert not (tmp_path / "run" / "generator.keras").exists()
    train(tmp_path / "run")
    expected, found = state(finished), state(tmp_path / "run")
    assert expected.keys() == found.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert rows(tmp_path / "run") == rows(finished)
    assert rows(tmp_path / "run", "losses.csv") == rows(finished, "losses.csv")
    assert (tmp_path / "run" / "progress.gif").read_bytes() == (finished / "progress.gif").read_bytes()


MATRIX = {
    "float32, the default networks": {"batch_size": 500},
    "float32, labels in the default networks": {"batch_size": 500, "conditional": True},
    "bfloat16, least squares": {"precision": "mixed_bfloat16", "loss": "least_squares", "model": "mlp"},
    "float16 and its loss scale, minimax": {"precision": "mixed_float16", "loss": "minimax", "model": "mlp"},
}


@pytest.mark.parametrize("other", MATRIX.values(), ids=MATRIX)
def test_full_sized_networks_continue_to_the_same_bits(tmp_path, other):
    """The recipe's own networks, once in each precision, stopped in the middle of an epoch."""
    settings = recipe.Settings(**{"dataset": "digits", "epochs": 1, "batch_size": 500, **other})
    runs.train(tmp_path / "whole", settings)
    with pytest.raises(runs.Stopped, match="stopped at step 2 of 3"):
        runs.train(tmp_path / "parts", settings, callbacks=signal_in(2))
    runs.train(tmp_path / "parts", settings)
    assert kills.differences(tmp_path / "whole", tmp_path / "parts") == []


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("loss", ["minimax", "least_squares"])
def test_other_settings_continue_to_the_same_bits(tmp_path, precision, loss):
    settings = recipe.Settings(**{**vars(SETTINGS), "epochs": 1, "precision": precision, "loss": loss})
    train(tmp_path / "whole", settings)
    with pytest.raises(runs.Stopped, match="stopped at step 3 of 6"):
        train(tmp_path / "parts", settings, callbacks=signal_in(3))
    train(tmp_path / "parts", settings)
    assert kills.differences(tmp_path / "whole", tmp_path / "parts") == []


def test_mnist_continues_to_the_same_bits(tmp_path):
    try:
        data.load("mnist")
    except data.DataError:
        pytest.skip("MNIST is not on this machine: set GAN_TF_DATA")
    settings = recipe.Settings(dataset="mnist", epochs=1, batch_size=10_000, model="mlp")
    train(tmp_path / "whole", settings)
    with pytest.raises(runs.Stopped, match="stopped at step 3 of 6"):
        train(tmp_path / "parts", settings, callbacks=signal_in(3))
    train(tmp_path / "parts", settings)
    assert kills.differences(tmp_path / "whole", tmp_path / "parts") == []


OWN = {"WGAN-GP": 250, "ACGAN": 50, "gradient norms": 50}  # of on_top.py, and the images of one of its steps


@pytest.mark.parametrize("name", OWN)
def test_a_gan_of_one_s_own_continues_to_the_same_bits(tmp_path, name):
    """Critic steps, labels, more columns: with frames, tables and the GIF, like any other run."""
    settings, build = recipe.Settings(dataset="digits", epochs=1, batch_size=50), on_top.BUILDS[name][0]
    runs.train(tmp_path / "whole", settings, build=build)
    with pytest.raises(runs.Stopped, match="stopped at step 4 of"):
        runs.train(tmp_path / "parts", settings, build=build, callbacks=signal_in(4))
    runs.train(tmp_path / "parts", settings, build=build)
    assert kills.differences(tmp_path / "whole", tmp_path / "parts") == []

    (row,) = rows(tmp_path / "whole")
    assert (int(row["step"]), int(row["images"])) == (1500 // OWN[name], 1500)
    assert ("generator_gradient_norm" in row) == (name == "gradient norms")
    assert (
        json.loads((tmp_path / "whole" / "config.json").read_text(encoding="utf-8"))["build"]
        == f"on_top:{build.__name__}"
    )


def test_a_builder_that_sets_no_seed_trains_to_the_same_bits_twice(tmp_path):
    def build(settings):
        model = gan.GAN(models.mlp_generator(8, (8,)), models.mlp_discriminator((4,)))
        model.compile(*on_top.rates())
        return model

    for seed, name in enumerate(("one", "other")):
        keras.utils.set_random_seed(seed)
        runs.train(tmp_path / name, SETTINGS, build=build)
    assert kills.differences(tmp_path / "one", tmp_path / "other") == []


@pytest.mark.parametrize("conditional", [False, True])
def test_a_run_on_two_devices_continues_to_the_same_bits(tmp_path, conditional):
    settings = recipe.Settings(**{**vars(SETTINGS), "devices": "mirrored", "conditional": conditional})
    train(tmp_path / "whole", settings, evaluate_every=5)
    with pytest.raises(runs.Stopped, match="stopped at step 7 of 12"):
        train(tmp_path / "parts", settings, evaluate_every=5, callbacks=signal_in(7))
    train(tmp_path / "parts", settings, evaluate_every=5)
    assert kills.differences(tmp_path / "whole", tmp_path / "parts") == []


def test_a_step_of_more_images_than_there_are_is_refused(tmp_path):
    """400 for each of the five steps of the critic."""
    settings = recipe.Settings(dataset="digits", epochs=1, batch_size=400)
    with pytest.raises(gan_tf.UsageError, match="critic_steps = 2000 images, of at most the 1500") as error:
        runs.train(tmp_path / "run", settings, build=on_top.wgan_gp)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_callback_of_one_s_own_can_end_a_run(tmp_path):
    """As EarlyStopping does; what is made from a run is made."""
    end = After(8, lambda model: setattr(model, "stop_training", True))
    train(tmp_path / "run", callbacks=[end])
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["1"]
    assert max((tmp_path / "run" / "checkpoints").glob("*.npz")).stem == "000000008"
    assert (tmp_path / "run" / "generator.keras").exists()


class Killed(BaseException):
    """Stands for the end of the process: nothing after it may touch a file."""


def killed_at(monkeypatch, operation: str, name: str, occurrence: int) -> None:
    """End the process's life right before an operation on a file of that name, the n-th time it comes.

    A write fills a partial file, brings it to the disk, and renames it: dying before `replace` leaves all but the name.
    """
    originals = {name: getattr(os, name) for name in ("fsync", "replace", "unlink", "mkdir")}
    left, dead = [occurrence], []

    def dies(called, *arguments, **options):
        path = str(arguments[1] if called == "replace" else arguments[0])
        if called == operation and fnmatch.fnmatch(Path(path).name, name):
            left[0] -= 1
        if dead or left[0] == 0:
            dead.append(called)
            raise Killed
        return originals[called](*arguments, **options)

    for called in originals:
        monkeypatch.setattr(os, called, lambda *a, called=called, **o: dies(called, *a, **o))


MOMENTS = {
    "before there is a folder": ("mkdir", "run", 1),
    "before the settings have their name": ("replace", "config.json", 1),
    "before the first frame": ("replace", "*.png", 1),
    "before the first checkpoint has its name": ("replace", "000000003.npz", 1),
    "before a later one has": ("replace", "000000009.npz", 1),
    "before an old checkpoint goes": ("unlink", "000000003.npz", 1),
    "between an epoch's history and its losses": ("replace", "losses.csv", 1),
    "before the last checkpoint": ("replace", "000000012.npz", 1),
    "before the generator": ("replace", "generator.keras", 1),
    "before the discriminator": ("replace", "discriminator.keras", 1),
    "before the GIF": ("replace", "progress.gif", 1),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_process_that_dies_between_two_operations_on_files_loses_nothing(finished, tmp_path, monkeypatch, moment):
    with monkeypatch.context() as patch:
        killed_at(patch, *moment)
        with pytest.raises(Killed):
            train(tmp_path / "run", checkpoint_every=3)
    if (tmp_path / "run").exists():
        kills.check_whole(tmp_path / "run")
    train(tmp_path / "run", checkpoint_every=3)
    assert kills.differences(finished, tmp_path / "run") == []
    assert not list((tmp_path / "run").rglob("*.partial*"))


def test_a_folder_that_disappears_is_told_in_one_line(tmp_path):
    remove = After(5, lambda _: shutil.rmtree(tmp_path / "run"))
    with pytest.raises(runs.RunError, match=r"run cannot be written: No such file") as error:
        train(tmp_path / "run", checkpoint_every=2, callbacks=[remove])
    assert "\n" not in str(error.value)


def test_weights_that_became_nan_are_not_saved(tmp_path):
    """The loss is that of the step before, so that it can still be a number."""
    with pytest.raises(runs.RunError, match=r"became NaN or infinite by step 4"):
        train(tmp_path / "run", checkpoint_every=2, callbacks=[After(4, poison)])
    assert [path.stem for path in (tmp_path / "run" / "checkpoints").glob("*.npz")] == ["000000002"]


def test_a_signal_before_the_first_step_stops_at_once(finished, tmp_path):
    """TensorFlow compiles for seconds; there is nothing to save, at the start and after a continuation."""
    with pytest.raises(runs.Stopped, match="stopped before it went on from step 0 of 12"):
        train(tmp_path / "run", callbacks=signal_in(1))
    for step in (5, 6):
        with pytest.raises(runs.Stopped, match="step 5 of 12"):
            train(tmp_path / "run", callbacks=signal_in(step))
    train(tmp_path / "run")
    for name, expected in state(finished).items():
        np.testing.assert_array_equal(state(tmp_path / "run")[name], expected, err_msg=name)


DIES = """
import os, signal, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import small
from gan_tf import runs
from gan_tf.runs import recipe

savez, calls = np.savez, []

def half(file, **arrays):
    calls.append(file)
    savez(file, **arrays)
    if len(calls) == 3:
        file.truncate(file.tell() // 2)
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

np.savez = half
settings = recipe.Settings(dataset="digits", epochs=2, batch_size=250, model="mlp")
runs.train(sys.argv[2], settings, checkpoint_every=2, build=small.build)
"""


def test_a_process_killed_in_the_middle_of_a_checkpoint_continues_from_the_one_before(finished, tmp_path):
    """A real `kill -9`, sent when the third checkpoint is half written; benchmarks/kills.py sends fifty at random."""
    done = subprocess.run([sys.executable, "-c", DIES, Path(__file__).parent, tmp_path / "run"], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert [path.stem for path in kills.checkpoints(tmp_path / "run")] == ["000000002", "000000004"]
    assert len(list((tmp_path / "run" / "checkpoints").glob(".*.partial"))) == 1
    kills.check_whole(tmp_path / "run")
    train(tmp_path / "run", checkpoint_every=2)
    assert kills.differences(finished, tmp_path / "run") == []
    assert not list((tmp_path / "run").rglob("*.partial*"))


def test_a_checkpoint_holds_every_variable_of_the_gan(finished):
    """By name and by count: weights, averages, two optimizers, the states of the dropout layers' seeds, the step."""
    gan = small.build(SETTINGS)
    parts = (gan.generator, gan.discriminator, gan.ema_generator)
    optimizers = (gan.generator_optimizer, gan.discriminator_optimizer)
    expected = {id(variable) for part in (*parts, *optimizers) for variable in part.variables} | {id(gan.steps_taken)}
    assert {id(variable) for variable in checkpoints.variables(gan).values()} == expected
    assert sum("seed_generator_state" in name for name in state(finished)) == 2
    assert {name for name in state(finished) if "/" in name} == set(checkpoints.variables(gan))


def test_a_finished_run_is_left_as_it_is(copy, capsys):
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    train(copy)
    assert "finished already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_settings_left_open_are_those_of_the_run_before(copy):
    """`auto` and no --epochs continue whatever the run decided."""
    train(copy, recipe.Settings(batch_size=250, model="mlp"))


def test_a_run_from_before_a_setting_was_there_goes_on(copy, capsys):
    path = copy / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["settings"]["conditional"]
    path.write_text(json.dumps(config), encoding="utf-8")
    train(copy)
    assert "is finished already" in capsys.readouterr().out
    with pytest.raises(runs.RunError, match="conditional: False there, True asked"):
        train(copy, dataclasses.replace(SETTINGS, conditional=True))


def test_auto_precision_is_settled_by_timing_and_kept(tmp_path, capsys):
    settings = recipe.Settings(dataset="digits", epochs=1, batch_size=500, model="mlp", precision="auto")
    train(tmp_path / "run", settings)
    chosen = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))["settings"]["precision"]
    assert chosen in ("float32", "mixed_bfloat16", "mixed_float16")
    assert f"precision: {chosen} (" in capsys.readouterr().out
    train(tmp_path / "run", settings)
    assert "precision:" not in capsys.readouterr().out  # not timed again


def test_other_settings_are_refused_by_name(copy):
    with pytest.raises(runs.RunError, match="seed: 0 there, 7 asked") as error:
        train(copy, recipe.Settings(**{**vars(SETTINGS), "seed": 7}))
    assert "batch_size" not in str(error.value)


def test_a_run_built_by_another_function_is_refused_by_name(copy):
    (copy / "generator.keras").unlink()
    with pytest.raises(runs.RunError, match=r"build: small:build there, gan_tf\.runs\.recipe:build here"):
        runs.train(copy, SETTINGS)


@pytest.mark.parametrize("finished_there", [True, False])
def test_a_run_of_another_train_step_is_refused_in_one_line(copy, finished_there):
    """Whatever else differs: an older version knew other settings and did not say who built the GAN."""
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["versions"]["gan_tf"] = "0.0.9"
    config["settings"] = {"dataset": "digits", "speed": 3}
    del config["build"]
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if not finished_there:
        (copy / "generator.keras").unlink()
    with pytest.raises(
        runs.RunError, match=r"another run, of gan_tf 0\.0\.9, whose steps or files are not those of "
    ) as error:
        train(copy)
    assert "speed" not in str(error.value)


def test_a_run_that_another_process_began_meanwhile_is_left_alone(finished, tmp_path):
    """Between the look at config.json and the lock, a whole run of other settings comes and goes."""
    there = tmp_path / "run"

    def build_slowly(settings):
        shutil.copytree(finished, there)
        return small.build(settings)

    with pytest.raises(runs.RunError, match="another process has begun a run"):
        runs.train(there, recipe.Settings(**{**vars(SETTINGS), "seed": 7}), build=build_slowly)
    assert (there / "config.json").read_bytes() == (finished / "config.json").read_bytes()
    assert kills.differences(finished, there) == []


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(runs.RunError, match="is not empty"):
        train(tmp_path)
    with pytest.raises(runs.RunError, match="is a file"):
        train(tmp_path / "thesis.txt")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"settings": {"speed": 1}}', '{"settings": {"epochs": 0}}'])
def test_a_damaged_config_is_refused(copy, text):
    (copy / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(runs.RunError, match=r"config\.json is damaged"):
        train(copy)


def test_a_torn_newest_checkpoint_is_warned_of_and_the_one_before_is_used(finished, tmp_path, capsys):
    with pytest.raises(runs.Stopped):
        train(tmp_path / "run", checkpoint_every=2, callbacks=signal_in(7))
    newest = max((tmp_path / "run" / "checkpoints").glob("*.npz"))
    newest.write_bytes(newest.read_bytes()[:5000])
    capsys.readouterr()
    train(tmp_path / "run")
    assert newest.name in "".join(capsys.readouterr())
    for name, expected in state(finished).items():
        np.testing.assert_array_equal(state(tmp_path / "run")[name], expected, err_msg=name)


def test_damaged_checkpoints_alone_are_an_error_and_stay(copy):
    (copy / "generator.keras").unlink()
    for path in (copy / "checkpoints").glob("*.npz"):
        path.write_bytes(b"")
    with pytest.raises(runs.RunError, match="every checkpoint"):
        train(copy)
    assert list((copy / "checkpoints").glob("*.npz"))


def test_a_checkpoint_of_another_model_is_refused(copy, tmp_path):
    (copy / "generator.keras").unlink()
    train(tmp_path / "dcgan", recipe.Settings(dataset="digits", epochs=1, batch_size=1500))
    shutil.rmtree(copy / "checkpoints")
    shutil.copytree(tmp_path / "dcgan" / "checkpoints", copy / "checkpoints")
    with pytest.raises(runs.RunError, match=r"another run .*model: dcgan there, mlp asked"):
        train(copy)
    config = (copy / "config.json").read_text(encoding="utf-8")
    for path in (copy / "checkpoints").glob("*.npz"):  # one that claims to be of this run
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files} | {"run.config": np.array(config)}
        np.savez(path, **arrays)
    with pytest.raises(runs.RunError, match="another model"):
        train(copy)


def test_two_at_once_the_second_is_refused(tmp_path):
    refused = []

    def train_inside_another(_):
        with pytest.raises(runs.RunError, match="another process is training") as error:
            train(tmp_path / "run")
        refused.append(error)

    train(tmp_path / "run", callbacks=[Before(2, train_inside_another)])
    assert refused


def test_a_loss_of_nan_stops_the_run_and_keeps_the_checkpoint_from_before(tmp_path):
    with pytest.raises(runs.RunError, match=r"became nan .* at step 5, the learning rates being 0\.0002 and 0\.0002"):
        train(tmp_path / "run", checkpoint_every=2, callbacks=[Before(5, poison)])
    assert max((tmp_path / "run" / "checkpoints").glob("*.npz")).stem == "000000004"


def test_a_full_disk_is_told_in_one_line_and_the_last_checkpoint_stays(tmp_path, monkeypatch):
    savez, calls = np.savez, []

    def full(file, **arrays):
        calls.append(file)
        savez(file, **arrays)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.np, "savez", full)
    with pytest.raises(runs.RunError, match="No space left on device") as error:
        train(tmp_path / "run", checkpoint_every=2)
    assert "\n" not in str(error.value)
    assert [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())] == [
        "000000002.npz",
        "000000004.npz",
    ]


def test_views_that_cannot_be_written_are_warned_of_once_and_end_nothing(tmp_path, capsys):
    """As on Windows, where a table is open in another program. Folders stand in their places."""
    views = ("history.csv", "losses.csv", "scores.csv", "samples.png", "losses.png", "progress.gif")

    def obstruct(_):
        for name in views:
            (tmp_path / "run" / name).unlink(missing_ok=True)  # scores.csv has a row of before the training
            (tmp_path / "run" / name).mkdir()

    train(tmp_path / "run", evaluate_every=5, callbacks=[Before(1, obstruct)])
    assert runs.load_generator(tmp_path / "run")
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    named = [line.split(" is not up to date")[0].split("/")[-1] for line in warnings]
    assert sorted(named) == sorted([*views, "scores.png"])
    for name in views:
        (tmp_path / "run" / name).rmdir()
    train(tmp_path / "run")  # makes up for them
    assert all((tmp_path / "run" / name).is_file() for name in views if name != "scores.csv")


def test_a_gif_that_is_too_large_ends_nothing(tmp_path, monkeypatch, capsys):
    """Its limit stands for larger pictures, or coloured ones: the generator is there, and a line says what is not."""
    monkeypatch.setattr(results, "GIF_BYTES", 1000)
    train(tmp_path / "run")
    assert runs.load_generator(tmp_path / "run")
    assert (tmp_path / "run" / "samples.png").exists()
    assert "progress.gif" in capsys.readouterr().out


def test_the_public_names_come_when_they_are_asked_for():
    assert set(runs.HOMES) == set(runs.__all__)
    assert all(getattr(runs, name) is not None for name in runs.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Trainer'"):
        _ = runs.Trainer


def test_a_batch_larger_than_the_dataset_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(ValueError, match="batch_size must be at most"):
        runs.train(tmp_path / "run", recipe.Settings(dataset="digits", batch_size=1501))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataset", "cifar"),
        ("epochs", 0),
        ("epochs", 1.5),
        ("batch_size", -1),
        ("batch_size", True),
        ("seed", -1),
        ("seed", 2**31),
        ("model", "vae"),
        ("loss", "hinge2"),
        ("precision", "int8"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        recipe.Settings(**{name: value})


def test_samples_depend_on_the_seed_alone(finished):
    generator = runs.load_generator(finished)
    first, again, other = (runs.sample_images(generator, 7, seed) for seed in (3, 3, 4))
    assert first.shape == (7, 28, 28, 1)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    more = runs.sample_images(generator, 600, 3)  # more than one batch
    assert more.shape == (600, 28, 28, 1)


def test_the_saved_samples_are_those_of_the_saved_generator(finished):
    images = runs.sample_images(runs.load_generator(finished), 100, 0)
    # another graph may round otherwise: a grey level of 256
    np.testing.assert_allclose(iio.imread(finished / "samples.png"), plots.image_grid(images), atol=1)


@pytest.mark.parametrize("settings", [SETTINGS, recipe.Settings(dataset="digits", epochs=1, batch_size=750)])
def test_the_discriminator_is_saved_as_it_ended(tmp_path, settings):
    """Loaded in safe mode, with noise, dropout and the look at the whole batch, it gives the logits that it gave."""
    seen, digits = [], data.to_float(data.load("digits").x_test[:8])
    end = After(settings.epochs * (1500 // settings.batch_size), lambda model: seen.append(model.discriminator))
    train(tmp_path / "run", settings, callbacks=[end])
    loaded = runs.load_discriminator(tmp_path / "run")
    np.testing.assert_array_equal(loaded(digits, training=False), seen[0](digits, training=False))
    assert loaded.output_shape == (None, 1)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"<html>"])
@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_a_damaged_network_is_refused(copy, name, content):
    (copy / f"{name}.keras").write_bytes(content)
    with pytest.raises(runs.RunError, match=rf"/{name}\.keras cannot be loaded"):
        getattr(runs, f"load_{name}")(copy)
    (copy / f"{name}.keras").unlink()
    with pytest.raises(runs.RunError, match=rf"/{name}\.keras is not there: run "):
        getattr(runs, f"load_{name}")(copy)


def test_a_generator_with_code_in_it_is_refused(copy):
    evil = keras.Sequential([keras.Input((100,)), keras.layers.Lambda(lambda x: x)])
    evil.save(copy / "generator.keras")
    with pytest.raises(runs.RunError, match="cannot be loaded"):
        runs.load_generator(copy)


def test_the_gif_is_dense_at_the_start():
    """On the schedule of a default run: the frames' steps alone."""
    steps = np.array(pictures.series(range(1, 7_501), 16)) // 16
    assert len(steps) == 40
    assert steps[0] == 0
    assert steps[-1] == 7_500
    gaps = np.diff(steps)
    assert (np.diff(gaps) >= -1).all()  # rounding to whole steps may turn a gap by one
    assert gaps[:5].max() <= 50 < 350 < gaps[-5:].min()


@pytest.mark.parametrize(("frames", "shown"), [(1, 1), (39, 39), (40, 40), (41, 40), (100, 40)])
def test_a_gif_takes_at_most_40_frames_evenly_and_the_first_and_the_last(tmp_path, monkeypatch, frames, shown):
    (tmp_path / "frames").mkdir()
    for seen in range(frames):
        iio.imwrite(tmp_path / "frames" / f"{seen:09d}.png", np.full((4, 4), seen, np.uint8))
    written = []
    monkeypatch.setattr(gif, "write_gif", lambda out, images, **options: written.extend(images))
    runs.write_gif(tmp_path, tmp_path / "out.gif")
    numbers = [int(image[0, 0]) for image in written]
    assert (len(numbers), numbers[0], numbers[-1]) == (shown, 0, frames - 1)
    assert np.ptp(np.diff([*numbers])) <= 1 if frames > 1 else numbers == [0]


def test_a_gif_without_frames_says_what_to_do(tmp_path):
    with pytest.raises(runs.RunError, match="holds no frames"):
        runs.write_gif(tmp_path, tmp_path / "out.gif")


def test_a_damaged_frame_is_named(copy):
    frame = min((copy / "frames").glob("*.png"))
    frame.write_bytes(frame.read_bytes()[:100])
    with pytest.raises(runs.RunError, match=frame.name):
        runs.write_gif(copy, copy / "out.gif")
