"""The plan of the package: who imports whom, how long files are, what the two lists of dependencies say."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

UPPER = {  # what the course teaches, and what each module there may import from the package
    "__init__": set(),
    "files": set(),
    "untrusted": set(),
    "replicas": set(),
    "seeds": set(),
    "checks": {"replicas"},
    "optimizers": set(),
    "players": {"files"},
    "two_players": {"augment", "checks", "files", "losses", "optimizers"},
    "sizes": set(),
    "spectral": set(),
    "datasets": {"files", "untrusted"},
    "folders": {"datasets", "files", "untrusted"},
    "resize": {"datasets"},
    "prepare": {"datasets", "files", "folders", "resize", "sizes"},
    "data": {"datasets", "prepare", "resize"},
    "models": {"replicas", "sizes", "spectral"},
    "losses": set(),
    "penalties": set(),
    "augment": {"seeds"},
    "gan": {"checks", "data", "losses", "optimizers", "penalties", "players", "replicas", "seeds", "two_players"},
    "neighbours": set(),
    "metrics": {"neighbours"},
    "classes": {"metrics"},
    "conditional": {"checks", "gan"},
    "scores": {"classes", "datasets", "metrics", "neighbours"},
    "evaluator": {"data", "files", "scores", "untrusted"},
    "random_network": {"data", "evaluator"},
    "judges": {"data", "datasets", "evaluator", "files", "prepare", "random_network", "scores", "untrusted"},
    "plots": set(),
    "gif": {"files"},
    "schematics": set(),
    "diagnostics": {"gan", "losses"},
    "doctor": {"files"},
}
ALL = set(UPPER) - {"__init__"}
BELOW_TRAINING = ("callbacks", "checkpoints", "devices", "diagnosis", "folder", "history", "pictures", "plan")
BELOW_TRAINING += ("results", "source")
BELOW_PLAN = ("checkpoints", "devices", "folder", "pictures", "results")
LOWER = {  # what keeps a run safe: it may use all of the upper floor, and of its own what stands here
    "runs.devices": ALL,
    "runs.settings": {"sizes"},  # without TensorFlow
    "runs.recipe": ALL | {"runs.settings"},
    "runs.folder": ALL | {"runs.settings"},
    "runs.checkpoints": ALL | {"runs.folder"},
    "runs.history": ALL | {"runs.folder"},
    "runs.callbacks": ALL | {"runs.checkpoints", "runs.folder", "runs.history"},
    "runs.diagnosis": ALL | {"runs.callbacks"},
    "runs.pictures": ALL | {"runs.callbacks", "runs.folder"},
    "runs.shipped": ALL | {"runs.folder"},
    "runs.images": ALL | {"runs.folder"},
    "runs.results": ALL | {"runs.folder", "runs.history", "runs.images", "runs.pictures"},
    "runs.source": ALL | {"runs.folder", "runs.results", "runs.settings"},
    "runs.plan": ALL | {f"runs.{name}" for name in (*BELOW_PLAN, "recipe", "settings")},
    "runs.training": ALL | {f"runs.{name}" for name in (*BELOW_TRAINING, "recipe", "settings")},
    "runs": set(),  # which imports each of them when it is asked for
    "arguments": set(),
    "__main__": {"arguments", "doctor", "files", "scores", "runs", "runs.settings"},
}
IMPORTS = UPPER | LOWER


def modules() -> dict[str, Path]:
    """Return the package's files by the name of their module: `gan`, `runs`, `runs.recipe`."""
    package = ROOT / "gan_tf"
    names = {path: ".".join(path.relative_to(package).with_suffix("").parts) for path in package.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def package_imports(source: str) -> set[str]:
    """Return the modules of gan_tf that a source imports, in whatever way."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gan_tf":
            parent = node.module.removeprefix("gan_tf").removeprefix(".")
            names = [f"{parent}.{alias.name}".removeprefix(".") for alias in node.names]
            found |= {name if name in known else parent for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("gan_tf.") for alias in node.names if alias.name.startswith("gan_tf.")}
    return found - {""}


@pytest.mark.parametrize(("name", "path"), sorted(modules().items()))
def test_a_module_imports_what_the_plan_allows(name, path):
    assert package_imports(path.read_text(encoding="utf-8")) <= IMPORTS[name]


def test_the_upper_floor_knows_nothing_of_the_lower_one():
    """The table above could be edited into a wrong one; this line is the plan itself."""
    assert not {name for allowed in UPPER.values() for name in allowed if name not in UPPER}


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("from gan_tf import data\nimport gan_tf.models as m", {"data", "models"}),
        ("def f():\n    from gan_tf.losses import minimax", {"losses"}),
        ("from gan_tf import runs, __version__", {"runs"}),
        ("from gan_tf.runs import recipe, train", {"runs.recipe", "runs"}),
        ("from gan_tf.runs.recipe import build\nimport gan_tf.runs.devices", {"runs.recipe", "runs.devices"}),
        ("import gan_tf\nimport numpy as np", set()),
    ],
)
def test_the_check_of_imports_sees_each_form(source, imported):
    assert package_imports(source) == imported


def test_no_import_is_relative():
    """They would pass the check above unseen."""
    for path in (ROOT / "gan_tf").rglob("*.py"):
        assert not [
            n
            for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(n, ast.ImportFrom) and n.level
        ]


def private_imports(source: str) -> list[str]:
    """Return what a source imports of the insides of other packages, which change without notice."""
    names = []
    for node in ast.walk(ast.parse(source)):
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in names if re.search(r"^keras\.src\b|^tensorflow\.python\b|\._(?!_)", name)]


@pytest.mark.parametrize(("name", "path"), sorted(modules().items()))
def test_a_module_imports_what_is_public(name, path):
    assert not private_imports(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "from keras.src.backend.common import global_state",
        "from keras import src",
        "import keras.src as inside",
        "def f():\n    from tensorflow.python.framework import ops",
        "from numpy import _core",
    ],
)
def test_the_check_of_private_imports_sees_each_form(source):
    assert private_imports(source)
    assert not private_imports("import keras\nfrom gan_tf import __version__, data\nfrom keras.layers import Dense")


def python_files() -> list[Path]:
    """Return the project's Python files, those beside the package too."""
    folders = ("gan_tf", "tests", "benchmarks", "notebooks", "data")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def text_without_encoding(source: str) -> list[ast.Call]:
    """Return the calls that read or write text in whatever encoding the system has: on Windows that is not UTF-8."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        method = isinstance(call.func, ast.Attribute)
        name = call.func.attr if method else getattr(call.func, "id", "")
        modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
        modes += call.args[:1] if method else call.args[1:2]
        mode = next((str(mode.value) for mode in modes if isinstance(mode, ast.Constant)), "")
        if name == "open":  # as a method of paths, which have no other first argument; archives and pictures have
            text = re.fullmatch("[rwax]t?[+]?", mode) or not (modes if method else mode)
        else:
            text = name in ("read_text", "write_text")
        if text and "encoding" not in {keyword.arg for keyword in call.keywords}:
            found.append(call)
    return found


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_text_is_utf_8_on_every_system(path):
    calls = text_without_encoding(path.read_text(encoding="utf-8"))
    assert not [f"line {call.lineno}: {ast.unparse(call)}" for call in calls]


@pytest.mark.parametrize(
    "source",
    [
        "path.read_text()",
        "path.write_text(text)",
        "open(path)",
        "open(path, 'a')",
        "open(path, newline='')",
        "open(path, mode='w')",
        "path.open()",
        "path.open('w')",
        "path.open(mode='r')",
    ],
)
def test_the_check_of_encodings_sees_each_form(source):
    assert text_without_encoding(source)
    assert not text_without_encoding(source.replace(")", ", encoding='utf-8')").replace("(,", "("))


@pytest.mark.parametrize(
    "source", ["open(path, 'rb')", "open(path, mode='xb')", "archive.open(member)", "path.open('rb')"]
)
def test_bytes_have_no_encoding(source):
    assert not text_without_encoding(source)


def test_the_package_can_be_read_in_one_sitting():
    lengths = {
        str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "gan_tf").rglob("*.py")
    }
    assert max(lengths.values()) <= 300, lengths


def test_requirements_hold_the_package_s_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = [line.split("#")[0].strip() for line in lines if not line.startswith("#")]
    assert set(project["dependencies"]) <= set(listed)
    assert all("  # " in line for line in lines if line and not line.startswith("#")), "a reason for each"


def test_every_dependency_is_pinned_for_ci():
    pinned = {
        line.split("==")[0]
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line.split("#")[0]
    }
    listed = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = {line.split(">=")[0] for line in listed if ">=" in line and not line.startswith("#")}
    assert names <= pinned


def test_git_ignores_the_folder_of_runs_at_the_top_and_no_other():
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/runs/" in lines
    assert "runs/" not in lines  # it would hide a part of the package with that name, too


def test_text_has_the_same_line_ends_on_every_system():
    """Git for Windows would write others, with which bash does not read setup.sh in WSL."""
    assert "* text=auto eol=lf" in (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()


def test_who_installs_or_tests_without_make_does_what_make_does():
    """setup.sh and the Makefile say how; Windows has no .venv/bin, so that its lines stand apart."""
    text = {
        name: (ROOT / name).read_text(encoding="utf-8").replace('"', "'")
        for name in ("setup.sh", "Makefile", "docs/platforms.md", ".github/workflows/test.yml")
    }
    installed = re.search(r"--constraint.+?'\.\[test]'", text["setup.sh"])[0]
    assert re.findall(r"-m pip install (.+)", text["docs/platforms.md"]) == [installed]
    assert re.findall(r"-m pip install (.+)", text[".github/workflows/test.yml"]) == [installed]

    workers = re.search(r"^TWO_WORKERS := .+?\(PYTEST\) (.+)$", text["Makefile"], re.MULTILINE)[1]
    chosen = re.search(r"^check: .+\n.+?\(TWO_WORKERS\) (.+)$", text["Makefile"], re.MULTILINE)[1]
    assert re.findall(r"-m pytest (.+)", text[".github/workflows/test.yml"]) == [f"{workers} {chosen}"]
