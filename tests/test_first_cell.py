"""The first cell of every chapter, in IPython, wherever a notebook is opened: it works, or says what to type.

The project stands in for itself as a package of one line and an empty module, and pip as a magic that copies it:
nothing is installed.
"""

import importlib
import shutil
import sys
from pathlib import Path

import chapters
import pytest
from IPython.core.interactiveshell import InteractiveShell

sys.path.insert(0, str(chapters.ROOT / "notebooks"))
import execute

WORKS = ["gan_tf 1.2.3"]
ADDRESS = "https://example.org/gan_tf"


def project(folder: Path) -> Path:
    (folder / "notebooks").mkdir(parents=True)
    shutil.copy(chapters.ROOT / "pyproject.toml", folder)
    (folder / "gan_tf").mkdir()
    (folder / "gan_tf" / "__init__.py").write_text('__version__ = "1.2.3"\n', encoding="utf-8")
    (folder / "gan_tf" / "plots.py").touch()
    return folder


def imported_of_the_package() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] == "gan_tf"]


class Machine:
    """A Python with IPython and without gan_tf, where the first cell is run in a working folder."""

    def __init__(self, site: Path, monkeypatch, capsys):
        self.site, self.monkeypatch, self.capsys = site, monkeypatch, capsys
        self.installed = []  # what pip was asked for, as whole paths or addresses
        monkeypatch.chdir(site)
        for name in imported_of_the_package():
            monkeypatch.delitem(sys.modules, name)  # given back at the end
        elsewhere = [path for path in sys.path if path and not Path(path, "gan_tf").exists()]
        monkeypatch.setattr(sys, "path", ["", str(site), *elsewhere])
        assert importlib.util.find_spec("gan_tf") is None
        self.shell = InteractiveShell()
        self.shell.register_magic_function(self.pip, "line", "pip")

    def pip(self, line: str) -> None:
        """Install from a folder that is there; of all else say what pip says."""
        command, source, rest = line.split('"')
        assert (command.split(), rest) == (["install", "--quiet"], "")
        self.installed.append(source if ":" in source else str(Path(source).resolve()))
        if Path(source, "pyproject.toml").exists():
            shutil.copytree(Path(source, "gan_tf"), self.site / "gan_tf")
        else:
            print(f"ERROR: could not install {source}")

    def run(self, folder: Path, cell: str | None = None) -> list[str]:
        """Return the lines that a reader sees."""
        self.monkeypatch.chdir(folder)
        self.capsys.readouterr()
        try:
            done = self.shell.run_cell(cell or execute.get_package_cell())
        finally:
            for name in imported_of_the_package():
                del sys.modules[name]
        out, error = self.capsys.readouterr()
        assert error == ""
        assert done.success == (out.splitlines()[-1:] == WORKS)  # or "Run all" would go on
        return out.splitlines()


@pytest.fixture
def machine(tmp_path, monkeypatch, capsys):
    (tmp_path / "site-packages").mkdir()
    return Machine(tmp_path / "site-packages", monkeypatch, capsys)


@pytest.fixture
def with_address(tmp_path, monkeypatch):
    """Return the cell of a project whose pyproject.toml knows an address."""
    (tmp_path / "released").mkdir()
    (tmp_path / "released" / "pyproject.toml").write_text(
        f'[project]\nurls = {{ Repository = "{ADDRESS}" }}\n', encoding="utf-8"
    )
    with monkeypatch.context() as patch:
        patch.setattr(execute, "FOLDER", tmp_path / "released" / "notebooks")
        return execute.get_package_cell()


def test_the_package_is_installed(machine, tmp_path):
    shutil.copytree(project(tmp_path / "project") / "gan_tf", machine.site / "gan_tf")
    assert machine.run(tmp_path) == WORKS
    assert machine.installed == []


def test_in_the_project_s_notebooks(machine, tmp_path):
    folder = project(tmp_path / "my project")
    assert machine.run(folder / "notebooks") == WORKS
    assert machine.installed == [str(folder)]


def test_in_the_project_s_folder(machine, tmp_path):
    """There Python finds the package by itself."""
    assert machine.run(project(tmp_path / "project")) == WORKS
    assert machine.installed == []


def test_in_the_project_s_folder_without_its_dependencies(machine, tmp_path):
    """The package is found, but none of its modules can be imported before pip was there."""
    folder = project(tmp_path / "project")
    (folder / "gan_tf" / "plots.py").write_text("import tensorflow_\n", encoding="utf-8")
    lines = machine.run(folder)
    assert machine.installed == [str(folder)]
    assert lines == ["No module named 'tensorflow_'. Type: %pip install PROJECT_FOLDER"]


@pytest.mark.parametrize("name", ["gan-course", "gan_tf"], ids=["another name", "the package's name"])
def test_the_project_is_a_subfolder_of_the_working_folder(machine, tmp_path, name):
    """As in Colab, where /content is the working folder; of the package's name, it looks like an empty package."""
    (tmp_path / "content" / "sample_data").mkdir(parents=True)
    folder = project(tmp_path / "content" / name)
    assert machine.run(tmp_path / "content") == WORKS
    assert machine.installed == [str(folder)]


def test_the_notebook_alone(machine, tmp_path):
    (tmp_path / "content" / "gan_tf").mkdir(parents=True)  # and not even an empty folder of its name is the package
    (tmp_path / "empty").mkdir()
    assert machine.run(tmp_path / "empty") == ["No module named 'gan_tf'. Type: %pip install PROJECT_FOLDER"]
    (line,) = machine.run(tmp_path / "content")
    assert line.endswith("Type: %pip install PROJECT_FOLDER")
    assert machine.installed == []


def test_a_folder_is_preferred_to_the_address(machine, tmp_path, with_address):
    folder = project(tmp_path / "content" / "course")
    assert machine.run(tmp_path / "content", with_address) == WORKS
    assert machine.installed == [str(folder)]


def test_an_address_that_cannot_be_reached(machine, tmp_path, with_address):
    """Pip says why, the cell what to do."""
    (tmp_path / "empty").mkdir()
    first, last = machine.run(tmp_path / "empty", with_address)
    assert first.startswith("ERROR")
    assert last == "No module named 'gan_tf'. Type: %pip install PROJECT_FOLDER"
    assert machine.installed == [f"git+{ADDRESS}"]


def test_the_cell_is_short(with_address):
    for cell in (execute.get_package_cell(), with_address):
        assert len([line for line in cell.splitlines() if line]) <= 16
        assert max(map(len, cell.splitlines())) <= 100
