"""Execute chapters and store their outputs: `python notebooks/execute.py [CHAPTER.ipynb ...]`; without names, all.

Metadata is cut down to what readers' tools need, so that a second run gives a small diff, and the first cell gets the
repository's address from pyproject.toml.
"""

import re
import sys
import time
import tomllib
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
GET_PACKAGE = """\
try:
    from gan_tf import __version__, plots  # imports TensorFlow, too, without its start-up messages
except ImportError:  # not installed yet: look for the project's folder here, above and below
    import sys
    from glob import glob

    found = [f for f in (".", "..", *glob("./*")) if glob(f"{f}/gan_tf/__init__.py")]
    if found:
        %pip install --quiet "{found[0]}"
    sys.modules.pop("gan_tf", None)  # the project's folder may have that name, too
    try:
        from gan_tf import __version__, plots
    except ImportError as error:  # one line in place of a traceback
        error._render_traceback_ = lambda e=error: [f"{e}. Type: %pip install PROJECT_FOLDER"]
        raise
print("gan_tf", __version__)"""


def get_package_cell() -> str:
    """Return the source of every chapter's first code cell; where no folder is found, it installs from the address."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if not (address := project.get("urls", {}).get("Repository")):
        return GET_PACKAGE
    return GET_PACKAGE.replace("    if found:", f'    found = found or ["git+{address}"]\n    if found:')


def execute(path: Path) -> float:
    """Run one notebook from top to bottom in a fresh kernel, store its outputs and return the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    next(cell for cell in notebook.cells if cell.cell_type == "code").source = get_package_cell()
    started = time.perf_counter()
    resources = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=3600, resources=resources, record_timing=False, coalesce_streams=True).execute()
    seconds = time.perf_counter() - started
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {})
        for output in cell.get("outputs", []):
            output.get("metadata", {}).clear()
            if output.output_type == "stream":  # what a terminal would show of a progress bar: its last state
                output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return seconds


if __name__ == "__main__":
    names = [Path(name).resolve() for name in sys.argv[1:]] or sorted(FOLDER.glob("[0-9]*.ipynb"))
    for name in names:
        print(f"{name.name}: {execute(name):.0f} s", flush=True)
