"""Runs that start from the networks of another one: `train NEW --from RUN`."""

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import kills
import numpy as np
import on_top
import pytest
import small
from conftest import SETTINGS
from test_longer import assert_same
from test_runs import Before, Killed, killed_at, signal_in, train

import gan_tf
from gan_tf import __main__ as command_line
from gan_tf import runs
from gan_tf.runs.callbacks import steps_taken
from gan_tf.runs.folder import read_config

pytestmark = pytest.mark.slow

OTHER = dataclasses.replace(SETTINGS, seed=5)  # of the runs that start from `finished`
TYPED = ("--dataset", "digits", "--epochs", "2", "--batch-size", "250", "--model", "mlp")


@pytest.fixture(scope="module")
def tuned(finished, tmp_path_factory):
    """A run from the networks of `finished`."""
    return train(tmp_path_factory.mktemp("source") / "tuned", OTHER, start_from=finished).parent


def contents(folder) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def networks(folder) -> list[np.ndarray]:
    return runs.load_generator(folder).get_weights() + runs.load_discriminator(folder).get_weights()


@pytest.mark.parametrize("devices", ["one", "mirrored"])
@pytest.mark.parametrize("build", [small.build, on_top.projection], ids=lambda build: build.__name__)
def test_the_training_starts_from_both_networks_and_all_else_is_new(tmp_path, devices, build):
    first, second = (dataclasses.replace(SETTINGS, seed=seed, devices=devices) for seed in (0, 5))
    runs.train(tmp_path / "run", first, build=build)
    seen = {}

    def look(model):
        seen["generator"], seen["average"] = model.generator.get_weights(), model.ema_generator.get_weights()
        seen["discriminator"] = model.discriminator.get_weights()
        seen["moments"] = [float(np.abs(v).max()) for v in model.generator_optimizer.variables if "momentum" in v.path]
        seen["steps"] = steps_taken(model), int(keras.ops.convert_to_numpy(model.generator_optimizer.iterations))

    runs.train(tmp_path / "new", second, build=build, callbacks=[Before(1, look)], start_from=tmp_path / "run")
    for player in ("generator", "average", "discriminator"):
        load = runs.load_discriminator if player == "discriminator" else runs.load_generator
        expected = load(tmp_path / "run").get_weights()
        assert all(np.array_equal(a, b) for a, b in zip(seen[player], expected, strict=True)), player
    assert (seen["steps"], set(seen["moments"])) == ((0, 0), {0.0})
    assert any(np.any(a != b) for a, b in zip(networks(tmp_path / "new"), networks(tmp_path / "run"), strict=True))


def test_config_says_where_it_started(finished, tuned):
    origin = read_config(tuned)["from"]
    assert origin["run"] == str(finished)
    assert [len(origin[name]) for name in ("generator", "discriminator")] == [64, 64]
    assert "from" not in read_config(finished)


@pytest.mark.parametrize("again", ["not said again", "said again, and gone", "said again, and there"])
def test_a_stopped_run_goes_on_to_the_same_bits_without_the_other_one(finished, tuned, tmp_path, again):
    """The same folder again, so that all is the same that a checkpoint says."""
    with pytest.raises(runs.Stopped):
        train(tmp_path / "run", OTHER, start_from=finished, callbacks=signal_in(7))
    moved = finished.with_name("moved")
    options = {} if again == "not said again" else {"start_from": finished}
    if "there" not in again:
        finished.rename(moved)
    try:
        train(tmp_path / "run", OTHER, **options)
        train(tmp_path / "run", OTHER, **options)  # nothing is left to be done
    finally:
        if moved.exists():
            moved.rename(finished)
    assert_same(tuned, tmp_path / "run")


@pytest.mark.parametrize("moment", [("replace", "config.json", 1), ("replace", "000000003.npz", 1)])
def test_a_run_killed_before_its_first_checkpoint_starts_from_the_same_again(
    finished, tuned, tmp_path, monkeypatch, moment
):
    with monkeypatch.context() as patch:
        killed_at(patch, *moment)
        with pytest.raises(Killed):
            train(tmp_path / "run", OTHER, checkpoint_every=3, start_from=finished)
    train(tmp_path / "run", OTHER, start_from=None if moment[1] != "config.json" else finished)
    assert_same(tuned, tmp_path / "run")


def test_it_goes_on_to_more_epochs_to_the_same_bits(finished, tuned, tmp_path):
    three = dataclasses.replace(OTHER, epochs=3)
    train(tmp_path / "at_once", three, start_from=finished)
    shutil.copytree(tuned, tmp_path / "run")
    train(tmp_path / "run", three)
    assert_same(tmp_path / "at_once", tmp_path / "run")


def test_what_was_not_asked_of_the_networks_is_what_the_other_run_has(tmp_path):
    """And it need not be asked when the run goes on."""
    widths = {"generator_widths": (8, 4, 2), "discriminator_widths": (2, 4), "input_noise": 0.125}
    plain = runs.Settings(dataset="digits", epochs=1, batch_size=500, latent_dim=8)
    runs.train(tmp_path / "run", dataclasses.replace(plain, **widths))
    with pytest.raises(runs.Stopped):
        runs.train(tmp_path / "new", plain, start_from=tmp_path / "run", callbacks=signal_in(2))
    shutil.move(tmp_path / "run", tmp_path / "gone")
    runs.train(tmp_path / "new", plain)
    kept = read_config(tmp_path / "new")["settings"]
    assert {name: kept[name] for name in widths} == {
        name: list(value) if isinstance(value, tuple) else value for name, value in widths.items()
    }
    runs.train(tmp_path / "less", dataclasses.replace(plain, input_noise=0.0), start_from=tmp_path / "gone")
    assert read_config(tmp_path / "less")["settings"]["input_noise"] == 0.0


