"""What `make` says on a machine where something is missing: stand-ins for python3 and df come first on the path."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent
OLD = "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Python 3.9.2'\nexit 1\n"
WITHOUT_VENV = f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"\n'
WHOLE = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
FULL = "#!/bin/sh\nprintf 'Filesystem 1M-blocks Used Available\\n/dev/x 9 9 7\\n'\n"
EVERY_PYTHON = ("python3", "python3.11", "python3.12", "python3.13", "python")


@pytest.fixture
def machine(tmp_path):
    """Return a function that runs setup.sh in a fresh folder, with the given stand-ins."""

    def run(**stand_ins: str) -> subprocess.CompletedProcess:
        (tmp_path / "bin").mkdir()
        for name, script in stand_ins.items():
            for program in EVERY_PYTHON if name == "python" else (name,):
                (tmp_path / "bin" / program).write_text(script, encoding="utf-8")
                (tmp_path / "bin" / program).chmod(0o755)
        shutil.copy(ROOT / "setup.sh", tmp_path)
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        command = ["bash", tmp_path / "setup.sh", "python3"]
        return subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True)

    return run


@pytest.mark.parametrize(
    ("stand_ins", "message"),
    [
        ({"python": OLD}, "Python 3.11, 3.12 or 3.13 is needed; python3 is Python 3.9.2"),
        ({"python": WITHOUT_VENV}, "has no venv module. On Debian and Ubuntu: apt install python3-venv"),
        ({"python": WHOLE, "df": FULL}, "7 MB are free on this disk, about 3500 MB are needed"),
    ],
    ids=["python too old", "no venv", "disk full"],
)
def test_what_is_missing_is_said_in_one_line(machine, tmp_path, stand_ins, message):
    done = machine(**stand_ins)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_project_s_folder_may_have_a_name_of_two_words(tmp_path):
    """What pip is told by variables of the environment it would take apart at the space."""
    project = tmp_path / "a course"
    (project / ".venv" / "bin").mkdir(parents=True)
    asked = f'#!/bin/sh\n[ "$1" = -m ] || exec {sys.executable} "$@"\nprintf "%s\\n" "$@" "$PIP_CONSTRAINT" > asked\n'
    (project / ".venv" / "bin" / "python").write_text(asked, encoding="utf-8")
    (project / ".venv" / "bin" / "python").chmod(0o755)
    shutil.copy(ROOT / "setup.sh", project)
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    subprocess.run(["bash", project / "setup.sh", "python3"], env=environment, check=True, capture_output=True)
    *words, constraint = (project / "asked").read_text(encoding="utf-8").split("\n")[:-1]
    assert words[words.index("--constraint") + 1] == "constraints.txt"
    assert constraint == ""
