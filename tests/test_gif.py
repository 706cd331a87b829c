"""Captions, and GIFs read back by another library; the bytes of their palettes by a reader of our own."""

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from gan_tf import data, gif, plots


def images(count: int, height: int = 3, width: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (count, height, width), np.uint8)


# Captions.


def test_a_caption_stands_below_the_image():
    image = images(1, 30, 200)[0]
    with_caption = gif.add_caption(image, "12,345 images")
    assert with_caption.dtype == np.uint8
    assert with_caption.shape == (30 + gif.CAPTION_HEIGHT, 200)
    np.testing.assert_array_equal(with_caption[:30], image)
    text = with_caption[30:]
    assert text.max() == 255
    assert (text == 0).mean() > 0.5
    assert (text[:, 4:80] > 0).any(), "it begins at the left"
    assert not text[-1].any(), "and is not cut off below"


def test_a_caption_of_a_picture_in_colour_is_white():
    image = np.random.default_rng(0).integers(0, 256, (30, 200, 3), np.uint8)
    with_caption = gif.add_caption(image, "12,345 images")
    assert (with_caption.shape, with_caption.dtype) == ((30 + gif.CAPTION_HEIGHT, 200, 3), np.uint8)
    np.testing.assert_array_equal(with_caption[:30], image)
    grey = gif.add_caption(image[..., 0], "12,345 images")
    np.testing.assert_array_equal(with_caption[30:], np.stack([grey[30:]] * 3, axis=-1))


def test_another_caption_is_another_picture():
    image = images(1, 30, 200)[0]
    assert (gif.add_caption(image, "64 images") != gif.add_caption(image, "128 images")).any()
    assert not gif.add_caption(image, "")[30:].any()


def test_a_caption_that_is_too_long_is_cut():
    assert gif.add_caption(images(1, 30, 40)[0], "a long line of text " * 10).shape == (50, 40)


# GIFs.


def frames(count: int) -> list[np.ndarray]:
    return list(images(count, 12, 16))


@pytest.mark.parametrize("count", [1, 2, 30])
def test_a_gif_holds_every_frame_in_order_to_the_pixel(count, tmp_path):
    gif.write_gif(tmp_path / "a.gif", frames(count))
    with Image.open(tmp_path / "a.gif") as written:
        assert written.format == "GIF"
        assert getattr(written, "n_frames", 1) == count
        for number, frame in enumerate(frames(count)):
            written.seek(number)
            np.testing.assert_array_equal(written.convert("L"), frame)


def milliseconds(path) -> list[int]:
    with Image.open(path) as written:
        shown = []
        for number in range(getattr(written, "n_frames", 1)):
            written.seek(number)
            shown.append(written.info["duration"])
        return shown


def test_a_gif_runs_for_ever_and_rests_on_its_last_frame(tmp_path):
    gif.write_gif(tmp_path / "a.gif", frames(5))
    assert milliseconds(tmp_path / "a.gif") == [150, 150, 150, 150, 2000]
    with Image.open(tmp_path / "a.gif") as written:
        assert written.info["loop"] == 0, "0 is for ever"


def test_the_times_of_a_gif_can_be_set(tmp_path):
    gif.write_gif(tmp_path / "a.gif", frames(3), frame_seconds=0.05, hold_seconds=1)
    assert milliseconds(tmp_path / "a.gif") == [50, 50, 1000]


def test_equal_frames_keep_their_time(tmp_path):
    """The writer makes one frame of them."""
    first, second = frames(2)
    gif.write_gif(tmp_path / "a.gif", [first, first, second, second])
    assert sum(milliseconds(tmp_path / "a.gif")) == 3 * 150 + 2000


def test_a_gif_gives_up_shades_to_stay_below_a_size(tmp_path):
    """Fewer shades compress better; each pixel is then at most half a step of them off."""
    gif.write_gif(tmp_path / "full.gif", frames(30))
    full = (tmp_path / "full.gif").stat().st_size
    limit = full * 2 // 3
    gif.write_gif(tmp_path / "small.gif", frames(30), max_bytes=limit)
    assert (tmp_path / "small.gif").stat().st_size <= limit
    assert len(milliseconds(tmp_path / "small.gif")) == 30
    small = iio.imread(tmp_path / "small.gif", mode="L").astype(int)
    step = np.diff(np.unique(small)).min()
    assert step > 1
    assert np.abs(small - np.stack(frames(30))).max() <= step / 2 + 1


def test_a_gif_gives_up_frames_where_shades_are_not_enough(tmp_path, capsys):
    """Every second one at a time; the first, the last and the time that it takes stay."""
    whole = np.stack(frames(30))
    for name, count, limit in (("half", 16, 2400), ("quarter", 9, 1400)):
        path = tmp_path / f"{name}.gif"
        gif.write_gif(path, list(whole), max_bytes=limit)
        assert path.stat().st_size <= limit
        assert sum(milliseconds(path)) == 29 * 150 + 2000
        assert milliseconds(path)[-1] == 2000
        small = iio.imread(path, mode="L").astype(int)
        assert len(small) == count
        step = np.diff(np.unique(small)).min()
        assert np.abs(small[[0, -1]] - whole[[0, -1]]).max() <= step / 2 + 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("shape", [(12, 16), (12, 16, 3)], ids=["grey", "colour"])