REFUSED = {
    "model": ({"model": "dcgan"}, r"model: mlp there, dcgan asked\); to start from it, give --model mlp"),
    "latent_dim": ({"latent_dim": 8}, r"latent_dim: 100 there, 8 asked\); to start from it, give --latent-dim 100"),
    "widths": ({"discriminator_widths": (4, 4)}, "give --discriminator-widths 1024,512,256"),
}


@pytest.mark.parametrize(("changes", "told"), REFUSED.values(), ids=REFUSED)
def test_other_networks_than_those_of_the_other_run_are_refused(finished, tmp_path, changes, told):
    with pytest.raises(gan_tf.UsageError, match=told) as error:
        train(tmp_path / "run", dataclasses.replace(OTHER, **changes), start_from=finished)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_weights_that_do_not_fit_are_refused(finished, tmp_path):
    """The builder is another one, so that the settings do not tell."""
    with pytest.raises(gan_tf.UsageError, match=r"the generator of .* does not fit .*--generator-widths") as error:
        runs.train(tmp_path / "run", OTHER, build=on_top.wgan_gp, start_from=finished)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def broken(how: str, run: Path) -> Path:
    """Make a run one that nobody can start from, and return what is to be named."""
    if how == "missing":
        return run / "nothing"
    if how == "not a run":
        (run / "config.json").unlink()
    if how in ("no generator", "no discriminator"):
        (run / f"{how.removeprefix('no ')}.keras").unlink()
    if how == "damaged config":
        (run / "config.json").write_text("{", encoding="utf-8")
    if how == "damaged":
        (run / "discriminator.keras").write_bytes(b"PK\x03\x04 torn")
    if how == "of an older version":
        config = read_config(run) | {"versions": {"gan_tf": "0.0.9"}}
        (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if how == "a link":
        shutil.move(run / "generator.keras", run.parent / "elsewhere.keras")
        (run / "generator.keras").symlink_to(run.parent / "elsewhere.keras")
    return run


BROKEN = {
    "missing": "holds no run to start from",
    "not a run": "is not empty and holds no run",
    "no generator": "is not finished: run `python -m gan_tf train ",
    "no discriminator": "is not finished: run `python -m gan_tf train ",
    "damaged config": "config.json is damaged",
    "damaged": "discriminator.keras cannot be loaded",
    "of an older version": "is of gan_tf 0.0.9",
    "a link": "is a symbolic link that leads out of the run folder",
    "the same": "must name another run than",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_run_that_cannot_be_started_from_is_told_in_one_line_before_anything_is_made(copy, tmp_path, capfd, how):
    source = broken(how, copy)
    new = copy if how == "the same" else tmp_path / "new"
    before = contents(tmp_path)
    capfd.readouterr()
    assert command_line.main(["train", str(new), *TYPED, "--from", str(source)]) in (1, 2)
    (line,) = capfd.readouterr().err.splitlines()
    assert BROKEN[how] in line
    assert contents(tmp_path) == before
    assert new == copy or not new.exists()


def test_a_run_that_started_otherwise_does_not_go_on_from_another(finished, tuned, copy, tmp_path):
    """From other networks; from none; from a folder that is not there; from one that has changed since."""
    train(tmp_path / "other", dataclasses.replace(SETTINGS, seed=3, epochs=1))
    mine = shutil.copytree(tuned, tmp_path / "mine")
    with pytest.raises(runs.RunError, match=r"started from other networks than .*other has now.*leave out --from"):
        train(mine, OTHER, start_from=tmp_path / "other")
    with pytest.raises(runs.RunError, match=r"which started from none; leave out --from"):
        train(copy, SETTINGS, start_from=tuned)
    with pytest.raises(runs.RunError, match="holds no run to start from"):
        train(mine, OTHER, start_from=tmp_path / "nowhere")
    train(mine, OTHER, start_from=copy)  # the same networks, in another folder


def test_a_source_that_changed_before_the_first_checkpoint_is_refused(copy, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        killed_at(patch, "replace", "000000003.npz", 1)
        with pytest.raises(Killed):
            train(tmp_path / "run", OTHER, checkpoint_every=3, start_from=copy)
    train(copy, dataclasses.replace(SETTINGS, epochs=3))
    with pytest.raises(runs.RunError, match=r"has changed since .* was to start from it; name another folder"):
        train(tmp_path / "run", OTHER)
    shutil.rmtree(copy)
    with pytest.raises(runs.RunError, match="holds no run to start from"):
        train(tmp_path / "run", OTHER)


def test_a_checkpoint_of_a_run_that_started_elsewhere_is_refused(finished, tuned, tmp_path):
    mine = shutil.copytree(tuned, tmp_path / "mine")
    (mine / "generator.keras").unlink()
    config = read_config(mine)
    config["from"]["generator"] = "0" * 64
    (mine / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(runs.RunError, match=r"of another run \(it started from other networks\)"):
        train(mine, OTHER)
    assert kills.checkpoints(mine)


@pytest.mark.parametrize("origin", [3, "x", [], {}, {"run": 1, "generator": "", "discriminator": ""}, None])
def test_an_origin_that_is_none_is_damage(tuned, tmp_path, origin):
    mine = shutil.copytree(tuned, tmp_path / "mine")
    (mine / "config.json").write_text(json.dumps(read_config(mine) | {"from": origin}), encoding="utf-8")
    with pytest.raises(runs.RunError, match=r"config\.json is damaged"):
        train(mine, OTHER)
