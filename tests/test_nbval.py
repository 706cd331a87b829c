"""nbval turns red when it should: a sample that must pass, and the same sample broken in one place at a time."""

import builtins
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbval import kernel, plugin

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).parent / "samples" / "trained.ipynb"

# What is broken: the text to replace, and by what.
MUTATIONS = {
    "the generator's loss has the other sign": (
        "loss = losses.non_saturating\n",
        "def flipped(*logits):\n    return -losses.non_saturating.generator(*logits)\n"
        "loss = losses.Loss(flipped, losses.non_saturating.discriminator)\n",
    ),
    "the discriminator's loss has the other sign": (
        "loss = losses.non_saturating\n",
        "def flipped(*logits):\n    return -losses.non_saturating.discriminator(*logits)\n"
        "loss = losses.Loss(losses.non_saturating.generator, flipped)\n",
    ),
    "the network is left untrained": ("model.fit(batches, steps_per_epoch=600, verbose=0)\n", ""),
    "the images are fed in [0, 1]": (
        "endless=True)\n",
        "endless=True).map(lambda real: (real + 1.0) / 2.0)\n",
    ),
    "the images are fed in [-0.5, 0.5]": ("endless=True)\n", "endless=True).map(lambda real: real / 2.0)\n"),
    "a line of output differs": ('print("gan_tf is here:"', 'print("gan_tf is there:"'),
    "a warning reaches standard error": ("import gan_tf\n", 'import gan_tf, sys\nprint("W", file=sys.stderr)\n'),
}


def broken(name: str, folder: Path) -> Path:
    """Write the sample with one thing broken."""
    old, new = MUTATIONS[name]
    notebook = nbformat.read(SAMPLE, as_version=4)
    cell = next(cell for cell in notebook.cells if old in cell.source + "\n")
    cell.source = (cell.source + "\n").replace(old, new)
    nbformat.write(notebook, folder / "broken.ipynb")
    return folder / "broken.ipynb"


def nbval(path: Path) -> subprocess.CompletedProcess:
    """Run nbval as `make test` does: the notebook's kernel is a process of its own."""
    path.with_name("pytest.ini").touch()  # no settings, whatever lies in the folders above
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider", path]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_sample_passes(tmp_path):
    done = nbval(Path(shutil.copy(SAMPLE, tmp_path)))
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


def test_an_untrained_sample_fails(tmp_path):
    done = nbval(broken("the network is left untrained", tmp_path))
    assert done.returncode == 1, done.stdout
    assert "1 failed, 4 passed" in done.stdout
    assert "Cell outputs differ" in done.stdout  # it ran to its end and the comparison caught it


@pytest.fixture
def kernel_here(monkeypatch):
    """Let nbval's next kernel be this process, where TensorFlow need not start again; all else of it stays nbval's."""
    from ipykernel.inprocess import InProcessKernelManager  # takes a second: only where it is needed
    from traitlets.config import Config

    manager = InProcessKernelManager(config=Config(HistoryManager={"enabled": False}))

    def start_new_kernel(**_):
        manager.start_kernel()
        client = manager.client()
        client.start_channels()
        for name in ("stdout", "stderr"):  # here before a cell comes, so as to know whose output it is
            monkeypatch.setattr(sys, name, getattr(manager.kernel, name))
        return manager, client

    monkeypatch.setattr(kernel, "start_new_kernel", start_new_kernel)
    for name in ("display", "__IPYTHON__"):  # what IPython leaves behind
        monkeypatch.setattr(builtins, name, None, raising=False)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    type(manager.kernel.shell).clear_instance()  # the next one begins without this one's variables
    output = manager.kernel.iopub_thread  # its own `stop` leaves a task behind, which complains at exit
    output.io_loop.add_callback(output.io_loop.stop)
    output.thread.join()


def first_error(session: pytest.Session, path: Path) -> str | None:
    """Run a notebook's cells through nbval; return what it says of the first that fails."""
    notebook = plugin.IPyNbFile.from_parent(session, path=path)
    cells = list(notebook.collect())
    notebook.setup()
    try:
        for cell in cells:
            cell.output_timeout = 60  # seconds; nbval's 5 are few for a busy machine, and it is not what is tested
            cell.runtest()
    except plugin.NbCellError as error:
        return str(error)
    return None


def test_the_sample_passes_in_this_process(kernel_here, request):
    assert first_error(request.session, SAMPLE) is None


@pytest.mark.parametrize("name", sorted(set(MUTATIONS) - {"the network is left untrained"}))
def test_a_broken_sample_fails(kernel_here, request, tmp_path, name):
    refused = name == "the images are fed in [0, 1]"  # by the GAN itself
    expected = "Cell execution caused an exception" if refused else "Cell outputs differ"
    assert first_error(request.session, broken(name, tmp_path)) == expected
