"""Pictures that nobody prepared: found, known again by their content, made alike, kept, held out, or refused."""

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import types
import warnings
from pathlib import Path

import filelock
import keras
import numpy as np
import pytest
import small
import tensorflow as tf
from PIL import Image

from gan_tf import UsageError, data, datasets, folders, prepare, resize, runs
from gan_tf import __main__ as command_line
from gan_tf.datasets import DataError
from gan_tf.sizes import SIZES


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("GAN_TF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Make a folder of 40 pictures of 32x32 in colour."""
    return write(tmp_path / "pictures", 40)


def pixels(number: int, height: int = 32, width: int = 32, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, channels), np.uint8)


def write(folder: Path, count: int, suffix: str = ".png", first: int = 0, **sizes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        array = pixels(number, **sizes)
        Image.fromarray(array.squeeze()).save(folder / f"{number:04d}{suffix}")
    return folder


def all_images(dataset: data.Dataset) -> set[bytes]:
    return {image.tobytes() for part in (dataset.x_train, dataset.x_test) for image in part}


# One picture.


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".gif", ".jpg"])
def test_each_format_is_read(suffix, channels, tmp_path):
    smooth = np.linspace(0, 255, 32).astype(np.uint8)
    array = np.stack([np.add.outer(smooth // 2, smooth // 2)] * channels, axis=-1)
    lossless = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(array.squeeze()).save(tmp_path / f"one{suffix}", **lossless)
    with Image.open(tmp_path / f"one{suffix}") as image:
        found = resize.fitted(image, 32, channels)
    assert found.shape == (32, 32, channels)
    assert np.abs(found.astype(int) - array).max() <= (0 if suffix != ".jpg" else 6)


def test_the_middle_square_is_cut_out():
    wide = np.zeros((32, 64, 3), np.uint8)
    wide[:, 16:48] = pixels(0)
    np.testing.assert_array_equal(resize.fitted(Image.fromarray(wide), 32, 3), pixels(0))
    tall = wide.swapaxes(0, 1)
    np.testing.assert_array_equal(resize.fitted(Image.fromarray(tall), 32, 3), pixels(0).swapaxes(0, 1))


@pytest.mark.parametrize("side", [31, 50, 64, 200, 1000])
def test_resizing_keeps_what_is_smooth_and_takes_the_mean_of_what_is_not(side):
    ramp = np.linspace(20, 235, side)
    grey = np.add.outer(ramp, ramp) / 2
    found = resize.fitted(Image.fromarray(grey.round().astype(np.uint8)), 16, 1)[..., 0]
    centres = np.interp((np.arange(16) + 0.5) / 16 * side - 0.5, np.arange(side), ramp)
    np.testing.assert_allclose(found, np.add.outer(centres, centres) / 2, atol=3)
    if side % 2 == 0 and side > 100:
        board = 255 * (np.indices((side, side)).sum(axis=0) % 2).astype(np.uint8)
        inside = resize.fitted(Image.fromarray(board), 16, 1)[2:-2, 2:-2]
        assert np.abs(inside - 127.5).max() < 8, "one pixel in so many would be black or white"


def test_a_picture_lies_over_white_where_it_is_transparent():
    clear = np.dstack([pixels(0), np.zeros((32, 32), np.uint8)])
    assert (resize.fitted(Image.fromarray(clear, "RGBA"), 32, 3) == 255).all()
    half = np.dstack([np.zeros((32, 32, 3), np.uint8), np.full((32, 32), 128, np.uint8)])
    assert np.unique(resize.fitted(Image.fromarray(half, "RGBA"), 32, 1)).tolist() == [127]


@pytest.mark.parametrize("mode", ["P", "LA", "L", "RGB"])
def test_transparency_of_other_modes(mode, tmp_path):
    image = Image.new(mode, (16, 16), (0, 0) if mode == "LA" else (0, 0, 0) if mode == "RGB" else 0)
    options = {"P": {"transparency": 0}, "L": {"transparency": 0}, "RGB": {"transparency": (0, 0, 0)}}.get(mode, {})
    image.save(tmp_path / "one.png", **options)
    with Image.open(tmp_path / "one.png") as image:
        assert (resize.fitted(image, 16, 3) == 255).all()


def test_a_palette_is_looked_up(tmp_path):
    image = Image.fromarray(np.tile(np.arange(2, dtype=np.uint8), (16, 8)), "P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert not resize.is_grey(image)
        assert resize.fitted(image, 16, 3)[0, :2].tolist() == [[255, 0, 0], [0, 0, 255]]
    image = Image.new("P", (16, 16))
    image.putpalette([0, 0, 0, 99, 99, 99])
    assert resize.is_grey(image)


def test_16_bits_become_8(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert resize.is_grey(image)
        np.testing.assert_allclose(resize.fitted(image, 16, 1)[..., 0], ramp / 257, atol=0.51)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_s_orientation_is_obeyed(orientation, tmp_path):
    upright = np.zeros((64, 64), np.uint8)
    upright[:32, :32], upright[:32, 32:] = 255, 128
    stored = {  # of the EXIF standard: what the first row and column of the file are
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "one.png", exif=exif)
    with Image.open(tmp_path / "one.png") as image:
        found = resize.fitted(image, 16, 1)[..., 0]
    assert [found[4, 4], found[4, 12], found[12, 4], found[12, 12]] == pytest.approx([255, 128, 0, 0], abs=3)


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "one.jpg")
    with Image.open(tmp_path / "one.jpg") as image:
        assert np.abs(resize.fitted(image, 16, 3)[8, 8].astype(int) - [255, 0, 0]).max() < 4


# A folder.


def test_a_folder_becomes_a_dataset(pictures):
    dataset = data.load(pictures)
    assert dataset.name == str(pictures)
    assert (len(dataset.x_train), len(dataset.x_test)) == (24, 16)
    assert dataset.image_shape == (32, 32, 3)
    assert dataset.y_train is dataset.y_test is None
    assert dataset.classes == 0
    assert all_images(dataset) == {pixels(number).tobytes() for number in range(40)}
    assert repr(dataset).endswith("24 training and 16 test images, uint8 (32, 32, 3), no labels")
    assert list(dataset.files) == [f"{number:04d}.png" for number in range(40)]


def test_a_tenth_is_held_out_and_by_the_seed(tmp_path):
    write(tmp_path / "many", 300, height=16, width=16)
    first, again, other = (prepare.load(tmp_path / "many", seed=seed) for seed in (0, 0, 1))
    assert (len(first.x_train), len(first.x_test)) == (270, 30)
    np.testing.assert_array_equal(first.x_test, again.x_test)
    assert all_images(first) == all_images(other)
    assert {image.tobytes() for image in first.x_test} != {image.tobytes() for image in other.x_test}


def test_subfolders_are_classes_and_each_has_its_share_held_out(tmp_path):
    for number, (name, count) in enumerate({"b": 100, "a": 60, "c": 40}.items()):
        write(tmp_path / "own" / name, count, first=1000 * number)
    dataset = data.load(tmp_path / "own")
    assert dataset.class_names == ("a", "b", "c")
    assert np.bincount(dataset.y_train).tolist() == [54, 90, 36]
    assert np.bincount(dataset.y_test).tolist() == [6, 10, 4]
    assert dataset.y_train.dtype == np.uint8
    of_class = {0: range(1000, 1060), 1: range(100), 2: range(2000, 2040)}
    for image, label in zip(dataset.x_test, dataset.y_test, strict=True):
        assert image.tobytes() in {pixels(number).tobytes() for number in of_class[label]}


def test_the_classes_are_those_of_keras(tmp_path):
    for number, name in enumerate(["Zebra", "ape", "猫", "b c", "10", "9"]):
        write(tmp_path / "own" / name, 8, first=100 * number)
    ours = data.load(tmp_path / "own")
    theirs = keras.utils.image_dataset_from_directory(tmp_path / "own", image_size=(32, 32), verbose=False)
    assert list(ours.class_names) == theirs.class_names
    by_keras = {
        image.astype(np.uint8).tobytes(): label
        for images, labels in theirs.as_numpy_iterator()
        for image, label in zip(images, labels, strict=True)
    }
    by_us = {image.tobytes(): label for image, label in zip(ours.x_train, ours.y_train, strict=True)}
    assert by_us == {image: by_keras[image] for image in by_us}


def test_one_subfolder_is_no_class(tmp_path):
    write(tmp_path / "own" / "images" / "all", 40)
    assert data.load(tmp_path / "own").y_train is None


def test_pictures_beside_subfolders_have_no_labels_and_that_is_said(pictures, capsys):
    write(pictures / "sub", 5, first=100)
    dataset = data.load(pictures)
    assert (len(dataset.x_train) + len(dataset.x_test), dataset.y_train) == (45, None)
    assert "no labels: pictures lie in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(64, 64)] * 40, 64),
        ([(60, 60)] * 40, 32),  # not one of ours
        ([(64, 48)] * 40, 32),  # not square
        ([(64, 64)] * 39 + [(80, 80)], 32),  # unlike
    ],
)
def test_the_size_is_the_pictures_own_where_it_can_be(sizes, expected, tmp_path):
    for number, (height, width) in enumerate(sizes):
        write(tmp_path / "own", 1, first=number, height=height, width=width)
    assert data.load(tmp_path / "own").image_shape == (expected, expected, 3)
    assert data.load(tmp_path / "own", size=20, channels=1).image_shape == (20, 20, 1)


def test_grey_pictures_have_one_channel_and_a_single_coloured_one_makes_it_three(tmp_path):
    write(tmp_path / "own", 40, channels=1)
    assert data.load(tmp_path / "own").image_shape == (32, 32, 1)
    assert data.load(tmp_path / "own", channels=3).image_shape == (32, 32, 3)
    write(tmp_path / "own", 1, first=40)
    assert data.load(tmp_path / "own").image_shape == (32, 32, 3)


def test_each_size_can_be_had(pictures):
    assert [data.load(pictures, size=size).x_train.shape[1] for size in SIZES] == list(SIZES)


@pytest.mark.parametrize(("asked", "line"), [({"size": 50}, "nearest: 48 and 56"), ({"channels": 4}, "got 4")])
def test_other_shapes_are_refused_before_anything_is_read(asked, line, tmp_path):
    with pytest.raises(UsageError, match=line):
        data.load(tmp_path / "missing", **asked)


def test_published_images_can_be_had_in_another_size_and_in_colour():
    small_ones, whole = data.load("digits", size=20, channels=3), data.load("digits")
    assert small_ones.x_train.shape == (1500, 20, 20, 3)
    assert (small_ones.x_train == small_ones.x_train[..., :1]).all()
    assert np.abs(small_ones.x_train.mean() - whole.x_train.mean()) < 2
    np.testing.assert_array_equal(small_ones.y_test, whole.y_test)
    assert data.load("digits", size=28).digest == whole.digest
    assert repr(small_ones).startswith("bundled digits, changed: ")


# An .npz.


@pytest.mark.parametrize("shape", [(40, 28, 28), (40, 28, 28, 1), (40, 64, 48, 3)])
@pytest.mark.parametrize("labelled", [False, True])
def test_an_npz_becomes_a_dataset(shape, labelled, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    labels = {"labels": np.arange(40) % 4} if labelled else {}
    np.savez(tmp_path / "own.npz", images=images, **labels)
    dataset = data.load(tmp_path / "own.npz")
    assert dataset.image_shape == ((28, 28, 1) if shape[1] == 28 else (32, 32, 3))
    assert len(dataset.x_train) + len(dataset.x_test) == 40
    assert dataset.classes == (4 if labelled else 0)
    if shape[1] == 28:
        assert all_images(dataset) == {image.tobytes() for image in images}


def test_labels_of_an_npz_keep_their_numbers(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16), np.uint8)
    np.savez(tmp_path / "own.npz", images=images, labels=np.resize([3, 7], 40))
    dataset = data.load(tmp_path / "own.npz")
    assert dataset.class_names == ("3", "7")
    assert set(dataset.y_train.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"x_train": np.zeros(3)}, "holds no array `images`, only x_train; save it under that name"),
        ({"images": np.zeros((40, 28, 28), np.float32)}, r"images must be uint8 .+ got float32 \(40, 28, 28\)"),
        ({"images": np.zeros((40, 28, 28, 4), np.uint8)}, r"images must be uint8 .+ got uint8 \(40, 28, 28, 4\)"),
        ({"images": np.zeros((40, 784), np.uint8)}, r"images must be uint8 .+ got uint8 \(40, 784\)"),
        ({"images": np.zeros((0, 28, 28), np.uint8)}, "holds no pictures"),
        ({"images": np.zeros((40, 28, 28), np.uint8), "labels": np.zeros(39, int)}, "labels must be 40 whole numbers"),
        ({"images": np.zeros((40, 28, 28), np.uint8), "labels": np.zeros(40)}, "labels must be 40 whole numbers"),
        ({"images": np.array([object()] * 40)}, "is damaged or no .npz of pictures"),
    ],
)
def test_an_npz_of_something_else_is_told_in_one_line(arrays, line, tmp_path):
    np.savez(tmp_path / "own.npz", **arrays)
    refused(tmp_path / "own.npz", line)


