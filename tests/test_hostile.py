"""Files, values and surroundings that are broken, careless or meant to do harm.

Whatever it is: exit code 1 or 2, one line that says what to do, no traceback, no file harmed, no code run, no hang.
"""

import contextlib
import hashlib
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from functools import partial

import h5py
import keras
import numpy as np
import pytest
import small
from conftest import SETTINGS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gan_tf import __main__ as command_line
from gan_tf import evaluator, files, gan, models, runs, untrusted
from gan_tf.runs import checkpoints, devices, recipe
from gan_tf.runs.folder import read_config

TRAIN = ("--dataset", "digits", "--epochs", "2", "--batch-size", "250", "--model", "mlp")  # those of `finished`
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def run(copy, monkeypatch):
    """A finished run; whoever trains there, the command line too, builds the small GAN that it began with."""
    monkeypatch.setattr(runs, "train", partial(runs.train, build=small.build))
    return copy


def contents(folder) -> dict:
    """What is in a folder, links included; the lock's times aside."""
    return {
        path.relative_to(folder): os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).digest()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def refusal(capfd, *arguments) -> str:
    """Run a command, check that it is refused as it should be, and return the line."""
    capfd.readouterr()
    try:
        code = command_line.main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    out, error = capfd.readouterr()
    lines = [line for line in error.splitlines() if line and not line.startswith(("usage:", " "))]
    assert code in (1, 2), (code, out, error)
    assert len(lines) == 1, error
    assert "Traceback" not in error
    return lines[0]


@contextlib.contextmanager
def little_memory():
    """Hold Python and NumPy to 100 MB: what would unpack to gigabytes is refused before it is unpacked."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


# config.json

WRONG = [None, True, 0, -1, 1.5, float("nan"), float("inf"), 1e300, -1e300, 10**40, "", "x", "mnist\n", [], {}, [[]]]


@pytest.mark.parametrize("field", ["dataset", "epochs", "batch_size", "seed", "model", "loss", "precision", "devices"])
def test_settings_in_a_config(run, field, capfd):
    """Each wrong value in each field: named as damage, or as another run than is asked for."""
    original = json.loads((run / "config.json").read_text(encoding="utf-8"))
    for value in WRONG:
        config = json.loads(json.dumps(original))
        if config["settings"][field] == value or (field == "epochs" and value is None):
            continue
        config["settings"][field] = value
        (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
        before = contents(run)
        line = refusal(capfd, "train", run, *TRAIN)
        assert "config.json is damaged" in line or f"holds another run ({field}: " in line, (value, line)
        assert contents(run) == before


@pytest.mark.parametrize("key", ["settings", "dataset_sha256", "versions", "replicas"])
def test_parts_of_a_config(run, key, capfd):
    original = json.loads((run / "config.json").read_text(encoding="utf-8"))
    (run / "generator.keras").unlink()  # a run that could be continued
    for value in (None, 3, "x", [], {}, [{}], {"gan_tf": 5}):
        (run / "config.json").write_text(json.dumps({**original, key: value}), encoding="utf-8")
        line = refusal(capfd, "train", run, *TRAIN)
        assert "config.json is damaged" in line or "another run" in line, (value, line)
    (run / "config.json").write_text(json.dumps({k: v for k, v in original.items() if k != key}), encoding="utf-8")
    refusal(capfd, "train", run, *TRAIN)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"\xff\xfe", b"[" * 100_000, b"{}", b"null", b"NaN", b'{"settings": ' + b"[" * 5000, b" " * 2_000_000],
    ids=["empty", "zero", "utf16", "deep", "object", "null", "nan", "deep-settings", "large"],
)
def test_other_bytes_in_a_config(run, content, capfd):
    (run / "config.json").write_bytes(content)
    for command in (("train", run, *TRAIN), ("evaluate", run)):
        assert "config.json is damaged" in refusal(capfd, *command)


@QUICK
@given(data=st.data())
def test_a_config_cut_or_changed_anywhere(finished, tmp_path_factory, data):
    content = bytearray((finished / "config.json").read_bytes())
    folder = tmp_path_factory.mktemp("config")
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 3))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "config.json").write_bytes(content)
    try:
        found = read_config(folder)
    except runs.RunError as error:
        found = str(error)
    assert isinstance(found, dict) or (found.startswith(str(folder)) and "\n" not in found)


def test_other_versions_are_refused_by_name_where_there_is_something_to_continue(run, capfd):
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config["versions"]["tensorflow"] = "2.99.0"
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert command_line.main(["train", str(run), *TRAIN]) == 0
    assert "is finished already" in capfd.readouterr().out
    (run / "generator.keras").unlink()
    assert "tensorflow: 2.99.0 there" in refusal(capfd, "train", run, *TRAIN)


# generator.keras


def repacked(path, change, packing=zipfile.ZIP_STORED) -> None:
    """Let `change` edit the dictionary of an archive's members, and write it back as Keras does, not packed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", packing, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def edited_config(edit):
    def change(members):
        config = json.loads(members["config.json"])
        edit(config)
        members["config.json"] = json.dumps(config).encode()

    return change


