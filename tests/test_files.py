"""Files that appear whole or not at all, also where two write at once or one was killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gan_tf import UsageError, files

HOLDS = """
import runpy, sys
write_whole = runpy.run_path(sys.argv[1])["write_whole"]  # without the package, which would start TensorFlow
def write(file):
    file.write(b"half")
    file.flush()
    print("ready", flush=True)
    sys.stdin.readline()
    file.write(b" and half")
write_whole(sys.argv[2], write)
"""


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_of_two_writers_each_has_its_own_partial_file(tmp_path):
    """The second begins and ends while the first is half done; neither is ever seen torn."""
    path = tmp_path / "metrics.json"

    def first(file):
        file.write(b"a" * 500)
        files.write_whole(path, lambda other: other.write(b"b" * 1000))
        assert path.read_bytes() == b"b" * 1000
        file.write(b"a" * 500)

    files.write_whole(path, first)
    assert path.read_bytes() == b"a" * 1000
    assert names(tmp_path) == ["metrics.json"]


def test_a_write_that_fails_leaves_what_stood_there(tmp_path):
    (tmp_path / "out").write_text("before", encoding="utf-8")

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        files.write_whole(tmp_path / "out", fail)
    assert (tmp_path / "out").read_text(encoding="utf-8") == "before"
    assert names(tmp_path) == ["out"]


def test_the_name_comes_after_the_disk_has_the_content(tmp_path, monkeypatch):
    """Else a crash of the machine could leave the name with nothing behind it."""
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda *a: (done.append("fsync"), fsync(*a)))
    monkeypatch.setattr(os, "replace", lambda *a, **k: (done.append("replace"), replace(*a, **k)))
    files.write_whole(tmp_path / "out", lambda file: file.write(b"x"))
    assert done == ["fsync", "replace"]


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_s_files_have_their_names_after_the_disk_has_all_of_them(tmp_path, monkeypatch, there):
    done, fsync, rename = [], os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda *a: (done.append("fsync"), fsync(*a)))
    monkeypatch.setattr(os, "rename", lambda *a, **k: (done.append("rename"), rename(*a, **k)))
    if there:
        (tmp_path / "out").mkdir()
    files.write_folder(tmp_path / "out", lambda folder: [(folder / name).touch() for name in "abc"])
    assert done == ["fsync"] * 3 + ["rename"] * (3 if there else 1)
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["a", "b", "c"]


def test_of_two_writers_of_one_new_folder_the_second_is_refused(tmp_path):
    """It begins and ends while the first is half done, and nothing of the first is mixed in."""

    def first(folder):
        (folder / "first").touch()
        files.write_folder(tmp_path / "out", lambda other: (other / "second").touch())

    with pytest.raises(OSError, match="not empty"):
        files.write_folder(tmp_path / "out", first)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["out", "out/second"]


def test_a_file_has_the_permissions_of_any_other(tmp_path):
    """Not those of a temporary file, which nobody else may read."""
    (tmp_path / "other").write_text("", encoding="utf-8")
    files.write_whole(tmp_path / "out", lambda file: file.write(b"x"))
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    files.write_whole(tmp_path / ("x" * 255), lambda file: file.write(b"x"))
    assert names(tmp_path) == ["x" * 255]


def test_a_link_in_the_place_of_a_partial_file_is_not_followed(tmp_path, monkeypatch):
    """Its name cannot be guessed; were it, the link would still not be written through."""
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "guessed")
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    (tmp_path / ".guessed.partial").symlink_to(tmp_path / "precious.txt")
    with pytest.raises(FileExistsError):
        files.write_whole(tmp_path / "out", lambda file: file.write(b"x"))
    assert (tmp_path / "precious.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.slow
def test_partial_files_of_the_killed_go_and_those_of_the_living_stay(tmp_path):
    """Two processes in the middle of a write; one is killed."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDS, files.__file__, tmp_path / name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("killed", "living")
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    writers[0].kill()
    writers[0].communicate()
    assert len(names(tmp_path)) == 2
    files.remove_partials(tmp_path)
    assert len(names(tmp_path)) == 1
    writers[1].communicate("go on\n")
    assert (tmp_path / "living").read_text(encoding="utf-8") == "half and half"
    assert names(tmp_path) == ["living"]