def test_an_npz_that_unpacks_to_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "own.npz", images=np.zeros((1000, 64, 64, 3), np.uint8))
    monkeypatch.setattr(folders, "total_memory", lambda: 12_000_000)
    refused(tmp_path / "own.npz", "images is too large")


def test_a_damaged_npz_is_told_in_one_line(tmp_path):
    (tmp_path / "own.npz").write_bytes(b"PK\3\4 and then nothing")
    refused(tmp_path / "own.npz", "is damaged or no .npz of pictures")


# What is wrong with a folder.


def refused(path: Path, line: str) -> str:
    with pytest.raises(DataError, match=line) as error:
        data.load(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty holds no PNG, JPEG, WebP, BMP or GIF that can be read; name another folder")
    (tmp_path / "empty" / "notes.txt").write_text("none", encoding="utf-8")
    refused(tmp_path / "empty", "holds no PNG")


def test_too_few_pictures_are_refused(tmp_path):
    refused(write(tmp_path / "own", 31), "31 pictures can be used, and a GAN needs at least 32: add more")
    write(tmp_path / "own", 1, first=31)
    assert len(data.load(tmp_path / "own").x_test) == 16


@pytest.mark.parametrize("count", [999, 1000])
def test_few_pictures_get_a_line(count, tmp_path, capsys):
    np.savez(tmp_path / "own.npz", images=np.random.default_rng(0).integers(0, 256, (count, 16, 16), np.uint8))
    data.load(tmp_path / "own.npz")
    assert ("999 pictures are few" in capsys.readouterr().out) == (count == 999)


def test_other_files_are_skipped_and_counted(pictures, capsys):
    for number in range(5):
        (pictures / f"notes{number}.txt").write_text("of the pictures", encoding="utf-8")
    (pictures / ".DS_Store").write_bytes(b"hidden")
    assert len(data.load(pictures).x_train) == 24
    line = "skipped, no PNG, JPEG, WebP, BMP or GIF: 5 of the files (notes0.txt, notes1.txt, notes2.txt and 2 more)"
    assert line in capsys.readouterr().out


def test_names_may_be_anything(tmp_path, capsys):
    for number, name in enumerate(["猫.png", "no suffix", "ä ö.JPEG", "x" * 200, os.fsdecode(b"\xff.png")]):
        array = pixels(number)
        Image.fromarray(array).save(tmp_path / "one.png")
        (tmp_path / "own").mkdir(exist_ok=True)
        shutil.move(tmp_path / "one.png", tmp_path / "own" / name)
    write(tmp_path / "own", 40, first=100)
    (tmp_path / "own" / os.fsdecode(b"\xfe.txt")).write_bytes(b"text")
    assert len(data.load(tmp_path / "own").x_train) == 29
    assert "\\udcfe.txt" in capsys.readouterr().out


def damaged(folder: Path) -> None:
    whole = folder / "whole.jpg"
    Image.fromarray(pixels(7, 64, 64)).save(whole)
    content = whole.read_bytes()
    whole.unlink()
    (folder / "broken.jpg").write_bytes(content[: len(content) // 2])


def test_a_truncated_picture_is_named_and_skipped(tmp_path, capsys):
    write(tmp_path / "own", 199, height=16, width=16)
    damaged(tmp_path / "own")
    dataset = data.load(tmp_path / "own", size=16)
    assert len(dataset.x_train) + len(dataset.x_test) == 199
    out = capsys.readouterr().out
    assert re.search(r"skipped, damaged or of no use: 1 \(broken.jpg: .*truncated", out)
    assert all_images(dataset) == {pixels(number, 16, 16).tobytes() for number in range(199)}


def test_more_than_one_damaged_in_a_hundred_is_refused(pictures, cache):
    damaged(pictures)
    line = refused(pictures, "1 of 41 pictures cannot be used")
    assert "broken.jpg" in line
    assert "truncated" in line
    assert not [path for path in cache.iterdir() if path.suffix != ".lock"], "nothing half made is left"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "no picture inside"),
        ("page.jpg", b"<html>not found</html>", "no picture inside"),
        ("head.png", b"\x89PNG\r\n\x1a\n", "cannot identify"),
    ],
)
def test_what_only_looks_like_a_picture_is_damaged(name, content, reason, pictures):
    (pictures / name).write_bytes(content)
    assert reason in refused(pictures, "1 of 41 pictures cannot be used")