def layer(config) -> dict:
    return config["config"]["layers"][1]


def edited_weights(edit):
    def change(members):
        file = io.BytesIO(members["model.weights.h5"])
        with h5py.File(file, "r+") as weights:
            edit(weights)
        members["model.weights.h5"] = file.getvalue()

    return change


def bomb(weights) -> None:
    """A dataset of 8 GB that takes a few kB."""
    weights.create_dataset("bomb", (1 << 30,), "f8", chunks=(1 << 20,), compression="gzip", fillvalue=0)


BAD_ARCHIVES = {
    "a Lambda layer": edited_config(lambda c: layer(c).update(class_name="Lambda")),
    "a class of another module": edited_config(lambda c: layer(c).update(module="os", class_name="system")),
    "a class of a module that is not there": edited_config(lambda c: layer(c).update(module="evil", class_name="Evil")),
    "an unknown class": edited_config(lambda c: layer(c).update(class_name="Evil", registered_name="Evil")),
    "a function": edited_config(
        lambda c: layer(c)["config"].update(activation={"module": "os", "class_name": "function", "config": "system"})
    ),
    "a nested stranger": edited_config(
        lambda c: layer(c)["config"].update(
            kernel_initializer={"module": "builtins", "class_name": "eval", "config": {}}
        )
    ),
    "a layer of a million units": edited_config(lambda c: layer(c)["config"].update(units=10**12)),
    "a negative size": edited_config(lambda c: layer(c)["config"].update(units=-1)),
    "no layers": edited_config(lambda c: c["config"].update(layers=[])),
    "config of another kind": lambda members: members.update({"config.json": b"[]"}),
    "config that is no JSON": lambda members: members.update({"config.json": b"{"}),
    "deep config": lambda members: members.update({"config.json": b"[" * 100_000}),
    "a member above the folder": lambda members: members.update({"../../evil.py": b"x"}),
    "an absolute member": lambda members: members.update({"/tmp/evil.py": b"x"}),
    "no weights": lambda members: members.pop("model.weights.h5"),
    "empty weights": lambda members: members.update({"model.weights.h5": b""}),
    "weights that are no HDF5": lambda members: members.update({"model.weights.h5": b"x" * 1000}),
    "a dataset of eight gigabytes": edited_weights(bomb),
    "a link to another file": edited_weights(lambda w: w.update({"away": h5py.ExternalLink("/etc/passwd", "/")})),
    "a link within": edited_weights(lambda w: w.update({"loop": h5py.SoftLink("/")})),
    "data kept in another file": edited_weights(
        lambda w: w.create_dataset("away", (10,), "u1", external=[("/etc/passwd", 0, 10)])
    ),
    "weights of another shape": edited_weights(lambda w: [w.pop(name) for name in list(w)]),
}


