"""Where the seconds of the tests go: which file starts first, and the table at the end."""

import re

CHAPTERS_PLANNED = 26
COURSE_SECONDS = 25 * 60  # what all of them may take, one after the other
CHAPTER = re.compile(r"notebooks/\d\d_\w+\.ipynb$")

# Two workers take a file each. A long one that started last would leave the other worker idle, so these come first.
LONGEST_FIRST = (
    "notebooks/04_dcgan_mnist.ipynb",
    "notebooks/05_measuring_a_gan.ipynb",
    "notebooks/23_many_devices.ipynb",
    "tests/test_runs.py",
    "tests/test_conditional.py",
    "notebooks/25_your_own_pictures.ipynb",
    "notebooks/09_conditional.ipynb",
    "notebooks/06_when_gans_fail.ipynb",
    "notebooks/07_wasserstein.ipynb",
    "notebooks/03_the_train_step.ipynb",
    "notebooks/01_the_adversarial_idea.ipynb",
    "tests/test_devices.py",
    "tests/test_main.py",
    "tests/test_keras.py",
)


def file_of(nodeid: str) -> str:
    """Return the file of a test or of a notebook's cell, from the project's folder."""
    return nodeid.split("::")[0]


def rank(nodeid: str) -> int:
    """Return the place of a test's file: that in `LONGEST_FIRST`, or after all of these."""
    name = file_of(nodeid)
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)


def pytest_collection_modifyitems(items) -> None:
    """Put the longest files first; within a file nothing moves."""
    items.sort(key=lambda item: rank(item.nodeid))


def seconds_by_file(reports) -> dict[str, float]:
    """Add up what set-up, call and clean-up of each file's tests took, the longest first.

    Args:
        reports: pytest's; each has a `nodeid` and a `duration` in seconds.
    """
    seconds: dict[str, float] = {}
    for report in reports:
        name = file_of(report.nodeid)
        seconds[name] = seconds.get(name, 0.0) + report.duration
    return dict(sorted(seconds.items(), key=lambda entry: -entry[1]))


def table(seconds: dict[str, float]) -> list[str]:
    """Return the lines that `make test` ends with: files, sums, and what is left for the chapters to come."""
    lines = [f"{value:7.1f} s  {name}" for name, value in seconds.items()]
    chapters = {name: value for name, value in seconds.items() if CHAPTER.search(name)}
    units = sum(seconds.values()) - sum(chapters.values())
    lines.append(
        f"{sum(seconds.values()):7.1f} s  in all; unit tests {units:.1f} s, chapters {sum(chapters.values()):.1f} s"
    )
    if chapters:
        left, to_come = COURSE_SECONDS - sum(chapters.values()), CHAPTERS_PLANNED - len(chapters)
        lines.append(
            f"{len(chapters)} of {CHAPTERS_PLANNED} chapters ran; of {COURSE_SECONDS} s for all, {left:.0f} s are left "
            f"for the other {to_come}" + (f": {left / to_come:.0f} s each" if to_come else "")
        )
    return lines


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the table; with two workers it is their time added up, without the start of TensorFlow in each."""
    reports = [
        report
        for listed in terminalreporter.stats.values()
        for report in listed
        if hasattr(report, "duration") and getattr(report, "when", None)
    ]
    if not reports:
        return
    terminalreporter.section("seconds of each file, of one worker")
    for line in table(seconds_by_file(reports)):
        terminalreporter.write_line(line)