def test_a_picture_of_one_pixel_is_of_no_use(pictures):
    Image.new("RGB", (1, 1)).save(pictures / "pixel.png")
    refused(pictures, r"1 of 41 pictures cannot be used \(pixel.png: 1x1 pixels\)")


def test_a_decompression_bomb_is_not_unpacked(pictures, tmp_path):
    bomb = Image.new("1", (20_000, 20_000))
    bomb.save(pictures / "bomb.png", optimize=True)
    assert (pictures / "bomb.png").stat().st_size < 100_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused(pictures, r"bomb.png: Image size \(400000000 pixels\) exceeds limit")


def test_links_are_skipped_and_counted(pictures, tmp_path, capsys):
    outside = write(tmp_path / "outside", 5, first=500)
    (pictures / "file.png").symlink_to(outside / "0500.png")
    (pictures / "folder").symlink_to(outside)
    (pictures / "self").symlink_to(pictures)
    (pictures / "inside.png").symlink_to(pictures / "0001.png")
    (pictures / "nowhere.png").symlink_to(tmp_path / "nowhere")
    dataset = data.load(pictures)
    assert all_images(dataset) == {pixels(number).tobytes() for number in range(40)}
    assert "skipped, links: 5 (file.png, folder, inside.png and 2 more)" in capsys.readouterr().out


