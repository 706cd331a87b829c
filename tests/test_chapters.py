"""The chapters keep the rules of the house, and the rules are shown to catch what breaks them."""

import sys

import chapters
import nbformat
import pytest

sys.path.insert(0, str(chapters.ROOT / "notebooks"))
import execute


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_keeps_the_rules(path):
    assert chapters.all_faults(path) == []


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda path: path.stem)
def test_the_first_cell_gets_the_package_from_the_one_address(path):
    cell = chapters.code_cells(chapters.read(path))[0]
    assert cell.id == "get-package"
    assert cell.source == execute.get_package_cell()


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_stands_in_the_readme(path):
    readme = (chapters.ROOT / "README.md").read_text(encoding="utf-8")
    assert f"notebooks/{path.name}" in readme


def test_no_two_chapters_have_one_number():
    """Gaps are for chapters that come later: 23 stands before 06 is written."""
    numbers = [int(path.stem[:2]) for path in chapters.CHAPTERS]
    assert numbers[:5] == [1, 2, 3, 4, 5]
    assert len(set(numbers)) == len(numbers)


def test_the_address_comes_from_pyproject(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "FOLDER", tmp_path / "notebooks")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nurls = { Repository = "https://example.org/gan_tf" }\n', encoding="utf-8"
    )
    assert '"git+https://example.org/gan_tf"' in execute.get_package_cell()


def good() -> nbformat.NotebookNode:
    """Build a notebook that keeps every rule."""
    cells = [nbformat.v4.new_markdown_cell("# Title", id="title")]
    for count, (name, source) in enumerate([("one-cell", "print(1)"), ("two-cell", "print(2)")], 1):
        output = nbformat.v4.new_output("stream", name="stdout", text=source)
        cell = nbformat.v4.new_code_cell(source, id=name, execution_count=count, outputs=[output])
        cells.append(cell)
    return nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": execute.KERNEL, "language_info": {"name": "python"}}
    )


def faults_after(change, tmp_path) -> list[str]:
    notebook = good()
    change(notebook)
    nbformat.write(notebook, tmp_path / "notebook.ipynb")
    return chapters.all_faults(tmp_path / "notebook.ipynb")


def test_a_good_notebook_has_no_faults(tmp_path):
    assert faults_after(lambda notebook: None, tmp_path) == []


def without_outputs(notebook):
    for cell in chapters.code_cells(notebook):
        cell.outputs = []


def out_of_order(notebook):
    notebook.cells[1].execution_count, notebook.cells[2].execution_count = 2, 1


def never_executed(notebook):
    notebook.cells[2].execution_count = None


def too_large(notebook):
    notebook.cells[0].source = "# " + "x" * chapters.LARGEST_BYTES


def too_long(notebook):
    notebook.cells[1].source = "\n".join(["print(1)"] * 26)


def other_twin(notebook):
    notebook.cells[1].source = "def non_saturating_generator_loss(fake_logits):\n    return tf.reduce_mean(fake_logits)"


def other_train_step(notebook):
    notebook.cells[1].source = "def train_step(real, z, generator):\n    fake = generator(z, training=False)"


def standard_error(notebook):
    notebook.cells[1].outputs.append(nbformat.v4.new_output("stream", name="stderr", text="W0000 something"))


def an_error(notebook):
    notebook.cells[1].outputs.append(nbformat.v4.new_output("error", ename="E", evalue="", traceback=[]))


def ignored_without_conclusion(notebook):
    notebook.cells[2].metadata.tags = [chapters.IGNORED]


def ignored_before_a_silent_cell(notebook):
    notebook.cells[1].metadata.tags = [chapters.IGNORED]
    notebook.cells[2].outputs = []


def skipped(notebook):
    notebook.cells[1].metadata.tags = ["nbval-skip"]


def more_metadata(notebook):
    notebook.cells[1].metadata["execution"] = {}


def old_format(notebook):
    notebook.nbformat_minor = 4
    for cell in notebook.cells:
        del cell["id"]


@pytest.mark.parametrize(
    "change",
    [
        without_outputs,
        out_of_order,
        never_executed,
        too_large,
        too_long,
        other_twin,
        other_train_step,
        standard_error,
        an_error,
        ignored_without_conclusion,
        ignored_before_a_silent_cell,
        skipped,
        more_metadata,
        old_format,
    ],
)
def test_each_rule_catches_what_breaks_it(change, tmp_path):
    assert faults_after(change, tmp_path)


def test_the_package_s_own_code_is_its_own_twin(tmp_path):
    def same(notebook):
        notebook.cells[
            1
        ].source = (
            "def non_saturating_generator_loss(fake_logits):\n    return tf.reduce_mean(tf.nn.softplus(-fake_logits))"
        )

    assert faults_after(same, tmp_path) == []
