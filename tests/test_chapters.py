"""The chapters keep the rules of the house, and the rules are shown to catch what breaks them."""

import re
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


def other_default(notebook):
    notebook.cells[1].source = MLP_DISCRIMINATOR.replace("1024", "1000")


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
        other_default,
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


MLP_DISCRIMINATOR = """
def mlp_discriminator(widths=(1024, 512, 256), dropout=0.3):
    hidden = []
    for width in widths:
        hidden += [layers.Dense(width), layers.LeakyReLU(0.2)]
        hidden += [layers.Dropout(dropout)] * (dropout > 0)

    logit = layers.Dense(1, dtype="float32")
    return keras.Sequential([keras.Input(IMAGE_SHAPE), layers.Flatten(), *hidden, logit], name="discriminator")
"""
DISCRIMINATOR_STEP = """
def discriminator_step(real, z, generator, discriminator, adversarial_loss, discriminator_optimizer):
    fake = generator(z, training=True)

    with tf.GradientTape() as tape:
        real_logits = discriminator(real, training=True)
        fake_logits = discriminator(fake, training=True)
        loss = adversarial_loss.discriminator(real_logits, fake_logits)

    gradients = tape.gradient(loss, discriminator.trainable_variables)
    discriminator_optimizer.apply(gradients, discriminator.trainable_variables)
    return loss
"""
GENERATOR_STEP = """
def generator_step(z, generator, discriminator, adversarial_loss, generator_optimizer):
    with tf.GradientTape() as tape:
        fake = generator(z, training=True)
        fake_logits = discriminator(fake, training=True)
        loss = adversarial_loss.generator(None, fake_logits)

    gradients = tape.gradient(loss, generator.trainable_variables)
    generator_optimizer.apply(gradients, generator.trainable_variables)
    return loss
"""


@pytest.mark.parametrize("source", [MLP_DISCRIMINATOR, DISCRIMINATOR_STEP, GENERATOR_STEP])
def test_what_the_package_checks_or_calls_by_a_name_may_be_left_out_or_written_out_by_hand(source, tmp_path):
    def by_hand(notebook):
        notebook.cells[1].source = source

    assert faults_after(by_hand, tmp_path) == []


TRACKED = "    with tf.GradientTape() as tape:\n        real"


@pytest.mark.parametrize(
    ("step", "old", "new"),
    [
        (DISCRIMINATOR_STEP, "generator(z, training=True)", "generator(z, training=False)"),
        (DISCRIMINATOR_STEP, "discriminator(real, training=True)", "discriminator(real)"),
        (DISCRIMINATOR_STEP, "(real_logits, fake_logits)", "(fake_logits, real_logits)"),
        (DISCRIMINATOR_STEP, "discriminator(fake, training=True)", "discriminator(real, training=True)"),
        (DISCRIMINATOR_STEP, "gradient(loss, discriminator.", "gradient(loss, generator."),
        (DISCRIMINATOR_STEP, "    discriminator_optimizer.apply(gradients, discriminator.trainable_variables)\n", ""),
        (DISCRIMINATOR_STEP, "    return loss\n", ""),
        (DISCRIMINATOR_STEP, "return loss", "return real_logits"),
        (DISCRIMINATOR_STEP, "    fake = generator(z, training=True)\n\n" + TRACKED, TRACKED),
        (GENERATOR_STEP, "        fake = generator", "        z = 2 * z\n        fake = generator"),
        (GENERATOR_STEP, "loss = adversarial_loss.generator", "loss = -adversarial_loss.generator"),
        (GENERATOR_STEP, "generator_optimizer.apply", "discriminator_optimizer.apply"),
        (GENERATOR_STEP, "        loss = adversarial_loss", "    loss = adversarial_loss"),  # out of the tape
        (
            GENERATOR_STEP,
            "    with tf.GradientTape() as tape:\n        fake = generator(z, training=True)\n",
            "    fake = generator(z, training=True)\n    with tf.GradientTape() as tape:\n",
        ),
    ],
)
def test_a_step_by_hand_that_differs_is_caught(step, old, new, tmp_path):
    def by_hand(notebook):
        assert step.count(old) == 1
        notebook.cells[1].source = step.replace(old, new)

    assert faults_after(by_hand, tmp_path)


def test_each_line_that_may_be_written_out_stands_in_the_package(monkeypatch):
    written_out = dict(chapters.WRITTEN_OUT)
    monkeypatch.setattr(chapters, "WRITTEN_OUT", {})
    package = chapters.package_functions.__wrapped__()
    text = "\n".join(package["discriminator_step"] + package["generator_step"])
    assert [line for line in written_out if line not in text] == []


PAGES = [chapters.ROOT / "README.md", chapters.ROOT / "CONTRIBUTING.md", *sorted((chapters.ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r"(?:\]\(|src=\")([^)\s\"#]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not link.startswith("http") and not (page.parent / link).exists()]


def test_every_page_can_be_reached_from_the_front_page():
    readme = (chapters.ROOT / "README.md").read_text(encoding="utf-8")
    beside = "".join(page.read_text(encoding="utf-8") for page in PAGES[1:])
    assert [
        page.name for page in PAGES[2:] if f"docs/{page.name}" not in readme and f"({page.name}" not in beside
    ] == []
