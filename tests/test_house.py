"""The plan of the package: who imports whom, how long files are, what the two lists of dependencies say."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

UPPER = {  # what the course teaches, and what each module there may import from the package
    "__init__": set(),
    "files": set(),
    "untrusted": set(),
    "replicas": set(),
    "data": {"files", "untrusted"},
    "models": {"replicas"},
    "losses": set(),
    "gan": {"data", "losses", "replicas"},
    "neighbours": set(),
    "metrics": {"neighbours"},
    "evaluator": {"data", "files", "metrics", "neighbours", "untrusted"},
    "plots": {"files"},
}
ALL = set(UPPER) - {"__init__"}
LOWER = {  # what keeps a run safe: it may use all of the upper floor, and of its own what stands here
    "runs.devices": ALL,
    "runs.settings": ALL,
    "runs.recipe": ALL | {"runs.settings"},
    "runs.checkpoints": ALL | {"runs.recipe", "runs.settings"},
    "runs.scorer": ALL,
    "runs.trainer": ALL | {"runs.checkpoints", "runs.devices", "runs.recipe", "runs.scorer", "runs.settings"},
    "runs": set(),
    "runs.folder": ALL
    | {"runs.checkpoints", "runs.devices", "runs.recipe", "runs.scorer", "runs.settings", "runs.trainer"},
    "__main__": {"evaluator", "runs", "runs.settings"},
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
    assert package_imports(path.read_text()) <= IMPORTS[name]


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
        assert not [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom) and n.level]


def test_the_package_can_be_read_in_one_sitting():
    lengths = {str(path): len(path.read_text().splitlines()) for path in (ROOT / "gan_tf").rglob("*.py")}
    assert max(lengths.values()) <= 300, lengths


def test_requirements_hold_the_package_s_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    listed = [line.split("#")[0].strip() for line in lines if not line.startswith("#")]
    assert set(project["dependencies"]) <= set(listed)
    assert all("  # " in line for line in lines if line and not line.startswith("#")), "a reason for each"


def test_every_dependency_is_pinned_for_ci():
    pinned = {
        line.split("==")[0]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line.split("#")[0]
    }
    listed = (ROOT / "requirements.txt").read_text().splitlines()
    names = {line.split(">=")[0] for line in listed if ">=" in line and not line.startswith("#")}
    assert names <= pinned


def test_git_ignores_the_folder_of_runs_at_the_top_and_no_other():
    lines = (ROOT / ".gitignore").read_text().splitlines()
    assert "/runs/" in lines
    assert "runs/" not in lines  # it would hide a part of the package with that name, too
