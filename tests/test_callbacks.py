"""Each callback of a run in a `fit` of one's own: six steps of a GAN of a few hundred weights, and no run."""

import io
import signal
import sys

import keras
import numpy as np
import pytest

from gan_tf import data, evaluator, gan, models, plots
from gan_tf.files import read_csv
from gan_tf.runs import callbacks, checkpoints, pictures
from gan_tf.runs.folder import RunError, frame_paths

SCHEDULE = callbacks.Schedule(images=50, steps_per_epoch=3, epochs=2)


def build(seed: int = 0, **options) -> gan.GAN:
    keras.utils.set_random_seed(seed)
    model = gan.GAN(models.mlp_generator(8, (8,)), models.mlp_discriminator((4,)))
    model.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3), **options)
    return model


def fit(model: gan.GAN, *listed: keras.callbacks.Callback, epochs: int = SCHEDULE.epochs) -> gan.GAN:
    batches = data.batches(data.load("digits").x_train, SCHEDULE.images, seed=0, endless=True)
    options = {"epochs": epochs, "steps_per_epoch": SCHEDULE.steps_per_epoch, "verbose": 0}
    model.fit(batches, callbacks=list(listed), **options)
    return model


class In(keras.callbacks.Callback):
    """Do something with the GAN when a step begins, the first one being 1."""

    def __init__(self, step: int, act):
        super().__init__()
        self.step, self.act = step, act

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.steps_taken) == self.step - 1:
            self.act(self.model)


def poison(model: gan.GAN) -> None:
    model.generator.trainable_variables[0].assign(model.generator.trainable_variables[0] * np.nan)


def test_history_keeps_each_step_and_writes_two_tables(tmp_path):
    history = callbacks.History(SCHEDULE, tmp_path)
    logged = []
    fit(build(), history, keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: logged.append(logs)))
    assert list(history.losses) == ["step", "seconds", "generator_loss", "discriminator_loss"]
    assert history.losses["step"] == [1, 2, 3, 4, 5, 6]
    assert history.losses["generator_loss"] == [float(logs["generator_loss"]) for logs in logged]
    assert (np.diff([0.0, *history.losses["seconds"]]) > 0).all()

    epochs, losses = read_csv(tmp_path / "history.csv"), read_csv(tmp_path / "losses.csv")
    assert (epochs["epoch"], epochs["step"], epochs["images"]) == ([1, 2], [3, 6], [150, 300])
    means = [np.mean(history.losses["discriminator_loss"][:3]), np.mean(history.losses["discriminator_loss"][3:])]
    np.testing.assert_allclose(epochs["discriminator_loss"], means, atol=1e-6)
    assert losses == {name: [] for name in losses}, "no 800 images were seen"