def test_the_folder_itself_may_be_a_link(pictures, tmp_path):
    (tmp_path / "link").symlink_to(pictures)
    assert data.load(tmp_path / "link").digest == data.load(pictures).digest


def test_copies_are_used_once(pictures, capsys):
    """Else one could be held out, and the other trained on."""
    for number in range(6):
        shutil.copy(pictures / "0003.png", pictures / f"copy{number}.png")
    assert len(data.load(pictures).x_train) == 24
    assert "skipped, copies of others: 6 (copy0.png, copy1.png, copy2.png and 3 more)" in capsys.readouterr().out


def test_a_class_of_one_picture_is_never_held_out(tmp_path, capsys):
    write(tmp_path / "own" / "many", 60)
    write(tmp_path / "own" / "one", 1, first=100)
    write(tmp_path / "own" / "single", 1, first=101)
    for seed in range(4):
        dataset = prepare.load(tmp_path / "own", seed=seed)
        assert np.bincount(dataset.y_train, minlength=3).tolist() == [44, 1, 1]
    assert (
        "classes with one picture, which is trained on and never held out: 2 (one, single)" in capsys.readouterr().out
    )


def test_a_picture_for_each_class_is_refused(tmp_path):
    for number in range(40):
        write(tmp_path / "own" / str(number), 1, first=number)
    refused(tmp_path / "own", "40 classes for 40 pictures: most have one; give each at least two")


