"""The table of mutants can be applied, and its runner tells killed ones from those that survived."""

import ast
import functools
import json
import re
import shutil
import sys
from dataclasses import replace

import kills
import mutants
import numpy as np
import pytest
import small
import tensorflow as tf
from conftest import SETTINGS
from mutants import MUTANTS, ROOT, Mutant

from gan_tf import evaluator, runs
from gan_tf.runs import devices, results
from gan_tf.runs.folder import read_config

NOTEBOOK = re.compile(r"notebooks/\d\d_\w+\.ipynb")
NODE = re.compile(r"(?P<file>tests/test_\w+\.py)::(?P<function>test_\w+)(\[.+\])?")


@functools.cache
def functions_of(file: str) -> set[str]:
    return {
        node.name
        for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }


def test_the_runner_needs_nothing_but_python():
    tree = ast.parse((ROOT / "tests" / "mutants.py").read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_there_are_enough_mutants_and_none_twice():
    assert len(MUTANTS) >= 20
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)
    assert len({mutant.guarantee for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guarantee)
def test_a_mutant_changes_one_place_and_leaves_a_file_that_can_be_read(mutant):
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    assert mutant.new != mutant.old
    assert max(len(part.splitlines()) for part in (mutant.old, mutant.new)) <= 4
    changed = text.replace(mutant.old, mutant.new)
    if mutant.file.endswith(".ipynb"):
        changed = "\n".join(
            "".join(cell["source"]) for cell in json.loads(changed)["cells"] if cell["id"] in mutant.old
        )
    ast.parse(changed)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guarantee)
def test_the_tests_that_must_turn_red_exist(mutant):
    assert mutant.tests
    for test in mutant.tests:
        if NOTEBOOK.fullmatch(test):
            assert (ROOT / test).exists()
        else:
            named = NODE.fullmatch(test)
            assert named, test
            assert named["function"] in functions_of(named["file"]), test


# The runner, on a project of one module and five tests.