@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_a_size_that_cannot_be_reached_is_told_and_the_smallest_is_written(count, shape, tmp_path, capsys):
    """After hours of training a GIF that is too large is still better than an error."""
    noise = list(np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8))
    gif.write_gif(tmp_path / "full.gif", noise)
    gif.write_gif(tmp_path / "a.gif", noise, max_bytes=100)
    size = (tmp_path / "a.gif").stat().st_size
    assert size < (tmp_path / "full.gif").stat().st_size
    assert sum(milliseconds(tmp_path / "a.gif")) == (count - 1) * 150 + 2000
    assert len(milliseconds(tmp_path / "a.gif")) == min(count, 2)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{tmp_path / 'a.gif'} has {size:,} bytes, more than 100: it could not be made smaller"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("No space left on device")])
@pytest.mark.parametrize("function", ["os.fsync", "pathlib.Path.replace"])
def test_an_interrupted_gif_leaves_the_old_one_and_nothing_else(function, error, tmp_path, monkeypatch):
    """The new bytes are written, and the error comes before the file has its name."""
    gif.write_gif(tmp_path / "a.gif", frames(3))
    before = (tmp_path / "a.gif").read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(function, fail)
    with pytest.raises((KeyboardInterrupt, OSError)):
        gif.write_gif(tmp_path / "a.gif", frames(4))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.gif": before}


