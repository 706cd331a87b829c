"""Several replicas compute what one does: on two devices of one process, and as two and three processes on loopback."""

import csv
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import keras
import kills
import numpy as np
import pytest
import small
import tensorflow as tf
from PIL import Image

from gan_tf import conditional, data, gan, losses, models, prepare, replicas, runs
from gan_tf.files import read_csv
from gan_tf.runs import devices, recipe

pytestmark = pytest.mark.slow

# two devices of one process, which conftest.py names


@pytest.fixture
def two() -> tf.distribute.Strategy:
    chosen = devices.strategy("mirrored")
    assert chosen.num_replicas_in_sync == 2
    return chosen


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return data.load("digits").x_train


@pytest.fixture
def precision(request):
    """Build layers in 16 bits, and give the other tests float32 back."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(request.param)
    yield request.param
    keras.mixed_precision.set_dtype_policy(before)


def arrays(variables) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def on_each(chosen, function) -> list[np.ndarray]:
    """Run a function on every replica and return what each of them got."""
    return [part.numpy() for part in chosen.experimental_local_results(chosen.run(tf.function(function)))]


class Block(keras.layers.Layer):
    """A layer that holds others, as readers write them."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def call(self, x, training=None):
        for part in self.parts:
            x = part(x, training=training)
        return x


def nested_players() -> tuple[keras.Model, keras.Model]:
    """Return players whose batch normalisation stands in a model within a model, and in a layer that holds others."""
    layers = keras.layers
    inner = keras.Sequential([keras.Input((16,)), layers.BatchNormalization(), layers.LeakyReLU(0.2)])
    image = [layers.Dense(784, activation="tanh"), layers.Reshape((28, 28, 1))]
    block = Block(layers.Dense(8), layers.BatchNormalization(), layers.LeakyReLU(0.2))
    discriminator = [keras.Input((28, 28, 1)), layers.Flatten(), block, layers.Dense(1)]
    return keras.Sequential([keras.Input((10,)), layers.Dense(16), inner, *image]), keras.Sequential(discriminator)


def flat_players() -> tuple[keras.Model, keras.Model]:
    return models.dcgan_generator(10, (16, 8, 4), 3), models.dcgan_discriminator((4, 8), 0.0, 0.0, True)


def labelled_players() -> tuple[keras.Model, keras.Model]:
    generator, discriminator = models.dcgan_generator(20, (16, 8, 4), 3), flat_players()[1]
    return conditional.conditional_generator(generator, 10), conditional.projection(discriminator, 10)


def spectral_players() -> tuple[keras.Model, keras.Model]:
    return flat_players()[0], models.dcgan_discriminator((4, 8), 0.0, normalization="spectral")


def three_steps(chosen, images, players=flat_players, **options) -> list[list[np.ndarray]]:
    """Return the state and the losses of a GAN after one and after three steps."""
    with chosen.scope():
        keras.utils.set_random_seed(0)
        model = gan.GAN(*players(), ema_decay=0.9)
        model.compile(keras.optimizers.SGD(0.05), keras.optimizers.SGD(0.05), **options)
    labels = np.arange(len(images)) % 10 if model.labelled else None
    batches, states = data.batches(images, 32, seed=0, labels=labels, endless=True), []
    kept = [variable for variable in model.variables if "loss" not in variable.path]  # those of an epoch's means
    for skip, steps in ((0, 1), (1, 2)):
        history = model.fit(devices.distribute(batches.skip(skip), chosen), steps_per_epoch=steps, verbose=0).history
        states.append(arrays(kept) + [np.array(values) for values in history.values()])
    return states


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": losses.least_squares},
        {"critic_steps": 2},
        {"players": nested_players},
        {"players": labelled_players},
        {"players": spectral_players},
    ],
    ids=["non_saturating", "least_squares", "two critic steps", "nested", "labels", "spectral"],
)
def test_two_replicas_take_the_step_of_one(options, images, two):
    """Weights, averages, batch statistics and losses, all of order 1, after one step and after three."""
    one = three_steps(devices.strategy("one"), images, **options)
    mirrored = three_steps(two, images, **options)
    worst = [
        max(np.abs(a - b).max() for a, b in zip(*states, strict=True)) for states in zip(one, mirrored, strict=True)
    ]
    assert 0 <= worst[0] < 1e-6  # float32 rounds by 6e-8
    assert 0 <= worst[1] < 1e-5  # rounding grows from step to step


