"""Several replicas compute what one does: on two devices of one process, and as two and three processes on loopback."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import kills
import numpy as np
import pytest
import tensorflow as tf

from gan_tf import devices, losses

TWO_DEVICES = """
import json, sys
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras
import numpy as np
from gan_tf import data, devices, gan, losses, models
"""


def in_two_devices(code: str):
    """Run code in a process with two logical CPU devices and return the last line that it prints, from JSON."""
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES + code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("loss", ["non_saturating", "least_squares"])
def test_two_replicas_take_the_step_of_one(loss):
    """Weights, averages and batch statistics after one and after three steps, relative to the largest of each."""
    worst = in_two_devices(f"""
images = data.load("digits").x_train
states = {{}}
for name in ("one", "mirrored"):
    chosen = devices.strategy(name)
    with chosen.scope():
        keras.utils.set_random_seed(0)
        players = models.dcgan_generator(10, 4, 3), models.dcgan_discriminator((4, 8), 0.0, 0.0, True)
        model = gan.GAN(*players, average_decay=0.9)
        model.compile(keras.optimizers.SGD(0.05), keras.optimizers.SGD(0.05), loss=losses.{loss})
    batches = data.batches(images, 32, seed=0, endless=True)
    for steps in (1, 3):
        shared = devices.share(batches.skip(0 if steps == 1 else 1), chosen)
        history = model.fit(shared, steps_per_epoch=1 if steps == 1 else 2, verbose=0).history
        states[name, steps] = [keras.ops.convert_to_numpy(variable) for variable in model.variables[:-6]]
        states[name, steps] += [np.array(values) for values in history.values()]
worst = [
    max(np.abs(a - b).max() / (np.abs(a).max() + 1e-9) for a, b in zip(states["one", s], states["mirrored", s]))
    for s in (1, 3)
]
print(json.dumps([chosen.num_replicas_in_sync, *map(float, worst)]))
""")
    assert worst[0] == 2
    assert 0 <= worst[1] < 1e-5
    assert 0 <= worst[2] < 1e-4  # rounding grows from step to step


def test_two_trainings_on_two_devices_in_one_process():
    """Each makes its reductions under keys of its own; two strategies would use the same ones for other shapes."""
    found = in_two_devices("""
for width in (8, 16):
    chosen = devices.strategy("mirrored")
    with chosen.scope():
        model = gan.GAN(models.mlp_generator(10, (width,)), models.mlp_discriminator((width,)))
        model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
    batches = data.batches(data.load("digits").x_train, 32, seed=0, endless=True)
    history = model.fit(devices.share(batches, chosen), steps_per_epoch=2, verbose=0).history
print(json.dumps(bool(np.isfinite(history["loss"]).all())))
""")
    assert found is True


def test_replicas_draw_different_noise_and_masks_once_adapted():
    """And without the repair the same ones: the check can fail."""
    found = in_two_devices("""
chosen = devices.strategy("mirrored")
found = {}
for repaired in (False, True):
    with chosen.scope():
        keras.utils.set_random_seed(0)
        noisy = keras.Sequential([keras.Input((50,)), keras.layers.GaussianNoise(1.0), keras.layers.Dropout(0.5)])
        if repaired:
            devices.adapt(noisy)
    for draw in range(2):
        outputs = chosen.run(tf.function(lambda: noisy(tf.ones((4, 50)), training=True)))
        first, second = (part.numpy() for part in chosen.experimental_local_results(outputs))
        found[f"{repaired} {draw}"] = [bool((first == second).all()), float(first.sum())]
keras.utils.set_random_seed(0)
alone = keras.Sequential([keras.Input((50,)), keras.layers.GaussianNoise(1.0), keras.layers.Dropout(0.5)])
found["alone"] = [float(alone(tf.ones((4, 50)), training=True).numpy().sum()) for _ in range(2)]
print(json.dumps(found))
""")
    assert [found[f"False {draw}"][0] for draw in range(2)] == [True, True]
    assert [found[f"True {draw}"][0] for draw in range(2)] == [False, False]
    assert found["True 0"][1] != found["True 1"][1]
    assert [found[f"True {draw}"][1] for draw in range(2)] == found["alone"]  # the first replica's are one device's


def test_an_overflow_on_any_replica_skips_the_step_on_all():
    """And with Keras's own loss scaling the second replica's overflow reaches the weights: the check can fail."""
    found = in_two_devices("""
