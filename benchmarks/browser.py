"""Read a chapter as a reader does, in JupyterLab in a browser: `python benchmarks/browser.py [CHAPTER.ipynb]`, else 01.

A copy without outputs is opened and all of it is run by the menu. Then each cell must have run, without an error, and
each picture that the stored chapter has must be displayed anew; a GIF must move. Screenshots go to runs/browser/.

It needs Playwright (`pip install playwright`) and a Chromium: Debian's (`apt install chromium`) or Playwright's own
(`playwright install chromium`). JupyterLab is that of .venv, so Playwright may be in another environment. Not in CI.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCREENSHOTS = ROOT / "runs" / "browser"
CHAPTER = ROOT / "notebooks" / "01_the_adversarial_idea.ipynb"
START_SECONDS, RUN_SECONDS = 60, 600  # both only prevent a hang

# What the page shows: each code cell's prompt, the kinds of its outputs, and the pictures in them. Cells outside of the
# window are not rendered, so that they have a textContent and no innerText.
LOOK = """() => [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')].map(cell => ({
    prompt: cell.querySelector('.jp-InputPrompt')?.textContent.trim() ?? '',
    kinds: [...cell.querySelectorAll('.jp-OutputArea-output')].map(each => each.dataset.mimeType ?? ''),
    pictures: [...cell.querySelectorAll('.jp-OutputArea-output img')].map(each => ({
        source: each.src.slice(0, 100),
        decoded: each.complete && each.naturalWidth > 0,
    })),
}))"""
STDERR = "application/vnd.jupyter.stderr"  # also of an error, which only the saved file tells apart


def without_outputs(notebook: dict) -> dict:
    """Return a chapter as it is before anybody ran it, so that what is seen was made now."""
    blank = {"outputs": [], "execution_count": None}
    return notebook | {"cells": [c | blank if c["cell_type"] == "code" else c for c in notebook["cells"]]}


def kind_of(source: str) -> str:
    """Return a picture's kind from its address, data:KIND;base64,CONTENT.

    Chapters store a GIF as image/png, the kind that nbconvert and nbviewer show too, so its content tells what it is.
    """
    kind, _, content = source.removeprefix("data:").partition(";base64,")
    return "image/gif" if content.startswith("R0lGOD") else kind


def stored_pictures(notebook: dict) -> Counter:
    """Count a stored chapter's pictures by their kind: image/png, image/gif."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    pictures = [
        [f"data:{kind};base64,{content}" for kind, content in output.get("data", {}).items() if kind[:6] == "image/"]
        for output in outputs
    ]
    return Counter(kind_of(each[0]) for each in pictures if each)


def is_done(cells: list[dict]) -> bool:
    """Return whether the first cell has run and none waits any more: all have, or an error has stopped the rest."""
    prompts = [cell["prompt"] for cell in cells]
    return bool(prompts) and prompts[0] not in ("", "[ ]:") and "[*]:" not in prompts


def faults(cells: list[dict], expected: Counter, count: int) -> list[str]:
    """Say what a reader would miss.

    Args:
        cells: what the page shows, as `LOOK` returns it.
        expected: pictures by their kind.
        count: of the chapter's code cells.
    """
    found = [f"{len(cells)} code cells are shown, of {count}"] * (len(cells) != count)
    for place, cell in enumerate(cells, 1):
        if cell["prompt"] != f"[{place}]:":
            found.append(f"code cell {place} stands at {cell['prompt']!r}")
        broken = sum(not picture["decoded"] for picture in cell["pictures"])
        found += [f"code cell {place}: {broken} pictures are broken"] * bool(broken)

    shown = Counter(kind_of(picture["source"]) for cell in cells for picture in cell["pictures"])
    found += [f"{shown[kind]} pictures of {kind}, stored are {expected[kind]}" for kind in sorted(expected | shown)
              if shown[kind] != expected[kind]]  # fmt: skip
    return found