def test_two_trainings_on_two_devices_in_one_process(images):
    """Each makes its reductions under keys of its own; two strategies would use the same ones for other shapes."""
    for width in (8, 16):
        chosen = devices.strategy("mirrored")
        with chosen.scope():
            model = gan.GAN(models.mlp_generator(10, (width,)), models.mlp_discriminator((width,)))
            model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
        batches = data.batches(images, 32, seed=0, endless=True)
        history = model.fit(devices.distribute(batches, chosen), steps_per_epoch=2, verbose=0).history
        assert np.isfinite(history["loss"]).all()


def noisy_layers() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((50,)), keras.layers.GaussianNoise(1.0), keras.layers.Dropout(0.5)])


def noisy_block() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((50,)), Block(keras.layers.GaussianNoise(1.0), keras.layers.Dropout(0.5))])


def noisy_nested() -> keras.Model:
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((10,)), keras.layers.Dropout(0.5)])
    reshape = [keras.layers.Reshape((5, 10)), keras.layers.TimeDistributed(inner), keras.layers.Flatten()]
    return keras.Sequential([keras.Input((50,)), *reshape])


@pytest.mark.parametrize("build", [noisy_layers, noisy_block, noisy_nested])
def test_replicas_draw_different_noise_and_masks_once_synchronised(build, two):
    """And without the repair the same ones: the check can fail."""
    ones, drawn = tf.ones((4, 50)), {}
    for repaired in (False, True):
        with two.scope():
            noisy = build()
            for _ in range(2 * repaired):  # a network of two GANs is synchronised twice, which changes nothing
                replicas.synchronise(noisy)
        drawn[repaired] = [on_each(two, lambda network=noisy: network(ones, training=True)) for _ in range(2)]
    alone = build()
    assert [np.array_equal(*parts) for parts in drawn[False]] == [True, True]
    assert [np.array_equal(*parts) for parts in drawn[True]] == [False, False]
    first = [parts[0] for parts in drawn[True]]
    assert (first[0] != first[1]).any()
    for mirrored in first:  # the first replica's are one device's
        np.testing.assert_allclose(mirrored, alone(ones, training=True), rtol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_an_overflow_on_any_replica_skips_the_step_on_all(shared, two):
    """And with Keras's own loss scaling the second replica's overflow reaches the weights: the check can fail."""
    found = []
    for overflowing in (0, 1, 2):
        with two.scope():
            weights = keras.Variable(np.ones(3, "float32"))
            kind = replicas.SharedLossScale if shared else keras.optimizers.LossScaleOptimizer
            optimizer = kind(keras.optimizers.SGD(1.0), initial_scale=8.0)
            optimizer.build([weights])

        def step(overflowing=overflowing, optimizer=optimizer, weights=weights):
            scaled = tf.where(replicas.replica()[0] == overflowing, np.inf, 8.0) * tf.ones(3)
            optimizer.apply([scaled], [weights])

        two.run(tf.function(step))
        finite, first = bool(np.isfinite(weights).all()), float(weights.numpy()[0])
        found.append((first if finite else None, float(optimizer.dynamic_scale.numpy())))
    skipped, taken = (1.0, 4.0), (-1.0, 8.0)  # 1 - (8 + 8) / 8
    assert found == [skipped, skipped if shared else (None, 8.0), taken]


@pytest.mark.parametrize("clip", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_clipping_is_refused_with_several_replicas(clip, two):
    """Keras clips before the sum; on one device the same optimizer is welcome."""
    for chosen in (devices.strategy("one"), two):
        with chosen.scope():
            model = gan.GAN(models.mlp_generator(10, (8,)), models.mlp_discriminator((8,)))
            optimizers = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3, **{clip: 1.0})
            if chosen is two:
                with pytest.raises(ValueError, match=f"^{clip} would clip"):
                    model.compile(*optimizers)
            else:
                model.compile(*optimizers)


def test_batch_normalisation_in_a_loop_over_time_is_refused(two):
    """Its statistics would be each replica's own, in silence: they cannot leave the vectorised loop."""
    layers = keras.layers
    with two.scope():
        steps = layers.TimeDistributed(keras.Sequential([keras.Input((4,)), layers.BatchNormalization()]))
        generator = keras.Sequential([keras.Input((8,)), layers.Reshape((2, 4)), steps])
        discriminator = keras.Sequential([keras.Input((2, 4)), layers.Flatten(), layers.Dense(1)])
        with pytest.raises(ValueError, match="holds batch normalisation, which cannot span replicas there"):
            gan.GAN(generator, discriminator)


def test_a_lazy_penalty_is_refused_with_several_replicas(two):
    """What spans the replicas cannot be left out by a branch of the graph."""
    with two.scope():
        model = gan.GAN(models.mlp_generator(10, (8,)), models.mlp_discriminator((8,)))
        optimizers = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)
        with pytest.raises(ValueError, match="a penalty every 4 steps cannot be had on 2 replicas"):
            model.compile(*optimizers, penalties=[(lambda critic, real, fake, seed: 0.0, 1.0, 4)])