def test_a_folder_without_permission_is_told_in_one_line(pictures, monkeypatch):
    """Whoever is root may read all, so the system's answer is a stand-in."""

    def walk(top, onerror):
        onerror(PermissionError(13, "Permission denied", str(top)))
        yield from ()

    monkeypatch.setattr(folders.os, "walk", walk)
    refused(pictures, "pictures cannot be read: Permission denied; change its permissions")


def test_a_file_without_permission_is_named(pictures, monkeypatch):
    real = open

    def opened(path, *arguments, **options):
        if str(path).endswith("0007.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(folders, "open", opened, raising=False)
    refused(pictures, r"1 of 40 pictures cannot be used \(0007.png: Permission denied\)")


def test_neither_a_file_nor_a_name_is_refused(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "one.png")
    for name in (tmp_path / "one.png", tmp_path / "missing", "cifar10"):
        with pytest.raises(UsageError, match=r"or a folder of pictures or an .npz that is there, got"):
            data.load(name)


# The cache.


def test_pictures_are_prepared_once(pictures, monkeypatch, cache):
    first = data.load(pictures)
    monkeypatch.setattr(prepare, "_prepare", None)
    assert data.load(pictures).digest == first.digest
    assert data.load(pictures, size=32, channels=3).digest == first.digest
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize("change", ["content", "name", "more", "fewer", "size", "channels"])
def test_what_is_changed_is_prepared_again(change, pictures, cache):
    before, asked = data.load(pictures), {}
    if change == "content":
        Image.fromarray(pixels(999)).save(pictures / "0000.png")
    elif change == "name":
        (pictures / "0000.png").rename(pictures / "9999.png")
    elif change == "more":
        write(pictures, 1, first=40)
    elif change == "fewer":
        (pictures / "0000.png").unlink()
    else:
        asked = {"size": {"size": 16}, "channels": {"channels": 1}}[change]
    assert data.load(pictures, **asked).digest != before.digest
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 2


@pytest.mark.parametrize("delay", [0, 1e9])
def test_only_what_takes_long_shows_how_far_it_is(pictures, monkeypatch, delay):
    monkeypatch.setitem(folders.BAR, "delay", delay)
    monkeypatch.setattr(sys, "stderr", terminal := io.StringIO())
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    data.load(pictures)
    shown = terminal.getvalue()
    said = ["looking at files", "reading headers", "preparing"]
    assert [text for text in said if f"{text}:" in shown] == (said if delay == 0 else [])
    assert bool(shown) == (delay == 0)


def test_a_touched_file_is_the_same_file(pictures, monkeypatch):
    before = data.load(pictures).digest
    os.utime(pictures / "0000.png", (1, 1))
    monkeypatch.setattr(prepare, "_prepare", None)
    assert data.load(pictures).digest == before


@pytest.mark.parametrize("harm", ["shorter", "no table", "a table of something else", "half made"])
def test_a_damaged_cache_is_made_again(harm, pictures, cache):
    before = data.load(pictures).digest
    (place,) = (path for path in cache.iterdir() if path.is_dir())
    if harm == "shorter":
        os.truncate(place / "images.u8", 100)
    elif harm == "no table":
        (place / "about.json").unlink()
    elif harm == "a table of something else":
        (place / "about.json").write_text("[]", encoding="utf-8")
    else:
        shutil.copytree(place, place.with_suffix(".making"))
        shutil.rmtree(place)
    assert data.load(pictures).digest == before
    assert not list(cache.glob("*.making"))


def test_a_full_disk_is_told_before_anything_is_written(pictures, monkeypatch, cache):
    monkeypatch.setattr(prepare.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1000))
    line = refused(pictures, r"0.0 GB left, and the prepared pictures need")
    assert "GAN_TF_CACHE" in line
    assert {path.suffix for path in cache.iterdir()} == {".lock"}


