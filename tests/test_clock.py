"""The table at the end of `make test`, and the order of the files."""

from types import SimpleNamespace

import chapters
import clock
import pytest

REPORTS = [
    SimpleNamespace(nodeid=name, duration=duration)
    for name, duration in [
        ("tests/test_a.py::test_one", 0.5),
        ("tests/test_a.py::test_one", 1.0),
        ("tests/test_a.py::test_two[x::y]", 0.25),
        ("notebooks/01_a.ipynb::Cell 0", 100.0),
        ("notebooks/01_a.ipynb::Cell 1", 50.0),
    ]
]


def test_seconds_are_added_up_for_each_file_the_longest_first():
    assert list(clock.seconds_by_file(REPORTS).items()) == [("notebooks/01_a.ipynb", 150.0), ("tests/test_a.py", 1.75)]


def test_the_table_tells_what_is_left_for_the_chapters_to_come():
    lines = clock.table(clock.seconds_by_file(REPORTS))
    assert lines[:2] == ["  150.0 s  notebooks/01_a.ipynb", "    1.8 s  tests/test_a.py"]
    assert lines[2] == "  151.8 s  in all; unit tests 1.8 s, chapters 150.0 s"
    assert lines[3] == "1 of 26 chapters ran; of 1500 s for all, 1350 s are left for the other 25: 54 s each"


def test_without_chapters_there_is_no_plan():
    assert len(clock.table({"tests/test_a.py": 1.0})) == 2


def test_long_files_come_first_and_the_order_within_a_file_stays():
    first = clock.LONGEST_FIRST[0]
    items = [SimpleNamespace(nodeid=name) for name in ("z::1", f"{first}::b", "z::0", f"{first}::a")]
    clock.pytest_collection_modifyitems(items)
    assert [item.nodeid for item in items] == [f"{first}::b", f"{first}::a", "z::1", "z::0"]


@pytest.mark.parametrize("name", clock.LONGEST_FIRST)
def test_the_files_that_come_first_exist(name):
    assert (chapters.ROOT / name).is_file()