def change_of_a_step(chosen, images, precision) -> list[np.ndarray]:
    """Return how far a step of SGD moves both players' weights."""
    with chosen.scope():
        keras.utils.set_random_seed(0)
        players = models.mlp_generator(10, (32,)), models.mlp_discriminator((32,), 0.0)
        model = gan.GAN(*players)
        weights = [variable for player in players for variable in player.trainable_variables]
        before = arrays(weights)
        optimizers = [keras.optimizers.SGD(0.5) for _ in players]
        if precision == "mixed_float16":
            optimizers = [replicas.SharedLossScale(optimizer) for optimizer in optimizers]
        model.compile(*optimizers)
    batches = data.batches(images, 32, seed=0, endless=True)
    model.fit(devices.distribute(batches, chosen), steps_per_epoch=1, verbose=0)
    return [after - old for after, old in zip(arrays(weights), before, strict=True)]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_two_replicas_take_the_step_of_one_in_16_bits(precision, images, two):
    """Both players' weights after a step of SGD, to the rounding of 16 bits, relative to how far the step went."""
    one = change_of_a_step(devices.strategy("one"), images, precision)
    mirrored = change_of_a_step(two, images, precision)
    moved = max(np.abs(change).max() for change in one)
    assert moved > 1e-3
    assert max(np.abs(a - b).max() for a, b in zip(one, mirrored, strict=True)) < 0.03 * moved


def test_every_image_goes_to_one_replica(two):
    """Over an epoch: no image twice, none lost, and each global batch is that of a single device."""
    numbered = np.arange(60, dtype=np.uint8).reshape(60, 1, 1, 1).repeat(28, 1).repeat(28, 2)

    def numbers(batch) -> list[int]:
        return data.to_uint8(batch)[:, 0, 0, 0].tolist()

    keras.utils.set_random_seed(0)
    alone = [numbers(batch) for batch in data.batches(numbered, 20, seed=3)]
    keras.utils.set_random_seed(0)
    shared = iter(devices.distribute(data.batches(numbered, 20, seed=3), two))
    seen = [[numbers(part) for part in two.experimental_local_results(next(shared))] for _ in range(3)]
    assert [first + second for first, second in seen] == alone
    assert sorted(np.ravel(alone)) == list(range(60))


