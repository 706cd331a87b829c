"""nbval turns red when it should: a sample that must pass, and the same sample broken in one place at a time."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

SAMPLE = Path(__file__).parent / "samples" / "trained.ipynb"

# What is broken: the text to replace, and by what.
MUTATIONS = {
    "the generator's loss has the other sign": (
        "loss = losses.non_saturating\n",
        "loss = losses.Loss(\n"
        "    lambda fake_logits: -losses.non_saturating.generator(fake_logits), losses.non_saturating.discriminator\n"
        ")\n",
    ),
    "the discriminator's loss has the other sign": (
        "loss = losses.non_saturating\n",
        "loss = losses.Loss(\n"
        "    losses.non_saturating.generator, lambda *logits: -losses.non_saturating.discriminator(*logits)\n"
        ")\n",
    ),
    "the network is left untrained": ("model.fit(batches, steps_per_epoch=600, verbose=0)\n", ""),
    "the images are fed in [0, 1]": (
        "endless=True)\n",
        "endless=True).map(lambda real: (real + 1.0) / 2.0)\n",
    ),
    "a line of output differs": ('print("trained")', 'print("Trained")'),
    "a warning reaches standard error": (
        'print("trained")',
        'import sys; print("trained"); print("W", file=sys.stderr)',
    ),
}


def nbval(path: Path) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--nbval",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
        str(path),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=path.parent)


def test_the_sample_passes():
    done = nbval(SAMPLE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("broken", MUTATIONS)
def test_a_broken_sample_fails(broken, tmp_path):
    old, new = MUTATIONS[broken]
    notebook = nbformat.read(SAMPLE, as_version=4)
    cell = next(cell for cell in notebook.cells if old in cell.source + "\n")
    cell.source = (cell.source + "\n").replace(old, new)
    nbformat.write(notebook, tmp_path / "broken.ipynb")
    done = nbval(tmp_path / "broken.ipynb")
    assert done.returncode == 1, done.stdout
    assert "Error while trying to execute" not in done.stdout  # it ran to its end and the comparison caught it