def test_where_files_have_no_locks_a_partial_one_goes_unless_the_system_refuses(tmp_path, monkeypatch):
    """As on Windows, which deletes no file that somebody has open."""
    monkeypatch.setattr(files, "fcntl", None)
    unlink = Path.unlink

    def refuse(path, **options):
        if path.name == ".held.partial":
            raise PermissionError(13, "The process cannot access the file because it is being used", str(path))
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", refuse)
    for name in ("held", "left"):
        (tmp_path / f".{name}.partial").write_bytes(b"half")
    files.remove_partials(tmp_path)
    assert names(tmp_path) == [".held.partial"]


def test_where_files_have_no_locks_they_are_closed_before_they_are_named(tmp_path, monkeypatch):
    """Windows renames no file that is open, and deletes none."""
    monkeypatch.setattr(files, "fcntl", None)
    opened, at_work, replace, unlink = [], [], Path.replace, Path.unlink
    monkeypatch.setattr(Path, "replace", lambda path, to: (at_work.append(opened[-1].closed), replace(path, to))[1])
    monkeypatch.setattr(
        Path, "unlink", lambda path, **options: (at_work.append(opened[-1].closed), unlink(path, **options))[1]
    )
    files.write_whole(tmp_path / "out", lambda file: (opened.append(file), file.write(b"x")))
    with pytest.raises(ZeroDivisionError):
        files.write_whole(tmp_path / "out", lambda file: (opened.append(file), 1 / 0))
    assert at_work == [True, True]
    assert names(tmp_path) == ["out"]


def test_other_files_and_links_are_not_taken_for_partial_ones(tmp_path):
    (tmp_path / "notes.partial").write_text("mine", encoding="utf-8")
    (tmp_path / ".a.partial").symlink_to(tmp_path / "notes.partial")
    os.mkfifo(tmp_path / ".b.partial")  # opening it would wait for a writer
    files.remove_partials(tmp_path)
    assert names(tmp_path) == [".a.partial", ".b.partial", "notes.partial"]


# Memory.


def fake_root(folder, groups: str, limits: dict[str, str]):
    """Make the files in which Linux tells a process its control groups and their limits."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(groups, encoding="utf-8")
    for name, content in limits.items():
        path = folder / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


V1 = "12:cpu,cpuacct:/docker/abc\n7:memory:/docker/abc\n1:name=systemd:/docker/abc\n"
LIMITS = {
    "version 2": ("0::/job/step\n", {"job/step/memory.max": "300000000\n"}),
    "version 2, in a container": ("0::/\n", {"memory.max": "300000000\n"}),
    "version 2, of the group around it": (
        "0::/job/step\n",
        {"job/step/memory.max": "max\n", "job/memory.max": "300000000\n", "memory.max": "400000000\n"},
    ),
    "version 2, of one outside": ("0::/../../job\n", {"memory.max": "300000000\n"}),
    "version 1": (V1, {"memory/docker/abc/memory.limit_in_bytes": "300000000\n"}),
    "version 1, in a container": (V1, {"memory/memory.limit_in_bytes": "300000000\n"}),
    "both at once": (f"{V1}0::/\n", {"memory/memory.limit_in_bytes": "300000000\n"}),
}


@pytest.mark.parametrize(("groups", "limits"), LIMITS.values(), ids=LIMITS)
def test_a_container_has_the_memory_that_it_was_given(groups, limits, tmp_path, monkeypatch):
    root = fake_root(tmp_path, groups, limits)
    assert files.total_memory(root) == 300_000_000
    monkeypatch.setattr(os, "sysconf", lambda name: 100_000 if name == "SC_PHYS_PAGES" else 1000)
    assert files.total_memory(root) == 100_000_000  # the machine has less


@pytest.mark.parametrize(
    ("groups", "limits"),
    [
        ("0::/\n", {"memory.max": "max\n"}),
        ("0::/\n", {"other": ""}),
        ("5:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}),
        ("3:cpu:/\n", {"memory.max": "1000\n", "cpu/memory.max": "1000\n"}),
        ("", {}),
    ],
    ids=["max", "no file", "version 1's word for none", "of another resource", "no groups"],
)
def test_without_a_limit_the_memory_is_the_machine_s(groups, limits, tmp_path, monkeypatch):
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert files.total_memory(fake_root(tmp_path, groups, limits)) == machine
    assert files.total_memory(tmp_path / "a system without such files") == machine
    monkeypatch.delattr(os, "sysconf")  # as on Windows
    assert files.total_memory(tmp_path / "a system without such files") == sys.maxsize


def test_what_does_not_fit_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(files, "total_memory", lambda: 3_000_000_000)
    files.check_memory(3_000_000_000, "this")
    with pytest.raises(UsageError, match="that needs about 4 GB of memory, here are 3 GB; ask for less"):
        files.check_memory(4_000_000_000, "that")
