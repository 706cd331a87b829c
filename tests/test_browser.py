"""What benchmarks/browser.py makes of a page that it has looked at; the browser itself is not started here."""

from collections import Counter

import browser
import chapters
import nbformat
import pytest

PNG, GIF = "image/png", "image/gif"
STORED = Counter({PNG: 1, GIF: 1})


def cell(prompt: str, *kinds: str, decoded: bool = True) -> dict:
    sources = [
        f"data:{kind};base64,{'R0lGODlh' if kind == GIF else 'iVBORw0K'}" for kind in kinds if kind[:6] == "image/"
    ]
    pictures = [{"source": source, "decoded": decoded} for source in sources]
    return {"prompt": prompt, "kinds": list(kinds), "pictures": pictures}


def test_a_chapter_that_ran_has_no_faults():
    page = [cell("[1]:", PNG), cell("[2]:", "text/plain", GIF), cell("[3]:")]
    assert browser.is_done(page)
    assert browser.faults(page, STORED, 3) == []


@pytest.mark.parametrize(
    ("page", "done"),
    [
        ([], False),
        ([cell("[ ]:"), cell("[ ]:")], False),
        ([cell("[1]:"), cell("[*]:")], False),
        ([cell("[*]:"), cell("[ ]:")], False),
        ([cell("[1]:", browser.STDERR), cell("[ ]:")], True),
        ([cell("[1]:"), cell("[2]:")], True),
    ],
)
def test_it_waits_for_the_last_cell_or_for_what_an_error_stopped(page, done):
    assert browser.is_done(page) == done


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ([cell("[1]:", PNG)], "1 code cells are shown, of 2"),
        ([cell("[1]:", PNG, GIF), cell("[ ]:")], "code cell 2 stands at '[ ]:'"),
        ([cell("[1]:", PNG, GIF, decoded=False), cell("[2]:")], "code cell 1: 2 pictures are broken"),
        ([cell("[1]:", PNG), cell("[2]:", "text/plain")], "0 pictures of image/gif, stored are 1"),
        ([cell("[1]:", PNG, PNG), cell("[2]:", GIF)], "2 pictures of image/png, stored are 1"),
    ],
)
def test_what_a_reader_would_miss_is_told(page, fault):
    assert fault in browser.faults(page, STORED, 2)


def test_a_gif_is_one_by_its_content():
    assert browser.kind_of("data:image/png;base64,R0lGODlhLAFA") == GIF
    assert browser.kind_of("data:image/gif;base64,R0lGODlhLAFA") == GIF
    assert browser.kind_of("data:image/png;base64,iVBORw0KGgoA") == PNG


def test_the_chapter_is_opened_without_what_it_printed_before():
    notebook = chapters.read(browser.CHAPTER)
    assert browser.stored_pictures(notebook)[GIF] == 1
    blank = browser.without_outputs(notebook)
    assert browser.stored_pictures(blank) == Counter()
    assert {cell["execution_count"] for cell in blank["cells"] if cell["cell_type"] == "code"} == {None}
    assert [cell["source"] for cell in blank["cells"]] == [cell["source"] for cell in notebook["cells"]]


def test_an_error_is_found_in_what_jupyterlab_saved():
    notebook = chapters.read(browser.CHAPTER)
    assert browser.errors(notebook) == []
    chapters.code_cells(notebook)[-1].outputs.append(
        nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    )
    assert browser.errors(notebook) == ["ValueError: no"]