SOURCE = "def double(x):\n    return 2 * x\n\n\ndef half(x):\n    return x / 2\n"
TESTS = """
import time
from gan_tf import double, half, runs

def test_double():
    assert double(2) == 4

def test_zero():
    assert double(0) == 0

def test_half():
    end = time.monotonic() + 600
    while half(1.0) != 0.5 and time.monotonic() < end:
        time.sleep(0.1)
"""
TIMES = Mutant("gan_tf/__init__.py", "2 * x", "3 * x", ("tests/test_a.py::test_double",), "twice is twice")
UNSEEN = Mutant("gan_tf/__init__.py", "2 * x", "x * x", ("tests/test_a.py::test_zero",), "nothing is nothing")
HALF_SEEN = Mutant(
    "gan_tf/__init__.py",
    "2 * x",
    "2 + x + x",
    ("tests/test_a.py::test_double", "tests/test_a.py::test_half"),
    "both tests see it",
)
HANGS = Mutant("gan_tf/__init__.py", "x / 2", "x / 3", ("tests/test_a.py::test_half",), "half is half")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # it needs none, and they take their time
    package = {"gan_tf/__init__.py": SOURCE, "gan_tf/runs/__init__.py": ""}  # a part of it, not a folder of results
    for name, content in {**package, "tests/test_a.py": TESTS, "pytest.ini": "[pytest]\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_the_runner_tells_who_killed_what_and_tries_only_what_it_does_not_know(project, capsys):
    listed = (TIMES, UNSEEN, HALF_SEEN)
    assert mutants.main([], listed, project) == 1
    out = capsys.readouterr().out
    assert "twice is twice\n           killed by tests/test_a.py::test_double" in out
    assert "nothing is nothing\n           SURVIVED tests/test_a.py::test_zero" in out
    assert "both tests see it\n           SURVIVED tests/test_a.py::test_half" in out, "one of two is not enough"
    assert "3 mutants: 1 killed, 2 survived" in out
    assert (project / "gan_tf" / "__init__.py").read_text(encoding="utf-8") == SOURCE

    assert mutants.main(["--only", "twice"], listed, project) == 0
    assert "1/1" not in capsys.readouterr().out, "it was killed before, and nothing has changed since"
    with open(project / "gan_tf" / "__init__.py", "a", encoding="utf-8") as file:
        file.write("\n")
    assert mutants.main(["--only", "twice"], listed, project) == 0
    assert "1/1" in capsys.readouterr().out, "its file has changed"


def test_the_copy_has_all_of_the_package_and_no_run_of_yours(tmp_path):
    for name in ("runs/dcgan", "package/runs"):
        (tmp_path / "project" / name).mkdir(parents=True)
    shutil.copytree(tmp_path / "project", tmp_path / "copy", ignore=mutants.left_out(tmp_path / "project"))
    assert [path.name for path in (tmp_path / "copy").rglob("*")] == ["package", "runs"]


@pytest.mark.slow
def test_a_mutant_that_hangs_is_killed_by_the_time_out(project):
    result = mutants.attempt(project, HANGS, limit=1)
    assert (result["killed_by"], result["green"]) == ("the time-out of 1 s", [])
    assert (project / "gan_tf" / "__init__.py").read_text(encoding="utf-8") == SOURCE


@pytest.mark.slow
@pytest.mark.parametrize("content", ["assert False", "import pytest\n    pytest.skip('not here')"])
def test_tests_that_are_not_green_without_a_mutant_are_refused(project, content, capsys):
    with open(project / "tests" / "test_a.py", "a", encoding="utf-8") as file:
        file.write(f"\ndef test_half():\n    {content}\n")
    assert mutants.main([], (TIMES, HANGS), project) == 2
    assert capsys.readouterr().err.endswith("not green without any mutant: tests/test_a.py::test_half\n")


@pytest.mark.slow
def test_a_package_from_elsewhere_is_refused(project, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(project))
    with pytest.raises(mutants.Refused, match="not from the copy"):
        mutants.check_import(tmp_path_factory.mktemp("copy"))


def test_a_node_id_is_not_taken_for_another_one():
    report = """FAILED tests/test_a.py::test_b_c - assert 1 == 2 - x
PASSED tests/test_a.py::test_d[1 - 2]
PASSED tests/test_a.py::test_d[2]
FAILED notebooks/01_a.ipynb::Cell 3
"""
    assert mutants.listed("FAILED|ERROR", "tests/test_a.py::test_b_c", report) == ["tests/test_a.py::test_b_c"]
    assert mutants.listed("FAILED|ERROR", "tests/test_a.py::test_b", report) == []
    assert len(mutants.listed("PASSED", "tests/test_a.py::test_d", report)) == 2
    assert mutants.listed("PASSED", "tests/test_a.py::test_d[2]", report) == ["tests/test_a.py::test_d[2]"]
    assert mutants.listed("PASSED", "tests/test_a.py::test_d[3]", report) == []
    assert mutants.listed("FAILED|ERROR", "notebooks/01_a.ipynb", report) == ["notebooks/01_a.ipynb::Cell 3"]


# What no other test held when its mutant was written.


def test_a_run_that_another_process_began_meanwhile_is_not_written_over(tmp_path):
    """Between the first look at a folder and its lock a GAN is built, which takes seconds."""
    theirs = runs.train(tmp_path / "theirs", replace(SETTINGS, epochs=1, seed=1), build=small.build).parent

    def build(settings):
        shutil.copytree(theirs, tmp_path / "run")
        return small.build(settings)

    build.__module__, build.__qualname__ = small.build.__module__, small.build.__qualname__
    with pytest.raises(runs.RunError, match=r"another process has begun a run in .* meanwhile"):
        runs.train(tmp_path / "run", SETTINGS, build=build)
    assert kills.differences(theirs, tmp_path / "run") == []
    assert read_config(tmp_path / "run")["settings"]["seed"] == 1


def test_a_run_of_other_images_is_not_continued(copy):
    """By that reason and no other."""
    (copy / "generator.keras").unlink()
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps(config | {"dataset_sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(runs.RunError, match=r"holds another run \(other images\)"):
        runs.train(copy, SETTINGS, build=small.build)


def test_no_worker_leaves_before_the_chief_has_written_all(tmp_path, monkeypatch):
    """Its end would look to the chief like a loss."""
    seen = []
    monkeypatch.setattr(
        devices, "wait_for_all", lambda _: seen.extend((tmp_path / "run" / name).exists() for name in results.OUTPUTS)
    )
    runs.train(tmp_path / "run", replace(SETTINGS, epochs=1), build=small.build)
    assert seen == [True] * len(results.OUTPUTS)


def test_another_file_in_the_place_of_the_shipped_evaluator_is_refused(tmp_path, monkeypatch):
    """It has the right shapes, and would give other scores under the same name."""
    monkeypatch.setattr(evaluator, "SHIPPED", tmp_path / "evaluator.npz")
    evaluator.save_weights(tmp_path / "evaluator.npz", evaluator.classifier())
    with pytest.raises(evaluator.EvaluatorError, match="its SHA-256 is"):
        evaluator.Evaluator()


class TwoMachines:
    """Stands for a strategy over two processes; gives back what each of them would read."""

    def __init__(self, replicas: int):
        self.num_replicas_in_sync = replicas

    def distribute_datasets_from_function(self, parts):
        return [parts(tf.distribute.InputContext(2, number, self.num_replicas_in_sync)) for number in range(2)]


@pytest.mark.parametrize("replicas", [2, 4])
def test_each_machine_reads_its_own_part_of_every_batch(replicas):
    """Three batches of eight; a machine with two replicas reads two parts of each."""
    batches = tf.data.Dataset.range(24).batch(8, drop_remainder=True)
    first, second = (np.reshape(list(part), (3, 4)) for part in devices.distribute(batches, TwoMachines(replicas)))
    np.testing.assert_array_equal(np.hstack([first, second]), np.reshape(range(24), (3, 8)))