chosen = devices.strategy("mirrored")
found = []
for kind in (keras.optimizers.LossScaleOptimizer, devices.SharedLossScale):
    for overflowing in (0, 1, 2):
        with chosen.scope():
            weights = keras.Variable(np.ones(3, "float32"))
            optimizer = kind(keras.optimizers.SGD(1.0), initial_scale=8.0)
            optimizer.build([weights])

        @tf.function
        def step():
            scaled = tf.where(devices.replica()[0] == overflowing, np.inf, 8.0) * tf.ones(3)
            optimizer.apply([scaled], [weights])

        chosen.run(step)
        finite, first = bool(np.isfinite(weights).all()), float(weights.numpy()[0])
        found.append([finite, first if finite else None, float(optimizer.dynamic_scale.numpy())])
print(json.dumps(found))
""")
    skipped, taken = [True, 1.0, 4.0], [True, -1.0, 8.0]  # 1 - (8 + 8) / 8
    assert found == [skipped, [False, None, 8.0], taken, skipped, skipped, taken]


def test_clipping_is_refused_with_several_replicas():
    """Keras clips before the sum; on one device the same optimizer is welcome."""
    found = in_two_devices("""
found = []
for name in ("one", "mirrored"):
    for clip in ({"clipnorm": 1.0}, {"clipvalue": 1.0}, {"global_clipnorm": 1.0}):
        with devices.strategy(name).scope():
            model = gan.GAN(models.mlp_generator(10, (8,)), models.mlp_discriminator((8,)))
            try:
                model.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3, **clip))
                found.append("")
            except ValueError as error:
                found.append(str(error).split()[0])
print(json.dumps(found))
""")
    assert found == ["", "", "", "clipnorm", "clipvalue", "global_clipnorm"]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_two_replicas_take_the_step_of_one_in_16_bits(precision):
    """Both players' weights after a step of SGD, to the rounding of 16 bits, relative to how far the step went."""
    worst = in_two_devices(f"""
images = data.load("digits").x_train
states = {{}}
for name in ("one", "mirrored"):
    chosen = devices.strategy(name)
    with chosen.scope():
        keras.utils.set_random_seed(0)
        keras.mixed_precision.set_dtype_policy("{precision}")
        players = models.mlp_generator(10, (32,)), models.mlp_discriminator((32,), 0.0)
        model = gan.GAN(*players)
        before = [keras.ops.convert_to_numpy(v) for player in players for v in player.trainable_variables]
        optimizers = [keras.optimizers.SGD(0.5) for _ in players]
        if "{precision}" == "mixed_float16":
            optimizers = [devices.SharedLossScale(optimizer) for optimizer in optimizers]
        model.compile(*optimizers)
    model.fit(devices.share(data.batches(images, 32, seed=0, endless=True), chosen), steps_per_epoch=1, verbose=0)
    after = [keras.ops.convert_to_numpy(v) for player in players for v in player.trainable_variables]
    states[name] = [b - a for a, b in zip(before, after)]
pairs = list(zip(states["one"], states["mirrored"]))
moved = max(float(np.abs(a).max()) for a, _ in pairs)
print(json.dumps([moved, max(float(np.abs(a - b).max()) for a, b in pairs)]))
""")
    assert worst[0] > 1e-3
    assert worst[1] < 0.03 * worst[0]


def test_every_image_goes_to_one_replica():
    """Over an epoch: no image twice, none lost, and each global batch is that of a single device."""
    seen, alone = in_two_devices("""
images = np.arange(60, dtype=np.uint8).reshape(60, 1, 1, 1).repeat(28, 1).repeat(28, 2)
chosen = devices.strategy("mirrored")
number = lambda batch: data.to_uint8(batch)[:, 0, 0, 0].tolist()
keras.utils.set_random_seed(0)
alone = [number(batch) for batch in data.batches(images, 20, seed=3)]
keras.utils.set_random_seed(0)
shared = iter(devices.share(data.batches(images, 20, seed=3), chosen))
seen = [[number(part) for part in chosen.experimental_local_results(next(shared))] for _ in range(3)]
print(json.dumps([seen, alone]))
""")
    assert [first + second for first, second in seen] == alone
    assert sorted(np.ravel(alone)) == list(range(60))