# pictures on the disk


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Make a folder of 400 grey pictures, taken for too large for the memory: 360 to train on, 40 held out."""
    monkeypatch.setenv("GAN_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(prepare, "MAPPED_BYTES", 0)
    (tmp_path / "pictures").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (400, 28, 28), np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number:03d}.png")
    assert isinstance(data.load(tmp_path / "pictures").x_train, np.memmap)
    return tmp_path / "pictures"


def test_two_replicas_get_the_batches_of_one_from_the_disk_too(folder, two):
    mapped = data.load(folder).x_train
    served = {}
    for name, images in (("disk", mapped), ("memory", np.array(mapped))):
        keras.utils.set_random_seed(0)
        shared = iter(devices.distribute(data.batches(images, 32, seed=3, labels=np.arange(360), endless=True), two))
        batches = [tf.nest.map_structure(two.experimental_local_results, next(shared)) for _ in range(13)]
        served[name] = [{key: np.concatenate(parts) for key, parts in batch.items()} for batch in batches]
    keras.utils.set_random_seed(0)
    alone = data.batches(mapped, 32, seed=3, labels=np.arange(360), endless=True).take(13)
    for batches in zip(served["disk"], served["memory"], alone.as_numpy_iterator(), strict=True):
        for one in batches[1:]:
            tf.nest.map_structure(np.testing.assert_array_equal, batches[0], one)
    assert len({*np.ravel([batch["labels"] for batch in served["disk"][:11]])}) == 11 * 32, "an epoch has 11 batches"


def test_two_replicas_take_the_step_of_one_from_the_disk_too(folder, two):
    """As above, and on one device to the bits of images in memory."""
    mapped, one = data.load(folder).x_train, devices.strategy("one")
    alone, in_memory, mirrored = (
        three_steps(chosen, images) for chosen, images in ((one, mapped), (one, np.array(mapped)), (two, mapped))
    )
    for ours, theirs in zip(alone, in_memory, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, ours, theirs)
    worst = [
        max(np.abs(a - b).max() for a, b in zip(*states, strict=True)) for states in zip(alone, mirrored, strict=True)
    ]
    assert 0 <= worst[0] < 1e-6
    assert 0 <= worst[1] < 1e-5


def test_two_replicas_are_scored_as_one_while_they_train_from_the_disk(folder, tmp_path):
    """Before the training to the digit, after it to the rounding that Adam makes more of."""
    asked = {"dataset": str(folder), "model": "mlp", "epochs": 2, "batch_size": 90, "precision": "float32"}
    found = {}
    for chosen in ("one", "mirrored"):
        settings = recipe.Settings(devices=chosen, **asked)
        runs.train(tmp_path / chosen, settings, evaluate_every=4, build=small.build)
        found[chosen] = read_csv(tmp_path / chosen / "scores.csv")
        del found[chosen]["seconds"]
    one, mirrored = found.values()
    assert one["step"] == [0, 4, 8]
    assert list(one) == list(mirrored)
    for name, column in one.items():
        np.testing.assert_array_equal(column[0], mirrored[name][0], name)
        np.testing.assert_allclose(column, mirrored[name], rtol=1e-3, atol=1e-4, err_msg=name)
    assert one["frechet_distance"][0] != one["frechet_distance"][-1]


def test_one_device_needs_no_strategy():
    chosen = devices.strategy("one")
    assert (chosen.num_replicas_in_sync, devices.is_chief(chosen), replicas.several_workers(chosen)) == (1, True, False)
    assert devices.distribute(batches := tf.data.Dataset.range(3), chosen) is batches
    x = tf.constant([1.0, 2.0])
    assert replicas.mean_over_replicas(x) is x


def test_a_batch_of_images_and_labels_is_cut_alike(two):
    numbers = tf.data.Dataset.range(8).map(lambda n: {"images": tf.stack([n, n]), "labels": 10 * n})
    (batch,) = devices.distribute(numbers.batch(8, drop_remainder=True), two)
    parts = {name: two.experimental_local_results(values) for name, values in batch.items()}
    assert [part.numpy().tolist() for part in parts["labels"]] == [[0, 10, 20, 30], [40, 50, 60, 70]]
    for images, labels in zip(parts["images"], parts["labels"], strict=True):
        np.testing.assert_array_equal(10 * images[:, 0], labels)


@pytest.mark.parametrize(
    ("kind", "message", "lost"),
    [
        ("UnavailableError", "Collective ops is aborted by: recvmsg:Connection reset by peer", True),
        ("AbortedError", "", True),
        ("InternalError", "Collective ops is aborted by: failed to connect to all addresses", True),
        ("CancelledError", "[_Derived_]Collective operation was cancelled", True),
        ("InternalError", "Blas GEMM launch failed", False),
        ("ResourceExhaustedError", "Collective ops is aborted by: OOM when allocating tensor", False),
        ("InvalidArgumentError", "Incompatible shapes: [3] vs. [4]", False),
    ],
)
def test_only_a_lost_worker_is_called_lost(monkeypatch, kind, message, lost):
    """A worker that has no memory left, or a bad shape, says so; on one machine nobody can be lost."""
    raised = getattr(tf.errors, kind)(None, None, message)
    for several in (True, False):
        monkeypatch.setattr(replicas, "several_workers", lambda strategy, several=several: several)
        expected = devices.LostWorkerError if lost and several else type(raised)
        with pytest.raises(expected) as error, devices.lost_workers_named(devices.strategy("one")):
            raise raised
        assert error.type is expected


# several processes

COMMAND = ["train", "--dataset", "digits", "--epochs", "2", "--batch-size", "300", "--model", "mlp"]
COMMAND += ["--devices", "multiworker", "--checkpoint-every", "2"]
HANG = 300  # seconds; a worker takes a tenth of it on a busy machine, and one that hangs is a red test

# The command, in a process that kills itself after its seventh step, in the second epoch: neither Python nor TensorFlow
# can do anything about it. From outside a kill would come whenever the machine gets round to it.
KILLED_AT_STEP_7 = """
import itertools, os, signal
import keras
from gan_tf.__main__ import main