@pytest.mark.parametrize(("images", "window"), [(16, 50), (24, 33), (250, 3), (800, 1), (5000, 1)])
def test_a_row_of_losses_csv_is_of_about_800_images_however_long_the_training_is(tmp_path, images, window):
    for name, epochs in (("short", 2), ("long", 20)):
        (tmp_path / name).mkdir()
        history = callbacks.History(callbacks.Schedule(images, 60, epochs), tmp_path / name)
        for step in range(1, 60 * epochs + 1):
            callbacks.add_row(history.losses, {"step": step, "seconds": step, "generator_loss": step**0.5})
        history.write()
    short, long = (read_csv(tmp_path / name / "losses.csv") for name in ("short", "long"))
    assert short["step"] == list(range(window, 121, window))
    means = [np.mean(np.sqrt(np.arange(end - window + 1, end + 1))) for end in range(window, 121, window)]
    np.testing.assert_allclose(short["generator_loss"], means, atol=1e-6)
    assert {name: column[: 120 // window] for name, column in long.items()} == short


def test_history_counts_steps_and_not_calls():
    history = callbacks.History(SCHEDULE)
    fit(build(steps_per_execution=3), history)
    assert history.losses["step"] == [3, 6]


def test_finite_losses_end_the_training():
    with pytest.raises(RunError, match=r"became nan .* at step 4, the learning rates being 0\.001 and 0\.001"):
        fit(build(), callbacks.FiniteLosses(), In(4, poison))


def test_the_progress_bar_shows_the_newest_losses(capsys):
    history = callbacks.History(SCHEDULE)
    fit(build(), history, callbacks.ProgressBar(history, "mine"))
    shown = capsys.readouterr().err.split("\r")[-1]
    assert shown.startswith("mine: 100%")
    assert "6/6" in shown
    assert f"generator={history.losses['generator_loss'][-1]:.2f}" in shown


def test_the_progress_bar_goes_to_standard_output_in_a_notebook_alone(monkeypatch, capsys):
    """A notebook shows standard error on pink; a terminal and a pipe keep standard output for what is told."""
    history = callbacks.History(SCHEDULE)
    fit(build(), history, callbacks.ProgressBar(history, "mine"))
    elsewhere = capsys.readouterr()
    assert ("6/6" in elsewhere.err, elsewhere.out) == (True, "")

    notebook = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stdout", notebook)
    history = callbacks.History(SCHEDULE)
    fit(build(), history, callbacks.ProgressBar(history, "mine"))
    assert ("6/6" in notebook.getvalue(), capsys.readouterr().err) == (True, "")


def test_a_kernel_s_standard_output_is_known_by_its_module():
    """What the test above plays, and `bar_stream` asks for, is what a notebook's process has."""
    from ipykernel.iostream import OutStream  # takes a second: only where it is needed

    assert OutStream.__module__.startswith("ipykernel.")
    assert not type(sys.__stdout__).__module__.startswith("ipykernel.")


class Clock:
    """A clock by which the first step takes a minute and each other one as long as is said."""

    def __init__(self, seconds: float):
        self.seconds, self.now, self.calls = seconds, 0.0, 0

    def __call__(self) -> float:
        self.calls += 1
        if self.calls % 2 == 0:  # a step ends
            self.now += 60.0 if self.calls == 2 else self.seconds
        return self.now


@pytest.mark.parametrize(
    ("seconds", "epochs", "steps_per_execution", "told"),
    [
        (0.5, 30, 1, "100 images a second: about 40 s left\n"),  # at step 5 of 90
        (2.0, 70, 1, "25 images a second: about 7 min left\n"),  # at step 2 of 210
        (1.0, 70, 3, "150 images a second: about 1 min 10 s left\n"),  # at step 9 of 210: a call is of three steps
        (0.5, 8, 1, ""),  # 9.5 s are no long wait
        (0.3, 2, 1, ""),  # over before two seconds were timed
    ],
)
def test_speed_and_time_left_are_told_once_before_a_long_wait(capsys, seconds, epochs, steps_per_execution, told):
    """By the second step and those after it; how fast this machine is does not matter."""
    schedule = SCHEDULE._replace(epochs=epochs)
    history = callbacks.History(schedule, clock=Clock(seconds))
    left = callbacks.TimeLeft(history)
    fit(build(steps_per_execution=steps_per_execution), history, left, epochs=min(8, epochs))
    assert capsys.readouterr().out == told


def test_a_training_that_goes_on_tells_the_speed_of_now(capsys):
    """And once, though its first epoch may be a `fit` of its own."""
    schedule = SCHEDULE._replace(epochs=30)
    before, model = callbacks.History(schedule, clock=Clock(0.5)), build()
    fit(model, before, callbacks.TimeLeft(before))
    assert capsys.readouterr().out == "100 images a second: about 40 s left\n"  # at step 5 of 90

    history = callbacks.History(schedule, clock=Clock(2.0))
    history.restore(before.records())
    left = callbacks.TimeLeft(history)
    for _ in range(2):
        fit(model, history, left)
    assert capsys.readouterr().out == "25 images a second: about 2 min 40 s left\n"  # at step 8 of 90


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (10, "10 s"),
        (57.4, "55 s"),
        (57.5, "1 min"),
        (64, "1 min"),
        (196, "3 min 20 s"),
        (3594, "59 min 50 s"),
        (3595, "1 h"),
        (3640, "1 h 1 min"),
        (7500, "2 h 5 min"),
        (7199, "2 h"),
    ],
)
def test_a_time_to_come_is_rounded(seconds, words):
    assert callbacks.duration(seconds) == words


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_frames_are_drawn_from_the_same_noise(tmp_path, steps_per_execution):
    digits = data.to_float(data.load("digits").x_train[:25])
    model = build(steps_per_execution=steps_per_execution)
    before = pictures.drawn(model, {"images": digits}, seed=3)
    fit(model, pictures.Frames(tmp_path, SCHEDULE._replace(images=33), {"images": digits}, seed=3))
    seen = list(frame_paths(tmp_path).values())
    assert seen == ([0, 33, 99, 198] if steps_per_execution == 1 else [0, 99, 198])  # due at 0, 13, 71 and 197
    assert seen == pictures.series(range(steps_per_execution, 7, steps_per_execution), 33)
    np.testing.assert_array_equal(before, gan.sample_images(build().ema_generator, 25, 3))
    after = gan.sample_images(model.ema_generator, 25, 3)
    for images, path in zip((before, after), (min(frame_paths(tmp_path)), max(frame_paths(tmp_path))), strict=True):
        np.testing.assert_array_equal(plots.image_grid(images), read_png(path))