def test_one_device_needs_no_strategy():
    chosen = devices.strategy("one")
    assert (chosen.num_replicas_in_sync, devices.is_chief(chosen), devices.several_workers(chosen)) == (1, True, False)
    assert devices.share(batches := tf.data.Dataset.range(3), chosen) is batches
    assert losses.minimax.share(1) is losses.minimax
    x = tf.constant([1.0, 2.0])
    assert devices.mean_over_replicas(x) is x


# several processes


class Workers:
    """The same command in several processes on loopback, each with its own TF_CONFIG, or as Slurm starts them."""

    def __init__(self, count: int, folder, *arguments, slurm: bool = False):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
        addresses = [f"127.0.0.1:{first + 1 + i}" for i in range(count)]
        step = {"SLURM_STEP_NUM_TASKS": count, "SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_TASKS_PER_NODE": count}
        command = [sys.executable, "-m", "gan_tf", "train", str(folder), "--dataset", "digits", "--model", "mlp"]
        command += ["--batch-size", "300", "--devices", "multiworker", *map(str, arguments)]
        self.processes = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
            for i in range(count)
            for cluster in [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}}]
            for named in [step | {"SLURM_JOB_ID": first, "SLURM_PROCID": i}]
            for told in [{k: str(v) for k, v in named.items()} if slurm else {"TF_CONFIG": json.dumps(cluster)}]
            for environment in [os.environ | told]
        ]

    def finish(self, seconds: float = 200) -> list[tuple[int, str]]:
        """Return each one's exit code and last line on standard error."""
        ends = []
        for process in self.processes:
            error = process.communicate(timeout=seconds)[1].strip()
            ends.append((process.returncode, error.splitlines()[-1] if error else ""))
        return ends


def history(folder) -> list[dict[str, str]]:
    with open(folder / "history.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """A run of two workers that nobody disturbed: 4 epochs of 5 steps."""
    folder = tmp_path_factory.mktemp("workers") / "run"
    assert [code for code, _ in Workers(2, folder, "--epochs", 4).finish()] == [0, 0]
    return folder


def test_two_workers_make_a_run_like_any_other(two_workers):
    names = {path.name for path in two_workers.iterdir() if not path.name.startswith(".")}
    assert {"config.json", "history.csv", "checkpoints", "frames", "progress.gif", "generator.keras"} <= names
    config = json.loads((two_workers / "config.json").read_text())
    assert (config["replicas"], config["settings"]["devices"]) == (2, "multiworker")
    assert [row["images"] for row in history(two_workers)] == ["1500", "3000", "4500", "6000"]
    assert not list(two_workers.rglob("*.partial*"))


def test_a_lost_worker_ends_the_others_and_the_run_continues_to_the_same_bits(two_workers, tmp_path):
    folder = tmp_path / "run"
    workers = Workers(2, folder, "--epochs", 4, "--checkpoint-every", 1)
    while not (folder / "checkpoints" / "000000007.npz").exists():
        assert workers.processes[0].poll() is None
        time.sleep(0.02)
    workers.processes[1].send_signal(signal.SIGKILL)
    killed = time.perf_counter()
    (code, line), (killed_code, _) = workers.finish(60)
    assert time.perf_counter() - killed < 30
    assert killed_code == -signal.SIGKILL
    assert code == 1
    assert line.startswith("gan_tf: another worker is gone")
    assert not (folder / "generator.keras").exists()
    assert [code for code, _ in Workers(2, folder, "--epochs", 4, "--checkpoint-every", 1).finish()] == [0, 0]
    assert kills.differences(two_workers, folder) == []


def test_three_workers(tmp_path):
    assert [code for code, _ in Workers(3, tmp_path / "run", "--epochs", 1).finish()] == [0, 0, 0]
    assert [row["images"] for row in history(tmp_path / "run")] == ["1500"]


def test_slurm_names_the_workers(two_workers, tmp_path):
    """Two tasks of one step on one machine without GPUs, where TensorFlow's own resolver looks for nvidia-smi."""
    assert [code for code, _ in Workers(2, tmp_path / "run", "--epochs", 4, slurm=True).finish()] == [0, 0]
    assert kills.differences(two_workers, tmp_path / "run") == []


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


def test_another_number_of_workers_is_refused(two_workers, tmp_path):
    folder = shutil.copytree(two_workers, tmp_path / "run")
    (folder / "generator.keras").unlink()
    ends = Workers(3, folder, "--epochs", 4).finish()
    assert [code for code, _ in ends] == [1, 1, 1]
    assert all("replicas: 2 there, 3 here" in line for _, line in ends)


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