def count(batch, logs, steps=itertools.count(1)):
    if next(steps) == 7:
        os.kill(os.getpid(), signal.SIGKILL)

fit = keras.Model.fit
killer = keras.callbacks.LambdaCallback(on_train_batch_end=count)
keras.Model.fit = lambda *args, callbacks, **named: fit(*args, callbacks=[*callbacks, killer], **named)
main()
"""


def held_port(port: int = 0) -> socket.socket:
    """Take a port of 127.0.0.1 that nobody has (0: any) and keep it for the worker that is told of it.

    The worker can listen there all the same: like this socket, those of gRPC set SO_REUSEADDR. Nobody else is given it.
    """
    held = socket.socket()
    try:
        held.bind(("127.0.0.1", port))
    except OSError:
        held.close()
        raise
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after bind: two of these cannot share a port
    return held


def held_ports_of_a_job(count: int) -> tuple[int, list[socket.socket]]:
    """Return the number of a Slurm job all of whose ports nobody has, and these."""
    for job in itertools.count(os.getpid()):
        held = []
        try:
            for worker in range(count):
                held.append(held_port(20_000 + job % 1_000 * 10 + worker))
            return job, held
        except OSError:
            for port in held:
                port.close()


def told_by_tf_config(count: int) -> tuple[list[dict], list[socket.socket]]:
    """Return each worker's environment, and the ports that are held for them."""
    held = [held_port() for _ in range(count)]
    cluster = {"worker": [f"127.0.0.1:{port.getsockname()[1]}" for port in held]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in range(count)]
    return [{"TF_CONFIG": json.dumps(task)} for task in tasks], held


def told_by_slurm(count: int) -> tuple[list[dict], list[socket.socket]]:
    """Return the environment of each task of a step on this machine, and the ports that are held for them.

    There are no GPUs, and TensorFlow's own resolver would look for nvidia-smi.
    """
    job, held = held_ports_of_a_job(count)
    step = {"STEP_NUM_TASKS": count, "STEP_NODELIST": "localhost", "STEP_TASKS_PER_NODE": count, "JOB_ID": job}
    tasks = [step | {"PROCID": index} for index in range(count)]
    return [{f"SLURM_{name}": str(value) for name, value in task.items()} for task in tasks], held


def work(told, folder, *more: str, killed: int | None = None) -> list[tuple[int, str]]:
    """Run the command in several processes at once, and return each one's exit code and last line on standard error.

    Args:
        told: what tells the workers of each other: environments and held ports.
        folder: of the run.
        more: further arguments.
        killed: the worker that dies after its seventh step, if any.
    """
    environments, held = told
    others = {name: value for name, value in os.environ.items() if not name.startswith(("TF_CONFIG", "SLURM_"))}
    processes = []
    try:
        for index, environment in enumerate(environments):
            program = ["-c", KILLED_AT_STEP_7] if index == killed else ["-m", "gan_tf"]
            command = [sys.executable, *program, *COMMAND, *more, str(folder)]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            processes.append(subprocess.Popen(command, env=others | environment, **pipes))
        errors = [process.communicate(timeout=HANG)[1].strip() for process in processes]
    finally:
        for process in processes:
            process.kill()  # one that has ended already is not there to be killed
        for port in held:
            port.close()
    lines = [error.splitlines()[-1] if error else "" for error in errors]
    return [(process.returncode, line) for process, line in zip(processes, lines, strict=True)]