def test_a_gif_replaces_an_older_one(tmp_path):
    gif.write_gif(str(tmp_path / "a.gif"), frames(3))
    gif.write_gif(str(tmp_path / "a.gif"), frames(4))
    assert len(milliseconds(tmp_path / "a.gif")) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_a_gif_needs_a_frame(tmp_path):
    with pytest.raises(ValueError, match="a GIF needs at least one frame"):
        gif.write_gif(tmp_path / "a.gif", [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_frames_are_uint8(dtype, tmp_path):
    """One frame that is not is enough."""
    with pytest.raises(TypeError, match=rf"frames must be uint8 in \[0, 255\], got {np.dtype(dtype)}"):
        gif.write_gif(tmp_path / "a.gif", [*frames(2), frames(1)[0].astype(dtype)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(12, 16, 1), (12, 16, 2), (12, 16, 4), (12, 16, 3, 1), (12,)])
def test_frames_are_grey_or_in_colour(shape, tmp_path):
    with pytest.raises(ValueError, match=r"frames must be \(height, width\) or \(height, width, 3\), got \(12,"):
        gif.write_gif(tmp_path / "a.gif", [np.zeros(shape, np.uint8)] * 2)
    assert list(tmp_path.iterdir()) == []


def test_frames_that_are_as_narrow_as_a_pixel_has_colours_are_grey(tmp_path):
    gif.write_gif(tmp_path / "a.gif", list(images(4, 5, 3)))
    with Image.open(tmp_path / "a.gif") as written:
        assert (written.size, written.n_frames) == ((3, 5), 4)


def test_frames_have_one_shape(tmp_path):
    with pytest.raises(ValueError, match="must have the same shape"):
        gif.write_gif(tmp_path / "a.gif", [*frames(2), images(1)[0]])
    assert list(tmp_path.iterdir()) == []


# GIFs in colour.


def noise(count: int, height: int = 40, width: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def tinted(count: int = 12) -> np.ndarray:
    """Return frames of 25 digits that come out of noise, each in a colour of its own, uint8 (count, 140, 140, 3)."""
    rng, digits = np.random.default_rng(0), data.load("digits").x_train[:25] / 255.0
    tints = rng.uniform(0, 255, (25, 1, 1, 3))
    shown = [t * digits * tints + rng.normal(0, 25 * (1 - t), (25, 28, 28, 3)) for t in np.linspace(0, 1, count)]
    return np.stack([plots.image_grid(np.clip(frame, 0, 255).astype(np.uint8)) for frame in shown])


def read(path) -> np.ndarray:
    return iio.imread(path, mode="RGB", index=...)


def color_tables(path) -> tuple[np.ndarray, list[int]]:
    """Read the blocks of a GIF (its specification of 1989, sections 18 to 26).

    Returns:
        the global color table, uint8 (colours, 3).
        of each frame the number of colours in a table of its own, 0 for none.
    """
    content = path.read_bytes()
    assert content[:3] == b"GIF"
    assert content[10] & 0x80, "there is a global table"
    at, colours = 13, 2 << (content[10] & 7)
    table = np.frombuffer(content[at : at + 3 * colours], np.uint8).reshape(-1, 3)
    at, own = at + 3 * colours, []
    while content[at] != 0x3B:
        if content[at] == 0x2C:  # an image
            own.append(2 << (content[at + 9] & 7) if content[at + 9] & 0x80 else 0)
            at += 10 + 3 * own[-1] + 1
        else:  # an extension
            assert content[at] == 0x21
            at += 2
        while content[at]:  # its data, in sub-blocks
            at += 1 + content[at]
        at += 1
    return table, own


@pytest.mark.parametrize("max_bytes", [10**9, 60_000, 20_000])
def test_all_frames_in_colour_share_one_palette(max_bytes, tmp_path):
    gif.write_gif(tmp_path / "a.gif", list(tinted()), max_bytes=max_bytes)
    table, own = color_tables(tmp_path / "a.gif")
    assert own == [0] * len(milliseconds(tmp_path / "a.gif"))
    shown = np.unique(read(tmp_path / "a.gif").reshape(-1, 3), axis=0)
    assert {*map(tuple, shown.tolist())} <= {*map(tuple, table.tolist())}
    assert len(shown) > (3 if max_bytes < 10**9 else 100)


def test_the_reader_of_palettes_sees_those_of_single_frames(tmp_path):
    """Those that Pillow gives each frame in colour where it is left to itself."""
    first, *others = map(Image.fromarray, noise(3))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others)
    assert color_tables(tmp_path / "a.gif")[1] == [0, 256, 256]


@pytest.mark.parametrize("max_bytes", [10**9, 100_000])
def test_a_pixel_whose_colour_stays_does_not_flicker(max_bytes, tmp_path):
    """Nor is anything dithered: wherever a colour stands in the frames, it becomes one and the same."""
    frames = tinted(12)
    frames[:, :40] = noise(1, 40, 140)  # a still picture of 5,600 colours in the upper part of each
    gif.write_gif(tmp_path / "a.gif", list(frames), max_bytes=max_bytes)
    shown = read(tmp_path / "a.gif")
    assert (shown[:, :40] == shown[0, :40]).all()
    pairs = np.unique(np.concatenate([frames, shown], axis=-1).reshape(-1, 6), axis=0)
    assert len(pairs) == len(np.unique(frames.reshape(-1, 3), axis=0)) > 10_000


def test_colours_that_a_palette_can_hold_are_kept(tmp_path):
    """As many as 255, and also those that differ by 1."""
    rng = np.random.default_rng(0)
    palette = rng.integers(256**3, size=255)
    palette[1::2] = palette[:-1:2] ^ 1
    frames = np.stack([palette >> 16, palette >> 8 & 255, palette & 255], axis=1).astype(np.uint8)
    frames = frames[rng.integers(0, 255, (4, 30, 40))]
    gif.write_gif(tmp_path / "a.gif", list(frames))
    np.testing.assert_array_equal(read(tmp_path / "a.gif"), frames)


@pytest.mark.parametrize("colours", [256, 64, 16])
def test_the_palette_is_no_worse_than_a_median_cut_of_all_pixels(colours):
    frames = tinted()
    shown = np.stack([image.convert("RGB") for image in gif._with_colours(frames, np.full(12, 150.0), colours)])
    cut = Image.fromarray(np.concatenate(frames)).quantize(colours, Image.Quantize.MEDIANCUT).convert("RGB")

    error, bound = (np.abs(one.reshape(frames.shape) - frames.astype(int)).mean() for one in (shown, np.asarray(cut)))
    assert error < bound  # 3 to 20 % less
    assert error > 0.5  # there are more colours than fit


def test_the_longer_a_frame_is_in_sight_the_truer_are_its_colours(tmp_path):
    frames, errors = tinted(), []
    for seconds in (0.15, 10):
        gif.write_gif(tmp_path / "a.gif", list(frames), hold_seconds=seconds, max_bytes=60_000)
        errors.append(np.abs(read(tmp_path / "a.gif")[-1] - frames[-1].astype(int)).mean())
    assert errors[1] < 0.8 * errors[0]


def test_a_gif_in_colour_gives_up_colours_first(tmp_path):
    """Its frames and their times stay."""
    found = []
    for limit in (10**9, 110_000, 80_000, 60_000):
        gif.write_gif(tmp_path / "a.gif", list(tinted()), max_bytes=limit)
        assert (tmp_path / "a.gif").stat().st_size <= limit
        assert milliseconds(tmp_path / "a.gif") == [150] * 11 + [2000]
        found.append(len(color_tables(tmp_path / "a.gif")[0]))
    assert found == sorted(found, reverse=True)
    assert found[0] == 256
    assert found[-1] < 64


def test_a_gif_in_colour_gives_up_frames_where_colours_are_not_enough(tmp_path, capsys):
    gif.write_gif(tmp_path / "full.gif", list(noise(9)))
    full = (tmp_path / "full.gif").stat().st_size
    for share, count in ((0.9, 9), (0.25, 5), (0.15, 3)):
        gif.write_gif(tmp_path / "small.gif", list(noise(9)), max_bytes=int(share * full))
        assert (tmp_path / "small.gif").stat().st_size <= share * full
        assert len(milliseconds(tmp_path / "small.gif")) == count
    assert capsys.readouterr() == ("", "")