@pytest.mark.parametrize(("total", "frames"), [(3_750, 31), (7_500, 40), (7_440, 40), (15_000, 53), (62_500, 93)])
def test_frames_are_taken_at_image_counts_that_the_length_of_a_training_does_not_move(total, frames):
    """At 120,000 (i / 39)^2.5, after the first step that reaches it; and at the end: 40 by default."""
    seen = pictures.series(range(1, total + 1), 16)
    due = [120_000 * (i / 39) ** 2.5 for i in range(200)]
    assert seen == sorted({16 * int(np.ceil(round(images / 16, 6))) for images in due if images <= 16 * total + 1e-6})
    assert len({*seen, 16 * total}) == frames
    assert seen == [images for images in pictures.series(range(1, 2 * total + 1), 16) if images <= 16 * total]


def test_a_training_that_ends_where_no_frame_is_due_has_one_of_its_end(tmp_path):
    """Whether its steps are over or a callback ends it; a `fit` in the middle of the training has none."""
    batch, end = {"images": data.to_float(data.load("digits").x_train[:4])}, In(5, stop)
    for name, schedule, listed in (
        ("over", SCHEDULE._replace(images=60), []),
        ("ended", SCHEDULE, [end]),
        ("middle", SCHEDULE._replace(epochs=4), []),
    ):
        (tmp_path / name).mkdir()
        fit(build(), pictures.Frames(tmp_path / name, schedule, batch, seed=3), *listed)
    found = {name: list(frame_paths(tmp_path / name).values()) for name in ("over", "ended", "middle")}
    assert found == {"over": [0, 60, 120, 240, 360], "ended": [0, 50, 100, 200, 250], "middle": [0, 50, 100, 200]}


def stop(model: gan.GAN) -> None:
    model.stop_training = True


def read_png(path) -> np.ndarray:
    return keras.utils.img_to_array(keras.utils.load_img(path, color_mode="grayscale"))[..., 0].astype(np.uint8)


def test_scores_before_every_so_many_steps_and_at_the_end(tmp_path):
    test = data.load("digits").x_test[:60]
    history = callbacks.History(SCHEDULE, tmp_path)
    model = fit(build(), history, pictures.Scores(history, {"images": data.to_float(test)}, every=4, seed=0))
    assert history.scores["step"] == [0, 4, 6]
    assert history.scores["images"] == [0, 200, 300]
    judge = evaluator.Evaluator()
    fake = judge.extract(gan.sample_images(model.ema_generator, 60, 0))
    expected = evaluator.quick_scores(judge.extract(test), fake)
    assert history.scores["frechet_distance"][-1] == pytest.approx(expected["frechet_distance"], abs=1e-5)
    assert read_csv(tmp_path / "scores.csv")["frechet_distance"] == history.scores["frechet_distance"]


class Translates(gan.GAN):
    """A GAN whose fakes are made of the batch's images, and that keeps those."""

    def generator_inputs(self, batch, seed):
        self.shown = batch["images"]
        return super().generator_inputs(batch, seed)


@pytest.mark.parametrize(("kind", "converted"), [(gan.GAN, [250, 250, 100]), (Translates, [250, 250, 100, 600])])
def test_scores_do_not_convert_images_all_at_once(kind, converted, monkeypatch):
    """Unless the GAN makes its fakes of them: then it gets them in [-1, 1], and not as they lie on the disk."""
    digits, found, to_float = data.load("digits").x_train[:600], {}, data.to_float
    model, counts = kind(models.mlp_generator(8, (8,)), models.mlp_discriminator((4,))), []
    monkeypatch.setattr(data, "to_float", lambda images: (counts.append(len(images)), to_float(images))[1])
    for images in (digits, to_float(digits)):
        scores = pictures.Scores(callbacks.History(SCHEDULE), {"images": images}, every=4, seed=0)
        fakes = pictures.drawn(model, {"images": images}, 0)
        found[images.dtype] = scores.real.features, fakes
        if images is digits:
            assert counts == converted
    for ours, theirs in zip(*found.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    if kind is Translates:
        np.testing.assert_array_equal(model.shown, to_float(digits))


def test_beside_the_scores_stands_what_diagnostics_found_last():
    test = {"images": data.to_float(data.load("digits").x_test[:20])}
    history = callbacks.History(SCHEDULE)
    scores = pictures.Scores(history, test, every=2, seed=0)
    measured = In(3, lambda _: history.diagnostics.update(memorised=[0.125, 0.25]))
    fit(build(), history, measured, scores)
    assert history.scores["step"] == [0, 2, 4, 6]
    np.testing.assert_array_equal(history.scores["memorised"], [np.nan, np.nan, 0.25, 0.25])


def test_scores_of_a_run_from_before_they_held_what_diagnostics_found_go_on():
    test, history = {"images": data.to_float(data.load("digits").x_test[:20])}, callbacks.History(SCHEDULE)
    fit(model := build(), history, pictures.Scores(history, test, every=3, seed=0))
    del history.scores["memorised"]
    history.schedule = SCHEDULE._replace(epochs=4)
    fit(model, history, pictures.Scores(history, test, every=3, seed=0))
    assert history.scores["step"] == [0, 3, 6, 9, 12]
    assert np.isnan(history.scores["memorised"]).all()


def test_keras_s_own_callbacks_can_watch_the_scores(monkeypatch):
    """Those of the list that come after `Scores`; between two evaluations, the newest counts."""
    distances = [9.0, 5.0, 6.0, 7.0]  # before the training, and after each third step
    monkeypatch.setattr(evaluator, "quick_scores", lambda real, fake: {"frechet_distance": distances.pop(0)})
    history = callbacks.History(SCHEDULE._replace(epochs=9))
    scores = pictures.Scores(history, {"images": data.to_float(data.load("digits").x_test[:10])}, every=3, seed=0)
    watch = keras.callbacks.EarlyStopping(monitor="frechet_distance", mode="min", patience=2)
    seen = []
    logged = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["frechet_distance"]))
    model = build()
    batches = data.batches(data.load("digits").x_train, SCHEDULE.images, seed=0, endless=True)
    trained = model.fit(batches, epochs=9, steps_per_epoch=3, verbose=0, callbacks=[history, scores, watch, logged])
    assert seen == trained.history["frechet_distance"] == [5.0, 6.0, 7.0]
    assert (watch.stopped_epoch, history.best.step, history.best.frechet_distance) == (2, 3, 5.0)
    assert len(history.best.weights) == len(model.ema_generator.weights)


