"""Runs that go on: to more epochs than they were asked for at first, or after a callback ended them."""

import dataclasses
import json
import signal

import keras
import kills
import numpy as np
import pytest
import small
from conftest import SETTINGS
from test_runs import After, Killed, killed_at, rows, signal_in, train

import gan_tf
from gan_tf import evaluator, replicas, runs, untrusted
from gan_tf.runs import devices, plan, results
from gan_tf.runs.folder import frame_paths, read_config

pytestmark = pytest.mark.slow

THREE = dataclasses.replace(SETTINGS, epochs=3)  # 18 steps; `finished` has 12 of them


@pytest.fixture(scope="module")
def at_once(tmp_path_factory):
    """A run that was asked for three epochs from the first."""
    return train(tmp_path_factory.mktemp("longer") / "at_once", THREE).parent


def assert_same(one, other) -> None:
    """All that two finished runs leave is the same, times aside."""
    assert kills.differences(one, other) == []
    names = [{path.name for path in folder.iterdir() if not path.name.startswith(".")} for folder in (one, other)]
    assert names[0] == names[1]
    assert read_config(one) == read_config(other)
    for path in one.glob("*.keras"):
        pair = [untrusted.load_model(folder / path.name).get_weights() for folder in (one, other)]
        assert all(np.array_equal(a, b) for a, b in zip(*pair, strict=True)), path.name
    for path in one.glob("best.json"):
        assert path.read_bytes() == (other / path.name).read_bytes()


MORE = pytest.mark.thorough  # others of their kind stand for them


@pytest.mark.parametrize(
    "stopped_at",
    [None, pytest.param(3, marks=MORE), 6, 7, pytest.param(12, marks=MORE)],
    ids=["finished", "3", "6", "7", "12"],
)
def test_a_run_goes_on_to_more_epochs_and_to_the_same_bits(at_once, tmp_path, stopped_at):
    if stopped_at:
        with pytest.raises(runs.Stopped):
            train(tmp_path / "run", callbacks=signal_in(stopped_at))
    else:
        train(tmp_path / "run")
    train(tmp_path / "run", THREE)
    assert_same(at_once, tmp_path / "run")


def test_it_goes_on_twice_and_with_other_distances_between_checkpoints(tmp_path):
    five = dataclasses.replace(SETTINGS, epochs=5)
    train(tmp_path / "at_once", five)
    for epochs, every in ((1, 2), (3, 4), (5, 500)):
        train(tmp_path / "run", dataclasses.replace(SETTINGS, epochs=epochs), checkpoint_every=every)
    assert_same(tmp_path / "at_once", tmp_path / "run")


def test_a_run_on_two_devices_with_float16_goes_on_to_the_same_bits(tmp_path):
    one, two = (
        dataclasses.replace(SETTINGS, devices="mirrored", precision="mixed_float16", epochs=epochs) for epochs in (1, 2)
    )
    train(tmp_path / "at_once", two, evaluate_every=4)
    train(tmp_path / "run", one, evaluate_every=4)
    train(tmp_path / "run", two, evaluate_every=4)
    assert_same(tmp_path / "at_once", tmp_path / "run")


