"""What other versions of what the package stands on do to it: the bounds, files of another Keras, no TensorBoard."""

import ast
import importlib.metadata
import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from gan_tf import data, evaluator, gan, models, runs, untrusted
from gan_tf.runs import callbacks, pictures

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COLAB = dict(
    line.split("==") for line in (ROOT / "tests" / "colab.txt").read_text(encoding="utf-8").split("\n") if "==" in line
)


def requirements() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = [line.split("#")[0] for line in lines if not line.startswith("#")]
    return [Requirement(line) for line in (*listed, *PROJECT["dependencies"])]


def outside(versions: dict[str, str], bounds: list[Requirement]) -> list[str]:
    """Name the bounds that versions do not keep."""
    return [str(bound) for bound in bounds if bound.name in versions and versions[bound.name] not in bound.specifier]


def test_colab_s_versions_are_within_all_bounds():
    assert {"tensorflow", "keras", "numpy", "scipy", "h5py", "protobuf"} <= set(COLAB)
    assert "3.13" in SpecifierSet(PROJECT["requires-python"])
    assert outside(COLAB, requirements()) == []
    assert outside({"keras": "3.12.2"}, requirements())  # the check can fail


def test_the_installed_packages_do_not_forbid_colab_s_versions():
    """TensorFlow's own bounds, say, where it is the version that Colab has."""
    if importlib.metadata.version("tensorflow") != COLAB["tensorflow"]:
        pytest.skip(f"TensorFlow is not Colab's {COLAB['tensorflow']} here")
    bounds = [Requirement(line) for line in importlib.metadata.requires("tensorflow")]
    assert outside(COLAB, [bound for bound in bounds if bound.marker is None or bound.marker.evaluate()]) == []


@pytest.mark.parametrize("version", ["3.11.3", "3.12.2", "3.13.0", "3.13.1"])
def test_a_keras_that_can_run_code_from_a_file_is_left_out(version):
    """3.12.3 has the last fixes of loading a model; 3.13.0 and 3.13.1 lack older ones (CVE-2026-1462)."""
    assert outside({"keras": version}, requirements())


def test_what_is_pinned_and_what_is_installed_is_within_all_bounds():
    pins = [
        line.split("#")[0]
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    ]
    pinned = {}
    for pin in map(Requirement, pins):
        if pin.marker is None or pin.marker.evaluate():
            pinned[pin.name] = str(pin.specifier).removeprefix("==")
    assert outside(pinned, requirements()) == []
    assert (
        outside({bound.name: importlib.metadata.version(bound.name) for bound in requirements()}, requirements()) == []
    )


def test_the_package_declares_what_it_imports():
    """Also what is imported only inside of a function, and what TensorFlow imports for it: TensorBoard."""
    imported = {"tensorboard"}
    for path in (ROOT / "gan_tf").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
    imported -= {"gan_tf", *sys.stdlib_module_names}
    distributions = importlib.metadata.packages_distributions()
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    missing = {name for name in imported if not {canonicalize_name(d) for d in distributions[name]} & declared}
    assert missing == set()


# a file of another Keras


def saved_by(version: str, path: Path, **arguments) -> Path:
    """Save a generator as a version of Keras would that gives its first Dense layer these arguments, too."""
    models.mlp_generator(8, (4,)).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")["config"].update(arguments)
    metadata = json.loads(members["metadata.json"]) | {"keras_version": version}
    members |= {"config.json": json.dumps(config).encode(), "metadata.json": json.dumps(metadata).encode()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_file_of_another_keras_that_can_be_read_is_read(tmp_path):
    assert untrusted.load_model(saved_by("3.99.1", tmp_path / "model.keras")).count_params() > 0


def test_a_file_of_another_keras_that_cannot_be_read_is_named_with_both_versions(tmp_path):
    path = saved_by("3.99.1", tmp_path / "generator.keras", argument_of_a_later_keras=None)
    both = f"Keras 3.99.1 saved it, and the installed Keras {re.escape(keras.__version__)} cannot read it"
    with pytest.raises(
        runs.RunError, match=rf"generator\.keras cannot be loaded \({both}; pip install keras==3\.99\.1"
    ):
        runs.load_generator(tmp_path)
    with pytest.raises(evaluator.EvaluatorError, match=rf"generator\.keras cannot be read: {both}") as caught:
        evaluator.Evaluator(path)
    assert "install gan_tf again" not in str(caught.value)


def test_a_file_of_this_keras_that_cannot_be_read_is_damaged(tmp_path):
    saved_by(keras.__version__, tmp_path / "generator.keras", argument_of_a_later_keras=None)
    with pytest.raises(runs.RunError, match="cannot be loaded") as caught:
        runs.load_generator(tmp_path)
    assert "saved it" not in str(caught.value)


@pytest.mark.parametrize("version", ["3.1 --index-url http://example.org", "$(id)", "", "9" * 100])
def test_a_version_that_is_none_is_not_repeated(tmp_path, version):
    saved_by(version, tmp_path / "generator.keras", argument_of_a_later_keras=None)
    with pytest.raises(runs.RunError) as caught:
        runs.load_generator(tmp_path)
    assert "pip install" not in str(caught.value)


# no TensorBoard


def test_without_tensorboard_scores_are_made_and_one_line_says_what_is_missing(tmp_path, monkeypatch, capsys):
    """As after `pip install --no-deps`; nothing that only shows a run may end it."""
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    history = callbacks.History(callbacks.Schedule(images=32, steps_per_epoch=10, epochs=1), tmp_path)
    judging = pictures.Scores(history, {"images": data.to_float(data.load("digits").x_test)}, every=5, seed=0)
    judging.set_model(gan.GAN(models.mlp_generator(8, (4,)), models.mlp_discriminator((4,))))
    judging.on_train_begin()
    assert set(history.scores) == {"step", "images", "seconds", *evaluator.QUICK_SCORES, "memorised"}
    unmeasured = {name for name, (value,) in history.scores.items() if not np.isfinite(value)}
    assert unmeasured == {"memorised"}  # by nobody here
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert "pip install tensorboard" in lines[0]
    assert not (tmp_path / "tensorboard").exists()