def test_what_keras_has_can_watch_the_scores(tmp_path, monkeypatch):
    """The GAN of the lowest score is kept whole, and both rates fall where the score does not improve."""
    distances = [9.0, 5.0, 6.0, 7.0]
    monkeypatch.setattr(evaluator, "quick_scores", lambda real, fake: {"frechet_distance": distances.pop(0)})
    history = callbacks.History(SCHEDULE._replace(epochs=3))
    scores = pictures.Scores(history, {"images": data.to_float(data.load("digits").x_test[:10])}, every=3, seed=0)
    watched = {"monitor": "frechet_distance", "mode": "min"}
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True, **watched)
    slower = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=1, **watched)

    model = build()
    batches = data.batches(data.load("digits").x_train, SCHEDULE.images, seed=0, endless=True)
    model.fit(batches, epochs=3, steps_per_epoch=3, verbose=0, callbacks=[history, scores, best, slower])
    assert callbacks.steps_taken(keras.saving.load_model(tmp_path / "best.keras")) == 3
    rates = [float(one.learning_rate) for one in (model.generator_optimizer, model.discriminator_optimizer)]
    assert rates == [pytest.approx(2.5e-4)] * 2


def test_checkpoints_hold_the_gan_and_its_history(tmp_path):
    history = callbacks.History(SCHEDULE)
    model = fit(build(), history, callbacks.Checkpoints(tmp_path, history, every=4))
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["000000004", "000000006"]

    other, again = build(seed=1), callbacks.History(SCHEDULE)
    again.restore(checkpoints.restore(tmp_path, other))
    assert again.losses == history.losses
    for mine, theirs in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_a_signal_ends_fit_after_the_step():
    before = signal.getsignal(signal.SIGTERM)
    model = build()
    with callbacks.Signals() as signals:
        fit(model, In(3, lambda _: signal.raise_signal(signal.SIGTERM)), signals)
        assert signal.getsignal(signal.SIGTERM) != before
    assert (signals.number, int(model.steps_taken)) == (signal.SIGTERM, 3)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_before_the_first_step_is_done_interrupts():
    before, model = signal.getsignal(signal.SIGTERM), build()
    with pytest.raises(KeyboardInterrupt), callbacks.Signals() as signals:
        fit(model, In(1, lambda _: signal.raise_signal(signal.SIGTERM)), signals)
    assert int(model.steps_taken) == 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_cuts_short_what_changes_nothing():
    with callbacks.Signals() as signals:
        signals.at_once, done = False, []
        with signals.cutting_short():
            signal.raise_signal(signal.SIGTERM)
            done.append("went on")
        assert (signals.number, signals.at_once, done) == (signal.SIGTERM, False, [])
        signals.number = 0
        with pytest.raises(KeyboardInterrupt), signals.cutting_short():
            raise KeyboardInterrupt  # by somebody else


def test_what_a_step_returns_may_not_change():
    table = {}
    callbacks.add_row(table, {"step": 1, "loss": 2.0})
    with pytest.raises(RunError, match="step, loss before, step, norm now"):
        callbacks.add_row(table, {"step": 2, "norm": 3.0})