@pytest.mark.parametrize("change", BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_generators_that_do_harm(run, change, capfd):
    repacked(run / "generator.keras", change)
    before = contents(run)
    with little_memory():
        line = refusal(capfd, "sample", run, "--count", 1, "--out", run.parent / "out.png")
    assert "generator.keras cannot be loaded" in line
    assert contents(run) == before
    assert not (run.parent / "out.png").exists()


@pytest.mark.parametrize("name", ["a Lambda layer", "a class of another module", "a function", "a nested stranger"])
def test_strangers_are_refused_before_keras_sees_them(run, name, monkeypatch):
    """Its safe mode refuses them, too, but has had holes: older versions could be made to run code."""
    repacked(run / "generator.keras", BAD_ARCHIVES[name])
    for asked in ("deserialize_keras_object", "load_model"):
        monkeypatch.setattr(keras.saving, asked, lambda *_, **__: pytest.fail("Keras was asked"))
    with pytest.raises(runs.RunError, match="is none of this package's kinds of layers"):
        runs.load_generator(run)


def test_a_model_of_terabytes_is_refused_and_leaves_nothing_behind_for_keras_to_make(tmp_path):
    """Its weights are counted and not made; the next scope that makes what is waiting would make them."""
    path = tmp_path / "generator.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(path)
    repacked(path, edited_config(lambda config: layer(config)["config"].update(units=10**12)))
    with little_memory():
        with pytest.raises(ValueError, match="its weights would take 16,000,000,000,000 bytes"):
            untrusted.load_model(path)
        with keras.StatelessScope():
            keras.layers.Dense(1).build((None, 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config.json", "model.weights.h5"])
def test_zeros_that_unpack_to_a_gigabyte(run, name, capfd):
    """A few megabytes on disk, which state the size, and then another."""
    path = run / "generator.keras"
    repacked(path, lambda members: members.update({name: bytes(1 << 30)}), zipfile.ZIP_DEFLATED)
    honest = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        packed = archive.getinfo(name).compress_size.to_bytes(4, "little")  # stands before the size, in both headers
    assert honest.count(packed + (1 << 30).to_bytes(4, "little")) == 2
    lying = honest.replace(packed + (1 << 30).to_bytes(4, "little"), packed + (10).to_bytes(4, "little"))
    for content in (honest, lying):
        path.write_bytes(content)
        with little_memory():
            assert "is packed" in refusal(capfd, "sample", run, "--count", 1, "--out", run.parent / "out.png")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.9, 0.99, 0.9999])
def test_a_generator_cut_short(run, share, capfd):
    content = (run / "generator.keras").read_bytes()
    (run / "generator.keras").write_bytes(content[: int(share * len(content))])
    assert "cannot be loaded" in refusal(capfd, "sample", run, "--out", run.parent / "out.png")
    assert "cannot be loaded" in refusal(capfd, "evaluate", run)


def test_the_guard_lets_this_package_s_models_through(tmp_path):
    for number, model in enumerate(
        [
            models.dcgan_generator(8, (8, 4, 2), 3),
            models.dcgan_discriminator((4, 8, 8), 0.3, 0.2, True),
            models.mlp_generator(8, (4,)),
            models.mlp_discriminator(widths=(4,)),
        ]
    ):
        model.save(tmp_path / f"{number}.keras")
        again = untrusted.load_model(tmp_path / f"{number}.keras")
        for mine, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert evaluator.Evaluator().name == "digit-classifier"


# checkpoints


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small GAN, its config, and the bytes of a good checkpoint of step 3."""
    keras.utils.set_random_seed(0)
    model = gan.GAN(models.mlp_generator(2, (2,)), models.mlp_discriminator(widths=(2,)))
    model.compile(keras.optimizers.Adam(), keras.optimizers.Adam())
    config = {
        "settings": {},
        "build": "",
        "replicas": 1,
        "dataset_sha256": "",
        "versions": {"gan_tf": "", "tensorflow": "", "keras": ""},
    }
    records = {"losses.step": np.arange(1, 4), "losses.seconds": np.ones(3), "losses.generator_loss": np.zeros(3)}
    folder = tmp_path_factory.mktemp("tiny")
    checkpoints.save(folder, model, 3, records | {"run.config": np.array(json.dumps(config))})
    return model, config, (folder / "000000003.npz").read_bytes()


def restored(tmp_path, tiny, content: bytes, name="000000003.npz"):
    model, config, _ = tiny
    shutil.rmtree(tmp_path / "checkpoints", ignore_errors=True)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / name).write_bytes(content)
    return checkpoints.restore(tmp_path / "checkpoints", model, config)


def test_a_good_checkpoint_is_restored(tmp_path, tiny):
    assert restored(tmp_path, tiny, tiny[2])["losses.generator_loss"].shape == (3,)
    assert restored(tmp_path, tiny, tiny[2], "notes.npz") is None  # not a checkpoint's name
    with pytest.raises(runs.RunError, match="every checkpoint"):
        restored(tmp_path, tiny, tiny[2], "000000004.npz")  # of another step than its name says


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_checkpoint_cut_or_changed_anywhere(tmp_path, tiny, data):
    """It is refused, or it was harmless: then all variables are what they were."""
    content = bytearray(tiny[2])
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 5))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    before = [variable.numpy() for variable in tiny[0].variables]
    with contextlib.suppress(runs.RunError):
        restored(tmp_path, tiny, bytes(content))
    for variable, value in zip(tiny[0].variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def arrays_of(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content)) as archive:
        return {name: archive[name] for name in archive.files}


def packed(arrays) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "extra",
    [
        {"losses.step": np.zeros(0)},
        {"losses.step": np.array(3)},
        {"losses.step": np.arange(2, 4)},
        {"losses.step": np.array([[1], [2], [3]])},
        {"losses.generator_loss": np.zeros(2)},
        {"losses.generator_loss": np.zeros((3, 1))},
        {"losses.generator_loss": np.array([None] * 3)},
        {"losses.seconds": np.array([0.0, 1.0, np.nan])},
        {"losses.seconds": np.array(["soon"] * 3)},
        {"run.config": np.array("{")},
        {"run.config": np.array("[]")},
        {"run.config": np.array(5)},
        {"gan/9999/more": np.zeros(1)},
    ],
    ids=lambda extra: " ".join(f"{k} {v.dtype} {v.shape}" for k, v in extra.items()),
)
def test_checkpoints_with_other_records(tmp_path, tiny, extra):
    with pytest.raises(runs.RunError, match=r"every checkpoint|another model"):
        restored(tmp_path, tiny, packed(arrays_of(tiny[2]) | extra))


@pytest.mark.slow
def test_a_checkpoint_that_unpacks_to_more_than_a_gigabyte(tmp_path, tiny):
    file = io.BytesIO(tiny[2])
    with (
        zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("zeros.npy", "w", force_zip64=True) as member,  # beside the variables
    ):
        np.lib.format.write_array(member, np.zeros(1 << 27))
    with little_memory(), pytest.raises(runs.RunError, match="every checkpoint"):
        restored(tmp_path, tiny, file.getvalue())


def test_no_array_is_unpickled(tmp_path, tiny):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    file = io.BytesIO()
    np.savez(file, **arrays_of(tiny[2]) | {"losses.step": np.array([Evil()], dtype=object)}, allow_pickle=True)
    with pytest.raises(runs.RunError, match="every checkpoint"):
        restored(tmp_path, tiny, file.getvalue())
    assert not (tmp_path / "evil").exists()


# the run folder


def test_tables_are_views_and_written_again(run):
    """history.csv and losses.csv hold nothing that the checkpoint does not."""
    expected = {
        name: (run / name).read_bytes() for name in ("history.csv", "losses.csv", "losses.png", "generator.keras")
    }
    (run / "generator.keras").unlink()
    (run / "history.csv").write_bytes(b"\xff\0epoch,step\n1,=cmd()")
    (run / "losses.csv").write_text("step\nNaN\n1e300,", encoding="utf-8")
    runs.train(run, SETTINGS)
    assert {name: (run / name).read_bytes() for name in ("history.csv", "losses.csv")} == {
        name: expected[name] for name in ("history.csv", "losses.csv")
    }


@pytest.mark.parametrize(
    "name", ["config.json", "checkpoints", "frames", "frames/000000000.png", ".lock", "tensorboard"]
)
def test_links_out_of_the_folder(run, tmp_path, name, capfd):
    outside = tmp_path / "outside"
    if (run / name).is_dir():
        shutil.move(run / name, outside)
    else:
        outside.write_bytes((run / name).read_bytes() if (run / name).exists() else b"mine")
        (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(outside)
    before = contents(tmp_path)
    assert "is a symbolic link" in refusal(capfd, "train", run, *TRAIN)
    assert "is a symbolic link" in refusal(capfd, "evaluate", run)
    assert contents(tmp_path) == before


def test_a_link_within_the_folder_is_fine(run):
    shutil.move(run / "frames", run / "pictures")
    (run / "frames").symlink_to("pictures")
    assert untrusted.link_out_of(run) is None
    runs.write_gif(run, run.parent / "out.gif")


@pytest.mark.parametrize(
    "content",
    [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"<svg/>", b"\0" * 5000],
    ids=["empty", "header", "gif", "svg", "zeros"],
)
def test_damaged_frames(run, content, capfd):
    frame = max((run / "frames").glob("*.png"))
    frame.write_bytes(content)
    assert f"{frame} is damaged" in refusal(capfd, "gif", run, "--out", run.parent / "out.gif")
    assert not (run.parent / "out.gif").exists()


def test_frames_of_another_size_and_other_files_among_them(run, capfd):
    _, second, *_ = sorted((run / "frames").glob("*.png"))
    (run / "frames" / "notes.png").write_bytes(b"not a frame")
    (run / "frames" / "١٢.png").write_bytes(b"digits of another script")
    runs.write_gif(run, run.parent / "out.gif")
    second.write_bytes((run / "losses.png").read_bytes())
    assert "another size" in refusal(capfd, "gif", run, "--out", run.parent / "other.gif")


NAMES = ["with space", "new\nline", "täglich-日本語-🎲", "-dash", "quote'\"", "$HOME;rm", "tab\there", "x" * 200]


@pytest.mark.parametrize("name", [*NAMES, "bytes-\udcff"], ids=ascii)
def test_odd_names(finished, tmp_path, name, monkeypatch, capfd):
    """They work, and an error about them is still one line."""
    folder = tmp_path / name
    shutil.copytree(finished, folder)
    runs.write_gif(folder, folder / "out.gif")
    (folder / "config.json").write_text("{", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    refusal(capfd, "train", "--", folder) if name == "-dash" else refusal(capfd, "train", folder, *TRAIN)


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000, "nul\0byte", "/proc/nothing", "/dev/null/run", ""], ids=ascii)
def test_names_that_no_folder_can_have(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for command in (("train", name, *TRAIN), ("gif", name, "--out", "a.gif"), ("sample", name), ("evaluate", name)):
        refusal(capfd, *command)
    assert not list(tmp_path.iterdir())


# the command line

NUMBERS = [
    "",
    " ",
    "x",
    "0",
    "-1",
    "1.5",
    "1e3",
    "nan",
    "inf",
    "-inf",
    "1e300",
    "-1e300",
    "9" * 30,
    "0x10",
    "1 2",
]


OPTIONS = ("--epochs", "--batch-size", "--seed", "--evaluate-every", "--checkpoint-every")


@pytest.mark.parametrize(("option", "value"), sorted({*itertools.product(OPTIONS, NUMBERS)} - {("--seed", "0")}))
def test_numbers_on_the_command_line(tmp_path, option, value, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert option in refusal(capfd, "train", "r", f"{option}={value}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--dataset", "--model", "--loss", "--precision", "--devices"])
@pytest.mark.parametrize("value", ["", "x", "AUTO", "../x", "auto\n", "None", "0"])
def test_choices_on_the_command_line(tmp_path, option, value, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert option in refusal(capfd, "train", "r", f"{option}={value}")
    assert not list(tmp_path.iterdir())


def test_what_cannot_fit_into_memory_is_refused_with_an_estimate(finished, tmp_path, monkeypatch, capfd):
    line = refusal(capfd, "sample", finished, "--count", 2**31 - 1, "--out", tmp_path / "a.npz")
    assert "needs about" in line
    assert "GB" in line
    monkeypatch.setattr(files, "total_memory", lambda: 10_000_000)
    line = refusal(capfd, "train", tmp_path / "r", "--dataset", "digits", "--batch-size", 1500)
    assert "a step of batch_size 1500 needs about" in line
    assert not (tmp_path / "r").exists()


def test_the_estimate_is_of_the_right_size():
    """By hand, for a generator and a discriminator of one layer: 4 bytes, output and gradient, fakes and reals."""
    generator = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
    discriminator = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    weights = 5 * (3 * 5 + 5) + 4 * (5 + 1)
    assert recipe.step_bytes(gan.GAN(generator, discriminator), 7) == 4 * (2 * 7 * (5 + 2 * 1) + weights)


# TF_CONFIG and other variables of the environment

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["cluster", "task", "worker", "chief", "type", "index", "ps"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(value=JSON)
def test_any_cluster_is_joined_or_refused(value):
    try:
        devices.check_cluster(json.dumps(value))
        refused = ""
    except ValueError as error:
        refused = str(error)
    assert refused.startswith("TF_CONFIG names no cluster") or value["cluster"][value["task"]["type"]]


@pytest.mark.slow
def test_variables_that_do_not_matter(finished, tmp_path):
    """All of them at once; nobody, root neither, can make a folder below /dev/null."""
    variables = {"KERAS_BACKEND": "jax", "KERAS_HOME": "/dev/null/keras", "HOME": "/dev/null/home", "TF_CONFIG": "{"}
    variables |= {"TF_NUM_INTRAOP_THREADS": "many", "OMP_NUM_THREADS": "x"}
    command = [sys.executable, "-m", "gan_tf", "sample", finished, "--count", "1", "--out", tmp_path / "a.png"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "a.png").exists()


@pytest.mark.slow
def test_a_backend_of_figures_that_is_not_there_stops_it(tmp_path):
    """Keras imports Matplotlib, and does so but once in a process."""
    command = [sys.executable, "-m", "gan_tf", "train", tmp_path / "r", "--dataset", "mnist"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "MPLBACKEND": "nonsense"})
    assert done.returncode in (1, 2)
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "nonsense" in done.stderr
    assert not (tmp_path / "r").exists()


def test_a_folder_of_data_with_an_odd_name_is_told_in_one_line(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("GAN_TF_DATA", "a\nb")
    assert "GAN_TF_DATA" in refusal(capfd, "train", tmp_path / "r", "--dataset", "mnist")
    assert not (tmp_path / "r").exists()