@contextlib.contextmanager
def jupyter_lab(folder: Path):
    """Serve a folder, with the settings of a fresh JupyterLab, and yield the address and the token."""
    own = ROOT / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    python = own if shutil.which(own) else sys.executable
    token = secrets.token_hex(16)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    command = [python, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--notebook-dir={folder}"]
    command += ["--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with tempfile.TemporaryDirectory() as home, open(Path(home, "log"), "wb") as log:
        kept = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
        environment = os.environ | {f"JUPYTER_{name}": str(Path(home, name)) for name in kept}
        environment |= {"JUPYTERLAB_SETTINGS_DIR": str(Path(home, "settings"))}
        environment |= {"JUPYTERLAB_WORKSPACES_DIR": str(Path(home, "workspaces"))}
        quiet = Path(home, "settings", "@jupyterlab", "apputils-extension", "notification.jupyterlab-settings")
        quiet.parent.mkdir(parents=True)
        quiet.write_text('{"fetchNews": "false"}', encoding="utf-8")  # it would ask, over the lower right corner
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            if not answers(f"{address}/api?token={token}", server):
                raise SystemExit("JupyterLab did not start:\n" + Path(home, "log").read_text(encoding="utf-8")[-2000:])
            yield address, token
        finally:
            server.terminate()
            server.wait()


def answers(address: str, server: subprocess.Popen) -> bool:
    """Wait for a server's first answer, and return whether it came."""
    end = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(address, timeout=5):
            return True
        time.sleep(0.2)
    return False


def errors(notebook: dict) -> list[str]:
    """Name the errors that a notebook holds."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return [f"{each['ename']}: {each['evalue']}" for each in outputs if each["output_type"] == "error"]


def run_all(page) -> list[dict]:
    """Run all cells by the menu, wait until none is left, save, and return what the page shows."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    end = time.monotonic() + RUN_SECONDS
    while not is_done(cells := page.evaluate(LOOK)) and time.monotonic() < end:
        page.wait_for_timeout(500)

    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_text("Save Notebook", exact=True).click()
    page.get_by_text("Saving completed").wait_for(timeout=1000 * START_SECONDS)
    return cells


def moves(page, picture) -> bool:
    """Return whether a GIF looks different some time later."""
    first = picture.screenshot()
    for _ in range(20):
        page.wait_for_timeout(250)
        if picture.screenshot() != first:
            return True
    return False


def read(chapter: Path, copy: Path, address: str, token: str) -> list[str]:
    """Read a chapter's copy in the browser and return what was wrong."""
    from playwright.sync_api import sync_playwright

    notebook = json.loads(chapter.read_text(encoding="utf-8"))
    count = sum(cell["cell_type"] == "code" for cell in notebook["cells"])
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # for whom Chromium has no sandbox
    arguments = ["--no-sandbox"] * root + ["--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        messages = []
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(f"{address}/lab/tree/{chapter.name}?token={token}")
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=1000 * START_SECONDS)
        page.get_by_text("| Idle").wait_for(timeout=1000 * START_SECONDS)  # of the kernel; before that, nothing runs
        page.screenshot(path=SCREENSHOTS / "opened.png")

        started = time.perf_counter()
        cells = run_all(page)
        seconds = time.perf_counter() - started
        print(f"{browser.browser_type.name} {browser.version}: {len(cells)} code cells ran in {seconds:.0f} s")
        found = faults(cells, stored_pictures(notebook), count) + look_at_pictures(page)
        found += errors(json.loads(copy.read_text(encoding="utf-8")))
        page.screenshot(path=SCREENSHOTS / "end.png")
        pink = [place for place, cell in enumerate(cells, 1) if STDERR in cell["kinds"]]
        print(f"cells with standard error, which is pink: {pink or 'none'}; errors of the page itself: {messages}")
        browser.close()
    return found


def look_at_pictures(page) -> list[str]:
    """Scroll to each picture and photograph it with what is around; return what is not displayed or should move."""
    found = []
    pictures = page.locator(".jp-Notebook .jp-OutputArea-output img")
    for number in range(pictures.count()):
        picture, name = pictures.nth(number), f"picture_{number + 1}"
        picture.scroll_into_view_if_needed()
        page.screenshot(path=SCREENSHOTS / f"{name}.png")
        kind = kind_of(picture.get_attribute("src"))
        size = picture.bounding_box() or {"width": 0, "height": 0}
        still = kind == "image/gif" and not moves(page, picture)

        found += [f"{name} is not displayed"] * (not (size["width"] and size["height"]))
        found += [f"{name} is a GIF that does not move"] * still
        print(f"{name}: {kind}, {size['width']:.0f} x {size['height']:.0f}", end="")
        print("" if kind != "image/gif" else ", still" if still else ", moving")
    return found


def main() -> int:
    """Serve a copy of the chapter, read it, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapter", nargs="?", type=Path, default=CHAPTER)
    chapter = parser.parse_args().chapter.resolve()
    notebook = json.loads(chapter.read_text(encoding="utf-8"))
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, chapter.name)
        copy.write_text(json.dumps(without_outputs(notebook)), encoding="utf-8")
        with jupyter_lab(Path(folder)) as (address, token):
            found = read(chapter, copy, address, token)
    for fault in found:
        print(f"wrong: {fault}")
    print(f"{chapter.name}: {len(found)} faults; screenshots are in {SCREENSHOTS}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
