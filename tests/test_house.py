"""The plan of the package: who imports whom, how long files are, what the two lists of dependencies say."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What each module may import from the package. An import that is not here fails.
IMPORTS = {
    "__init__": set(),
    "files": set(),
    "untrusted": set(),
    "devices": set(),
    "data": {"files", "untrusted"},
    "models": {"devices"},
    "losses": set(),
    "gan": {"data", "devices", "losses"},
    "neighbours": set(),
    "metrics": {"neighbours"},
    "evaluator": {"data", "files", "metrics", "neighbours", "untrusted"},
    "plots": {"files"},
    "recipe": {"data", "devices", "gan", "losses", "models"},
    "checkpoints": {"data", "files", "gan", "recipe", "untrusted"},
    "scorer": {"data", "evaluator", "gan"},
    "trainer": {"checkpoints", "data", "devices", "evaluator", "files", "gan", "plots", "recipe", "scorer"},
    "runs": {
        *("checkpoints", "data", "devices", "evaluator", "files", "gan"),
        *("models", "plots", "recipe", "scorer", "trainer", "untrusted"),
    },
    "__main__": {"data", "evaluator", "runs"},
}


def package_imports(source: str) -> set[str]:
    """Return the modules of gan_tf that a source imports, in whatever way."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "gan_tf":
            found |= {alias.name for alias in node.names if (ROOT / "gan_tf" / f"{alias.name}.py").exists()}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gan_tf."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("gan_tf.")}
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "gan_tf").glob("*.py")), ids=lambda path: path.stem)
def test_a_module_imports_what_the_plan_allows(path):
    assert package_imports(path.read_text()) <= IMPORTS[path.stem]


def test_the_check_of_imports_sees_each_form():
    source = "from gan_tf import data\nimport gan_tf.models as m\ndef f():\n    from gan_tf.losses import minimax\n"
    assert package_imports(source) == {"data", "models", "losses"}


def test_no_import_is_relative():
    """They would pass the check above unseen."""
    for path in (ROOT / "gan_tf").glob("*.py"):
        assert not [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom) and n.level]


def test_the_package_can_be_read_in_one_sitting():
    lengths = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "gan_tf").glob("*.py")}
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