MOMENTS = {
    "before it says that it goes on": ("replace", "config.json", 1),
    "before it drops the frame of its first end": ("unlink", "*.png", 1),
    "before the first checkpoint": ("replace", "000000015.npz", 1),
    "before the last checkpoint": ("replace", "000000018.npz", 1),
    "before the new generator": ("replace", "generator.keras", 1),
    "before the new GIF": ("replace", "progress.gif", 1),
    "before the last picture": ("replace", "losses.png", 1),
    "before it says that it is finished": ("replace", "config.json", 2),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_run_killed_while_it_goes_on_loses_nothing(at_once, copy, monkeypatch, moment):
    before = (copy / "generator.keras").read_bytes()
    with monkeypatch.context() as patch:
        killed_at(patch, *moment)
        with pytest.raises(Killed):
            train(copy, THREE, checkpoint_every=3)
    kills.check_whole(copy)
    if moment[1] != "config.json":
        assert read_config(copy)["finished_epochs"] == 2
    if moment[1] in ("*.png", "000000015.npz"):
        assert (copy / "generator.keras").read_bytes() == before
    runs.sample_images(runs.load_generator(copy), 1, 0)
    train(copy, THREE, checkpoint_every=3)
    assert_same(at_once, copy)
    assert not list(copy.rglob("*.partial*"))


def test_what_was_made_of_fewer_epochs_is_there_until_the_new_is(copy, at_once, capsys):
    """And scores that are of neither do not stay."""
    made = {name: (copy / name).read_bytes() for name in results.OUTPUTS}
    runs.evaluate(copy, count=10)
    with pytest.raises(runs.Stopped, match="stopped at step 14 of 18"):
        train(copy, THREE, callbacks=signal_in(14))
    config = read_config(copy)
    assert (config["settings"]["epochs"], config["finished_epochs"]) == (3, 2)
    assert {name: (copy / name).read_bytes() for name in results.OUTPUTS} == made
    assert runs.evaluate(copy, count=10)
    runs.write_gif(copy, copy.parent / "now.gif")

    with pytest.raises(runs.RunError, match="epochs: 3 there, 2 asked"):
        train(copy)
    capsys.readouterr()
    train(copy, dataclasses.replace(SETTINGS, epochs=None))  # as many as it was asked for last
    assert "finished already" not in capsys.readouterr().out
    assert_same(at_once, copy)
    assert not (copy / "metrics.json").exists()
    train(copy, THREE)
    assert "finished already" in capsys.readouterr().out


def test_fewer_epochs_are_refused(copy):
    before = (copy / "config.json").read_bytes()
    with pytest.raises(runs.RunError, match=r"another run \(epochs: 2 there, 1 asked\)"):
        train(copy, dataclasses.replace(SETTINGS, epochs=1))
    assert (copy / "config.json").read_bytes() == before


def test_more_epochs_with_other_versions_or_settings_are_refused(copy):
    """Where the same number of epochs is finished already, whatever is installed."""
    config = read_config(copy)
    config["versions"]["tensorflow"] = "2.99.0"
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    train(copy)
    with pytest.raises(runs.RunError, match=r"another run \(tensorflow: 2\.99\.0 there"):
        train(copy, THREE)
    with pytest.raises(runs.RunError, match=r"another run \(seed: 0 there, 7 asked"):
        train(copy, dataclasses.replace(THREE, seed=7))


def test_a_finished_run_without_its_checkpoints_does_not_begin_again_in_silence(copy):
    for path in (copy / "checkpoints").iterdir():
        path.unlink()
    before = (copy / "config.json").read_bytes()
    with pytest.raises(runs.RunError, match="has no checkpoint to go on from; train into another folder"):
        train(copy, THREE)
    assert (copy / "config.json").read_bytes() == before


@pytest.mark.parametrize("damage", ["torn", "of another model"])
def test_a_run_that_cannot_go_on_stays_finished(copy, damage):
    for path in (copy / "checkpoints").glob("*.npz"):
        with np.load(path) as archive:
            content = dict(archive) | {"gan/9999/more": np.zeros(1)}
        np.savez(path, **content) if damage == "of another model" else path.write_bytes(b"PK")
    before = (copy / "config.json").read_bytes()
    with pytest.raises(runs.RunError, match=r"every checkpoint|another model"):
        train(copy, THREE)
    assert (copy / "config.json").read_bytes() == before
    train(copy)


@pytest.mark.parametrize("epochs", [3, 2**31 - 1])
@pytest.mark.parametrize("number", [0, -1, 2**31 - 1, "2", [], 1.5, 10**30, None, True])
def test_a_config_that_says_something_else_of_its_epochs_is_damaged(copy, number, epochs):
    config = read_config(copy)
    config["settings"]["epochs"] = epochs
    (copy / "config.json").write_text(json.dumps(config | {"finished_epochs": number}), encoding="utf-8")
    with pytest.raises(runs.RunError, match=r"config\.json is damaged \(epochs: "):
        train(copy, THREE)


def with_rate(rate):
    """Return a builder of the small GAN whose generator learns at a rate that may depend on the settings."""

    def build(settings):
        model = small.build(settings)
        model.compile(keras.optimizers.Adam(rate(settings)), keras.optimizers.SGD(1e-3))
        return model

    return build


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that does not describe itself."""

    def __call__(self, step):
        return 1e-3 * 0.5 ** (keras.ops.cast(step, "float32") / 10)


def test_a_schedule_that_depends_on_the_number_of_epochs_is_refused(tmp_path):
    build = with_rate(lambda settings: keras.optimizers.schedules.CosineDecay(1e-3, 6 * settings.epochs))
    runs.train(tmp_path / "run", SETTINGS, build=build)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(runs.RunError, match="the generator's optimizer depends on how many there are") as error:
        runs.train(tmp_path / "run", THREE, build=build)
    assert "\n" not in str(error.value)
    assert "first 2 would have been others; name another folder" in str(error.value)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_schedule_that_cannot_be_described_is_refused(tmp_path):
    build = with_rate(lambda settings: Halving())
    runs.train(tmp_path / "run", SETTINGS, build=build)
    with pytest.raises(runs.RunError, match=r"cannot be described.*give its parts a get_config") as error:
        runs.train(tmp_path / "run", THREE, build=build)
    assert "\n" not in str(error.value)


def test_a_schedule_of_its_own_length_goes_on_to_the_same_bits(tmp_path):
    build = with_rate(lambda settings: keras.optimizers.schedules.CosineDecay(1e-3, 15))
    runs.train(tmp_path / "at_once", THREE, build=build)
    runs.train(tmp_path / "run", SETTINGS, build=build)
    runs.train(tmp_path / "run", THREE, build=build)
    assert_same(tmp_path / "at_once", tmp_path / "run")


class EndIn(keras.callbacks.Callback):
    """End the training at the end of an epoch, the first one being 1, as EarlyStopping does."""

    def __init__(self, epoch: int):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.epoch:
            self.model.stop_training = True


def test_a_run_that_a_callback_ended_says_so_is_finished_and_goes_on(at_once, tmp_path, capsys):
    train(tmp_path / "run", dataclasses.replace(SETTINGS, epochs=2), callbacks=[EndIn(1)])
    assert "run was ended by a callback after epoch 1 of 2\n" in capsys.readouterr().out
    assert list(frame_paths(tmp_path / "run").values())[-1] == 1500
    train(tmp_path / "run")
    assert "finished already" in capsys.readouterr().out
    train(tmp_path / "run", THREE)
    assert "ended by" not in capsys.readouterr().out
    assert_same(at_once, tmp_path / "run")


def test_a_callback_that_brings_back_earlier_weights_takes_no_step_twice(tmp_path):
    """The weights are those of the first epoch, the steps are counted on."""
    settings = dataclasses.replace(SETTINGS, epochs=5)
    early = keras.callbacks.EarlyStopping("epoch", mode="min", patience=2, restore_best_weights=True)
    logged = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(epoch=epoch))
    train(tmp_path / "run", settings, callbacks=[logged, early])
    train(tmp_path / "first", dataclasses.replace(SETTINGS, epochs=1))
    pair = [runs.load_generator(tmp_path / name).get_weights() for name in ("run", "first")]
    assert all(np.array_equal(a, b) for a, b in zip(*pair, strict=True))
    train(tmp_path / "run", dataclasses.replace(SETTINGS, epochs=6))
    with np.load(kills.checkpoints(tmp_path / "run")[-1]) as archive:
        assert archive["losses.step"].tolist() == list(range(1, 37))


def test_a_signal_is_not_told_as_a_callback_s_end(tmp_path, capsys):
    with pytest.raises(runs.Stopped):
        train(tmp_path / "run", callbacks=signal_in(6, signal.SIGINT))
    assert "ended by" not in capsys.readouterr().out


# scores


def distances_are(monkeypatch, *distances: float) -> None:
    """Let the next scores be these Fréchet distances, one after the other."""
    left = list(distances)
    monkeypatch.setattr(evaluator, "quick_scores", lambda real, fake: {"frechet_distance": float(left.pop(0))})


def weights_after(folder, step: int) -> list[np.ndarray]:
    """Return the weights of a run's generator after some step, from another run that ended there."""
    train(folder, THREE, callbacks=[After(step, lambda model: setattr(model, "stop_training", True))])
    return runs.load_generator(folder).get_weights()


# evaluated after steps 0, 5, 10, 15 and, because it ends there, 18
BEST = {"first": ([1, 2, 3, 4, 5], 0), "in the middle": ([9, 8, 3, 3, 7], 10), "end": ([9, 8, 7, 6, 5], 18)}


@pytest.mark.parametrize(("distances", "step"), BEST.values(), ids=BEST)
def test_the_generator_with_the_lowest_distance_is_kept_and_told(tmp_path, monkeypatch, capsys, distances, step):
    distances_are(monkeypatch, *distances)
    train(tmp_path / "run", THREE, evaluate_every=5)
    best = f"({min(distances):.1f}) is that of step {step} ({250 * step:,} images): {tmp_path}/run/best_generator.keras"
    assert f"The best generator by Fréchet distance {best}\n" in capsys.readouterr().out
    kept = json.loads((tmp_path / "run" / "best.json").read_text(encoding="utf-8"))
    assert kept == {"step": step, "images": 250 * step, "frechet_distance": min(distances)}
    if step:
        found = untrusted.load_model(tmp_path / "run" / "best_generator.keras").get_weights()
        assert all(np.array_equal(a, b) for a, b in zip(found, weights_after(tmp_path / "until", step), strict=True))


@pytest.mark.parametrize("stopped_at", [11, pytest.param(16, marks=MORE)])
def test_a_run_that_was_stopped_keeps_the_same_best_generator(tmp_path, monkeypatch, stopped_at):
    """That of step 5, of which the second process knows from the checkpoint alone."""
    distances_are(monkeypatch, 9.0, 2.0, 3.0, 4.0, 5.0)
    train(tmp_path / "whole", THREE, evaluate_every=5)
    distances_are(monkeypatch, 9.0, 2.0, 3.0, 4.0, 5.0)
    with pytest.raises(runs.Stopped):
        train(tmp_path / "run", THREE, evaluate_every=5, callbacks=signal_in(stopped_at))
    train(tmp_path / "run", THREE, evaluate_every=5)
    assert read_best(tmp_path / "run")["step"] == 5
    assert_same(tmp_path / "whole", tmp_path / "run")


def read_best(folder) -> dict:
    return json.loads((folder / "best.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["best_generator.keras", pytest.param("best.json", marks=MORE), "progress.gif"])
def test_a_run_killed_while_it_writes_its_best_generator_writes_it_again(tmp_path, monkeypatch, name):
    distances_are(monkeypatch, *range(9, 0, -2), *range(9, 0, -2))
    train(tmp_path / "whole", THREE, evaluate_every=5)
    with monkeypatch.context() as patch:
        killed_at(patch, "replace", name, 1)
        with pytest.raises(Killed):
            train(tmp_path / "run", THREE, evaluate_every=5)
    train(tmp_path / "run", THREE, evaluate_every=5)
    assert read_best(tmp_path / "run")["step"] == 18
    assert_same(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("evaluates", [5, None])
def test_a_score_of_the_first_end_alone_is_none_of_a_run_that_goes_on(tmp_path, monkeypatch, evaluates):
    """It would have been the lowest; nor is it in the tables."""
    distances_are(monkeypatch, 9.0, 8.0, 3.0, 4.0, 5.0)
    train(tmp_path / "whole", THREE, evaluate_every=5)
    distances_are(monkeypatch, 9.0, 8.0, 3.0, 1.0, 4.0, 5.0)
    train(tmp_path / "run", evaluate_every=5)
    assert read_best(tmp_path / "run")["step"] == 12
    assert [row["step"] for row in rows(tmp_path / "run", "scores.csv")] == ["0", "5", "10", "12"]
    train(tmp_path / "run", THREE, evaluate_every=evaluates)
    assert read_best(tmp_path / "run")["step"] == 10
    if evaluates:
        assert_same(tmp_path / "whole", tmp_path / "run")
        assert rows(tmp_path / "run", "scores.csv") == rows(tmp_path / "whole", "scores.csv")


def test_a_run_without_scores_has_no_best_generator(at_once):
    assert not list(at_once.glob("best*"))
    with np.load(kills.checkpoints(at_once)[-1]) as archive:
        assert not [name for name in archive.files if name.startswith("judged")]


def test_early_stopping_can_watch_the_distance(tmp_path, monkeypatch, capsys):
    """Judged after each epoch of 6 steps: once worse than the best is enough, and its weights come back."""
    distances_are(monkeypatch, 9.0, 3.0, 7.0)
    watch = keras.callbacks.EarlyStopping("frechet_distance", mode="min", patience=1, restore_best_weights=True)
    train(tmp_path / "run", dataclasses.replace(SETTINGS, epochs=5), evaluate_every=6, callbacks=[watch])
    out = capsys.readouterr().out
    assert "run was ended by a callback after epoch 2 of 5\n" in out
    assert "(3.0) is that of step 6 (1,500 images): " in out
    pair = [untrusted.load_model(path).get_weights() for path in sorted((tmp_path / "run").glob("*generator.keras"))]
    assert all(np.array_equal(a, b) for a, b in zip(*pair, strict=True))


def test_scores_cannot_be_watched_on_several_workers(monkeypatch):
    """The first alone has them; it would end, and the others would wait for it."""
    watch = [keras.callbacks.EarlyStopping("frechet_distance"), keras.callbacks.EarlyStopping("generator_loss")]
    strategy = devices.strategy("one")
    plan.check_callbacks(watch, strategy)
    monkeypatch.setattr(replicas, "several_workers", lambda strategy: True)
    plan.check_callbacks(watch[1:], strategy)
    with pytest.raises(gan_tf.UsageError, match="EarlyStopping watches frechet_distance, which only the first"):
        plan.check_callbacks(watch, strategy)
