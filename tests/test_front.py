"""The front page: what its script writes, what it may say of the chapters, and what it leaves to docs/."""

import re

import chapters
import execute
import nbformat
import pytest
import table
import test_house

README = (chapters.ROOT / "README.md").read_text(encoding="utf-8")
SURPRISES = re.search(r"## Three surprises\n\n(.+?)\n\n##", README, re.DOTALL)[1].split("\n- ")
CHAPTERS = [table.read(path) for path in chapters.CHAPTERS]
COLAB = "https://colab.research.google.com/github/owner/a-course/blob/main/notebooks/01_the_adversarial_idea.ipynb"
NBVIEWER = "https://nbviewer.org/github/owner/a-course/blob/main/notebooks/01_the_adversarial_idea.ipynb"
ACTIONS = "https://github.com/owner/a-course/actions/workflows/test.yml"


def test_the_front_page_is_what_the_chapters_say():
    assert table.page() == README, "run: .venv/bin/python notebooks/table.py"


def test_the_list_of_chapters_is_what_the_chapters_say():
    assert table.START.read_text(encoding="utf-8") == table.start(), "run: .venv/bin/python notebooks/table.py"


def test_a_line_that_somebody_wrote_into_the_table_goes(tmp_path, monkeypatch):
    changed = README.replace("<!-- /chapters -->", "| 99 |\n<!-- /chapters -->")
    (tmp_path / "README.md").write_text(changed, encoding="utf-8")
    monkeypatch.setattr(table, "README", tmp_path / "README.md")
    assert table.page() == README


def test_the_front_page_fits_on_two_screens():
    assert len(README.splitlines()) <= 90


@pytest.mark.parametrize("ending", ["", "/", ".git"])
def test_the_address_in_pyproject_brings_badges_and_the_line_that_fetches(ending, tmp_path, monkeypatch):
    address = f"https://github.com/owner/a-course{ending}"
    (tmp_path / "pyproject.toml").write_text(f'[project]\nurls = {{ Repository = "{address}" }}\n', encoding="utf-8")
    monkeypatch.setattr(execute, "FOLDER", tmp_path / "notebooks")
    text = table.page()
    assert f"```\ngit clone {address} && cd a-course\nmake gif" in text
    assert f"[![tests]({ACTIONS}/badge.svg?branch=main)]({ACTIONS})\n" in text
    assert f"[![Colab]({table.COLAB_BADGE})]({COLAB})" in text
    assert f"[![nbviewer]({table.NBVIEWER_BADGE})]({NBVIEWER})" in text
    rows = re.search("<!-- chapters -->\n(.+)\n<!-- /chapters -->", text, re.DOTALL)[1].splitlines()
    assert len(rows) == 2 + len(CHAPTERS)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}


def test_without_an_address_nothing_leads_to_one():
    text = table.written(README, CHAPTERS, "")
    assert not re.search("git clone|colab.research|nbviewer|badge", text)


def test_elsewhere_than_on_github_there_are_no_badges():
    text = table.written(README, CHAPTERS, "https://example.org/owner/a-course.git")
    assert "git clone https://example.org/owner/a-course.git && cd a-course\n" in text
    assert not re.search("colab.research|nbviewer|badge", text)


@pytest.mark.parametrize(
    ("cell", "old", "missing"),
    [
        ("title", "# 01 · ", "title"),
        ("title", "**The claim ", "claim"),
        ("title", " on 2 CPU cores", "time"),
        ("summary", "## Summary\n\n- ", "result"),
    ],
)
def test_a_chapter_that_does_not_say_it_is_named(cell, old, missing, tmp_path):
    notebook = chapters.read(chapters.CHAPTERS[0])
    cell = next(each for each in notebook.cells if each.id == cell)
    assert old in cell.source
    cell.source = cell.source.replace(old, "")
    nbformat.write(notebook, tmp_path / "01_x.ipynb")
    with pytest.raises(SystemExit, match=rf"01_x\.ipynb does not state its {missing} in the cell"):
        table.read(tmp_path / "01_x.ipynb")


def figures(text: str) -> list[str]:
    """Return the numbers in a text as they are written, without those in its links."""
    return re.findall(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?", re.sub(r"\[[^]]+\]\([^)]+\)", "", text))


def not_printed(text: str, file: str) -> list[str]:
    """Return the figures in a text that a chapter's outputs do not have, rounded or as a share of 100."""
    notebook = chapters.read(chapters.ROOT / "notebooks" / file)
    outputs = "\n".join(chapters.text_of(cell) for cell in chapters.code_cells(notebook))
    printed = [float(each.replace(",", "")) for each in figures(outputs)]

    def is_there(figure: str) -> bool:
        mantissa, _, exponent = figure.replace(",", "").partition("e")
        half = 0.500001 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        wanted = float(figure.replace(",", ""))
        return any(abs(scale * each - wanted) <= half for each in printed for scale in (1, 100))

    return [figure for figure in figures(text) if not is_there(figure)]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.title)
def test_a_result_has_the_figures_that_its_chapter_prints(chapter):
    assert not_printed(chapter.result, chapter.file) == []


@pytest.mark.parametrize("surprise", SURPRISES, ids=lambda text: re.search(r"\*\*(.+?)\*\*", text)[1])
def test_a_surprise_has_the_figures_that_its_chapter_prints(surprise):
    files = re.findall(r"\(notebooks/(\w+\.ipynb)\)", surprise)
    assert len(files) == 1
    assert figures(surprise)
    assert not_printed(surprise, files[0]) == []


def test_a_figure_that_no_chapter_prints_is_found():
    file = "05_measuring_a_gan.ipynb"
    assert not_printed("2.968 against 2.765 ± 0.629, of 2,000; 8.0", file) == []
    assert not_printed("2.967, 7.7 and 3,456 of 71.3 %", file) == ["2.967", "7.7", "3,456", "71.3"]


def test_every_module_is_listed():
    text = (chapters.ROOT / "docs" / "package.md").read_text(encoding="utf-8")
    upper, lower = text.split("**The lower floor**")
    named = {f"runs.{name}" for name in re.findall(r"`(\w+)`", lower)} | set(re.findall(r"`(\w+)`", upper))
    assert set(test_house.IMPORTS) - {"__init__", "__main__", "runs"} - named == set()