def history(folder) -> list[dict[str, str]]:
    with open(folder / "history.csv", newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """A run of two workers that nobody disturbed: 2 epochs of 5 steps. Slurm names them; all the others, TF_CONFIG."""
    folder = tmp_path_factory.mktemp("workers") / "run"
    assert [code for code, _ in work(told_by_slurm(2), folder)] == [0, 0]
    return folder


def test_two_workers_make_a_run_like_any_other(two_workers):
    names = {path.name for path in two_workers.iterdir() if not path.name.startswith(".")}
    assert {"config.json", "history.csv", "checkpoints", "frames", "progress.gif", "generator.keras"} <= names
    config = json.loads((two_workers / "config.json").read_text(encoding="utf-8"))
    assert (config["replicas"], config["settings"]["devices"]) == (2, "multiworker")
    assert [row["images"] for row in history(two_workers)] == ["1500", "3000"]
    assert not list(two_workers.rglob("*.partial*"))


def test_a_lost_worker_ends_the_others_and_the_run_continues_to_the_same_bits(two_workers, tmp_path):
    """Those of workers that Slurm named, which none of these here knows of."""
    folder = tmp_path / "run"
    (code, line), (killed_code, _) = work(told_by_tf_config(2), folder, killed=1)
    assert killed_code == -signal.SIGKILL
    assert code == 1
    assert line.startswith("gan_tf: another worker is gone")
    assert kills.checkpoints(folder)[-1].stem == "000000006"  # nobody had an eighth step
    assert not (folder / "generator.keras").exists()
    assert [code for code, _ in work(told_by_tf_config(2), folder)] == [0, 0]
    assert kills.differences(two_workers, folder) == []


def test_three_workers(tmp_path):
    ends = work(told_by_tf_config(3), tmp_path / "run", "--epochs", "1")
    assert [code for code, _ in ends] == [0, 0, 0]
    assert [row["images"] for row in history(tmp_path / "run")] == ["1500"]


def test_another_number_of_replicas_is_refused(two_workers, tmp_path, capsys):
    """Those of this process stand for workers: who is refused is refused before anybody waits for anybody."""
    folder = shutil.copytree(two_workers, tmp_path / "run")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["settings"]["devices"] = "mirrored"
    settings = recipe.Settings(**config["settings"])
    (folder / "config.json").write_text(json.dumps(config | {"replicas": 3}), encoding="utf-8")
    with pytest.raises(runs.RunError, match=r"holds another run \(replicas: 3 there, 2 here\)"):
        runs.train(folder, settings)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")  # 2 there
    runs.train(folder, settings)
    assert "is finished already" in capsys.readouterr().out


def test_a_port_is_held_for_its_worker_and_for_nobody_else():
    with held_port() as held, socket.socket() as worker, socket.socket() as somebody:
        address = held.getsockname()
        with pytest.raises(OSError, match="in use"):
            held_port(address[1])
        with pytest.raises(OSError, match="in use"):
            somebody.bind(address)
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        worker.bind(address)
        worker.listen()
        with socket.create_connection(address, timeout=HANG):
            worker.accept()[0].close()


def test_a_slurm_step_that_makes_no_sense_is_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setenv("SLURM_PROCID", "0")
    step = {"STEP_NUM_TASKS": "2", "STEP_NODELIST": "a[1", "STEP_TASKS_PER_NODE": "1(x2)"}
    for missing in step:
        for name, value in step.items():
            monkeypatch.setenv(f"SLURM_{name}", value)
        monkeypatch.delenv(f"SLURM_{missing}")
        with pytest.raises(ValueError, match="Slurm's environment names no cluster"):
            devices.strategy("multiworker")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "1(x2)")
    with pytest.raises(ValueError, match=r"Slurm's environment names no cluster.*a\[1"):
        devices.strategy("multiworker")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        "{}",
        '{"cluster": {}}',
        '{"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": -1}}',
        '{"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "worker", "index": "0"}}',
        '{"cluster": {"worker": ["127.0.0.1:1"]}, "task": {"type": "boss", "index": 0}}',
        '{"cluster": {"worker": ["127.0.0.1:1"]}}',
        '{"cluster": {"worker": ["127.0.0.1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["127.0.0.1:99999"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": "127.0.0.1:1"}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": [7]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": ["127.0.0.1:1"], "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"ps": ["127.0.0.1:1"]}, "task": {"type": "ps", "index": 0}}',
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused(value, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(ValueError, match="TF_CONFIG"):
        devices.strategy("multiworker")


def test_workers_must_be_named(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    with pytest.raises(ValueError, match="needs TF_CONFIG"):
        devices.strategy("multiworker")
