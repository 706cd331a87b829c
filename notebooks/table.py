"""Write what the front page takes from elsewhere, and the list of chapters: `python notebooks/table.py`.

The table of chapters comes from the chapters, and the badges and the line that fetches the project from the address in
pyproject.toml. In README.md each part stands between two comments that name it. The same table is notebooks/README.md,
where JupyterLab starts (`make lab`) and each chapter's "all chapters" leads.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat
from execute import FOLDER, repository

README = FOLDER.parent / "README.md"
START = FOLDER / "README.md"
COLAB_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
NBVIEWER_BADGE = "https://raw.githubusercontent.com/jupyter/design/master/logos/Badges/nbviewer_badge.svg"


START_HEAD = """\
# The chapters

Start with 01 and read on: each chapter says what it needs from the ones before. Run a chapter from top to bottom with
*Run › Run All Cells*. Every claim stands in a cell that checks it; exercises and their solutions are at the end.
Without a network all of it runs on the digits that come with the course.
"""


class Chapter(NamedTuple):
    """What a chapter says of itself, in its first cell and at the head of its summary."""

    file: str
    title: str  # "01 The adversarial idea"
    claim: str  # the first sentence of the claim that it tests
    time: str  # "about a minute"
    result: str  # the first line of its summary


def read(path: Path) -> Chapter:
    """Read a chapter, or leave with one line that names what it does not say."""
    cells = {cell.id: cell.source for cell in nbformat.read(path, as_version=4).cells}
    patterns = {
        "title": ("title", r"\A# (\d\d · .+)$"),
        "claim": ("title", r"^\*\*The claim (?:that )?this chapter tests\.\*\* (.+?[.!?])(?=\s|\Z)"),
        "time": ("title", r"(?:runs in|takes) ([^.]+?) on 2 CPU cores"),
        "result": ("summary", r"^## Summary\n\n- (.+?)(?=\n-|\n\n|\Z)"),
    }
    found = {}
    for name, (cell, pattern) in patterns.items():
        text = re.search(pattern, cells.get(cell, ""), re.MULTILINE if name == "title" else re.MULTILINE | re.DOTALL)
        if not text:
            sys.exit(f"{path.name} does not state its {name} in the cell {cell!r}: see CONTRIBUTING.md")
        found[name] = " ".join(text[1].split()).replace("|", "\\|")
    return Chapter(path.name, **found | {"title": found["title"].replace(" · ", " ")})


def github(address: str) -> str:
    """Return OWNER/REPO of an address on GitHub, and nothing of any other: the badges' sites know GitHub alone."""
    place = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", address)
    return place[1] if place else ""


def tests_badge(place: str) -> str:
    """Return the badge of the tests, or nothing."""
    actions = f"https://github.com/{place}/actions/workflows/test.yml"
    return f"[![tests]({actions}/badge.svg?branch=main)]({actions})\n" if place else ""


def commands(address: str) -> str:
    """Return the commands that a reader types first."""
    folder = address.rstrip("/").removesuffix(".git").rpartition("/")[2]
    fetch = f"git clone {address} && cd {folder}\n" if address else ""
    return f"""\
```
{fetch}make gif     # trains the DCGAN and leaves runs/dcgan/progress.gif
make test    # the unit tests, and every chapter through nbval, strictly
```
"""


def table(chapters: list[Chapter], place: str) -> str:
    """Return the table of chapters, each with its badges where the project is on GitHub."""
    rows = [("chapter", "the claim that it tests", "on 2 CPU cores", "main result")]
    rows += [(f"[{c.title}](notebooks/{c.file})", c.claim, c.time, c.result) for c in chapters]
    rows.insert(1, ("---",) * 4)
    if place:
        at = f"{place}/blob/main/notebooks"
        badges = [
            f"[![Colab]({COLAB_BADGE})](https://colab.research.google.com/github/{at}/{c.file}) "
            f"[![nbviewer]({NBVIEWER_BADGE})](https://nbviewer.org/github/{at}/{c.file})"
            for c in chapters
        ]
        rows = [(*row, last) for row, last in zip(rows, ("open in", "---", *badges), strict=True)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def written(readme: str, chapters: list[Chapter], address: str) -> str:
    """Return the front page's text with each part made anew."""
    place = github(address)
    parts = {"tests": tests_badge(place), "commands": commands(address), "chapters": table(chapters, place)}
    for name, part in parts.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
        before, rest = readme.split(start)
        readme = before + start + part + end + rest.split(end)[1]
    return readme


def chapters() -> list[Chapter]:
    """Read all chapters, in order."""
    return [read(path) for path in sorted(FOLDER.glob("[0-9]*.ipynb"))]


def page() -> str:
    """Return what README.md should hold."""
    return written(README.read_text(encoding="utf-8"), chapters(), repository())


def start() -> str:
    """Return what notebooks/README.md should hold."""
    rows = table(chapters(), github(repository())).replace("](notebooks/", "](")
    return f"{START_HEAD}\n{rows}"


if __name__ == "__main__":
    README.write_text(page(), encoding="utf-8")
    START.write_text(start(), encoding="utf-8")