def test_a_cache_that_cannot_be_written_is_told_in_one_line(pictures, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GAN_TF_CACHE", str(tmp_path / "file" / "cache"))
    refused(pictures, "cannot take the prepared pictures .+ set GAN_TF_CACHE to another folder")


def test_an_interrupted_preparation_leaves_nothing(pictures, monkeypatch, cache):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "split", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.load(pictures)
    assert {path.suffix for path in cache.iterdir()} == {".lock"}


def test_without_a_variable_the_cache_lies_in_data(monkeypatch, tmp_path):
    monkeypatch.delenv("GAN_TF_CACHE")
    monkeypatch.setattr(datasets, "DATA_DIR", tmp_path / "data")
    assert prepare.cache_folder() == tmp_path / "data" / ".prepared"


def test_a_folder_that_holds_its_own_cache_does_not_change_by_it(tmp_path, monkeypatch):
    write(tmp_path / "data", 40)
    monkeypatch.setenv("GAN_TF_CACHE", str(tmp_path / "data" / ".prepared"))
    assert data.load(tmp_path / "data").digest == data.load(tmp_path / "data").digest


# Killed, or two at once.

# Prepares a folder in a process that stops at a point: for good, or, if it is told so, until it gets a line.
STOPS = """
import os, signal, sys
from gan_tf import prepare

folder, point, waits = sys.argv[1:]
home = prepare.Path if point == "rename" else prepare
inside, prepare.AHEAD = getattr(home, point), 10

def stop(*arguments):
    if point == "fitted" and not arguments[0].filename.endswith("0025.png"):
        return inside(*arguments)
    if not waits or (print("ready", flush=True), sys.stdin.readline())[1] == "die\\n":
        os.kill(os.getpid(), signal.SIGKILL)
    return inside(*arguments)

setattr(home, point, stop)
print(prepare.load(prepare.Path(folder)).digest)
"""


@contextlib.contextmanager
def stopping(folder, point: str, waits: str = ""):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", STOPS, str(folder), point, waits], **pipes) as process:
        try:
            yield process
        finally:
            process.kill()  # one that has ended already is not there to be killed


POINTS = {  # what a process that dies there leaves, beside its locks
    "fitted": [".making"],  # the first twenty pictures are stored
    "rename": [".making"],  # all but its name
    "write_whole": [""],  # all, and nothing that says of what it was asked for
}


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_what_a_kill_leaves_is_no_cache_and_goes(point, pictures, cache, monkeypatch):
    with stopping(pictures, point) as process:
        assert process.wait() == -signal.SIGKILL
    left = [path for path in cache.iterdir() if path.suffix != ".lock"]
    assert [path.suffix for path in left] == POINTS[point]
    shutil.copytree(cache, cache.with_name("for another size"))

    dataset = data.load(pictures)
    assert all_images(dataset) == {pixels(number).tobytes() for number in range(40)}
    names = {path.suffix for path in cache.iterdir()}
    assert names == {"", ".lock"}

    monkeypatch.setenv("GAN_TF_CACHE", str(cache.with_name("for another size")))
    assert data.load(pictures, size=16).image_shape == (16, 16, 3)
    assert not list(cache.with_name("for another size").glob("*.making"))
    monkeypatch.setenv("GAN_TF_CACHE", str(cache.with_name("undisturbed")))
    assert data.load(pictures).digest == dataset.digest


@pytest.mark.slow
@pytest.mark.parametrize(("then", "made_here"), [("go on", 0), ("die", 1)])
def test_of_two_that_prepare_a_folder_at_once_one_waits_for_the_other(then, made_here, pictures, cache, monkeypatch):
    """The other is in the middle of it when this one comes to the lock, and then goes on, or dies."""
    made, make = [], prepare._make
    monkeypatch.setattr(prepare, "_make", lambda *arguments: (made.append(arguments), make(*arguments)))
    with stopping(pictures, "fitted", waits="yes") as other:
        assert other.stdout.readline() == "ready\n"

        def lock(path):
            if not other.stdin.closed:
                with pytest.raises(filelock.Timeout):
                    filelock.FileLock(path, timeout=0).acquire()
                other.stdin.write(f"{then}\n")
                other.stdin.close()
            return filelock.FileLock(path)

        monkeypatch.setattr(prepare, "FileLock", lock)
        ours = data.load(pictures)
        theirs = other.stdout.read().split()
        assert other.wait() == (-signal.SIGKILL if then == "die" else 0)
    assert len(made) == made_here
    assert theirs[-1:] == [ours.digest] * (then == "go on")
    assert all_images(ours) == {pixels(number).tobytes() for number in range(40)}
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1


@pytest.mark.slow
def test_what_a_living_process_makes_stays_when_another_size_is_asked_for(pictures, cache):
    with stopping(pictures, "fitted", waits="yes") as other:
        assert other.stdout.readline() == "ready\n"
        assert data.load(pictures, size=16).image_shape == (16, 16, 3)
        assert len(list(cache.glob("*.making"))) == 1
        assert other.communicate("go on\n")[0].split()[-1] == data.load(pictures).digest
        assert other.returncode == 0


# Large ones, on the disk.


def test_large_arrays_stay_on_the_disk_and_give_the_same_batches(pictures, monkeypatch):
    def served(dataset):
        batches = data.batches(dataset.x_train, 6, seed=3, labels=np.arange(24))
        return [{name: value.numpy() for name, value in batch.items()} for batch in batches]

    kept = data.load(pictures)
    monkeypatch.setattr(prepare, "MAPPED_BYTES", 1000)
    mapped = data.load(pictures)
    assert isinstance(mapped.x_train, np.memmap)
    assert not isinstance(kept.x_train, np.memmap)
    assert mapped.digest == kept.digest
    for ours, theirs in zip(served(mapped), served(kept), strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, ours, theirs)
    specification = data.batches(mapped.x_train, 6, seed=3).element_spec
    assert specification.shape == (6, 32, 32, 3)


def test_a_mapped_dataset_cannot_be_written_to(pictures, monkeypatch):
    monkeypatch.setattr(prepare, "MAPPED_BYTES", 1000)
    with pytest.raises(ValueError, match="read-only"):
        data.load(pictures).x_train[0] = 0


# The two commands.

FEW = {**small.FEW["dcgan"], "epochs": 1, "batch_size": 8, "precision": "float32"}


def test_a_run_of_a_folder_goes_on_and_notices_a_change(pictures, tmp_path):
    settings = runs.Settings(dataset=str(pictures), **FEW)
    runs.train(tmp_path / "run", settings)
    before = (tmp_path / "run" / "generator.keras").stat().st_mtime_ns
    runs.train(tmp_path / "run", settings)  # finished: nothing is done
    assert (tmp_path / "run" / "generator.keras").stat().st_mtime_ns == before
    Image.fromarray(pixels(999)).save(pictures / "0005.png")
    (pictures / "0001.png").unlink()
    write(pictures, 2, first=40)
    with pytest.raises(runs.RunError, match=r"pictures have changed: 0001.png is gone, 0005.png is another") as error:
        runs.train(tmp_path / "run", runs.Settings(epochs=2, **{k: v for k, v in FEW.items() if k != "epochs"}))
    assert "and 1 more" in str(error.value)
    with pytest.raises(runs.RunError, match=r"0001.png is gone"):
        runs.evaluate(tmp_path / "run", 16)


def test_a_folder_that_was_moved_is_the_same(pictures, tmp_path):
    runs.train(tmp_path / "run", runs.Settings(dataset=str(pictures), **FEW))
    moved = pictures.rename(tmp_path / "moved")
    runs.train(tmp_path / "run", runs.Settings(dataset=str(moved), **FEW | {"epochs": 2}))
    assert runs.folder.read_config(tmp_path / "run")["settings"]["dataset"] == str(moved)


def test_a_conditional_run_learns_the_subfolders(tmp_path):
    for number, name in enumerate("abc"):
        write(tmp_path / "own" / name, 20, first=100 * number)
    settings = runs.Settings(dataset=str(tmp_path / "own"), conditional=True, **FEW)
    runs.train(tmp_path / "run", settings)
    generator = runs.load_generator(tmp_path / "run")
    assert runs.sample_images(generator, 3, 0, [0, 1, 2]).shape == (3, 32, 32, 3)


def test_a_class_is_asked_for_by_name(tmp_path, capsys):
    for number, name in enumerate(["cat", "猫", "3"]):
        write(tmp_path / "own" / name, 20, first=100 * number)
    runs.train(tmp_path / "run", runs.Settings(dataset=str(tmp_path / "own"), conditional=True, **FEW))
    assert [runs.class_number(tmp_path / "run", name) for name in ("3", "cat", "猫", "1")] == [0, 1, 2, 1]
    with pytest.raises(UsageError, match=r"has no class 'dog'; it knows 3, cat, 猫"):
        runs.class_number(tmp_path / "run", "dog")
    assert runs.class_number(None, "7") == 7
    with pytest.raises(UsageError, match="the generator that ships has no class 'cat'; its classes have no names"):
        runs.class_number(None, "cat")
    out = tmp_path / "cats.npz"
    assert (
        command_line.main(["sample", str(tmp_path / "run"), "--class", "cat", "--count", "3", "--out", str(out)]) == 0
    )
    assert np.load(out)["labels"].tolist() == [1, 1, 1]
    assert command_line.main(["sample", str(tmp_path / "run"), "--count", "3", "--out", f"{tmp_path}/each/"]) == 0
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == ["0000-3.png", "0001-cat.png", "0002-猫.png"]


@pytest.mark.parametrize(("classes", "columns"), [(2, 10), (3, 9), (4, 8), (6, 6)])
def test_few_classes_have_several_columns_each(classes, columns, tmp_path):
    """Else three classes would make a frame of three columns and sixteen rows, too narrow for its caption."""
    for number in range(classes):
        write(tmp_path / "own" / str(number), 32, first=100 * number, height=16, width=16)
    runs.train(tmp_path / "run", runs.Settings(dataset=str(tmp_path / "own"), conditional=True, size=16, **FEW))
    with Image.open(max((tmp_path / "run" / "frames").glob("*.png"))) as frame:
        assert frame.size == (16 * columns, 16 * (50 // columns))
