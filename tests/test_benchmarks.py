"""The benchmarks' own arithmetic; what they measure is in benchmarks/RESULTS.md."""

import ast
import dataclasses
import shutil

import chapters
import critics
import few
import keras
import mistakes
import numpy as np
import pytest
import recipes
import report
import ring
import tensorflow as tf
import time_to_quality
import train_step
import tutorial

from gan_tf import data, files, models, runs
from gan_tf.runs import recipe


def test_a_section_is_replaced_and_the_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    report.write_section("One", ["first"])
    report.write_section("Two", ["second"])
    report.write_section("One", ["third"])
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert text == "# Results\n\nWritten by `make bench`.\n\n## One\n\nthird\n\n## Two\n\nsecond\n"


def test_the_machine_is_described():
    assert "cores of" in report.machine()
    assert "TensorFlow 2." in report.machine()


def test_the_work_of_a_step_is_counted():
    """By hand: multiplications of the generator 51.7 million, of the discriminator 10.4 million, an image."""
    generator = 100 * 12544 + 49 * 25 * 256 * 128 + 49 * 25 * 128 * 64 + 196 * 25 * 64
    discriminator = 196 * 25 * 64 + 49 * 25 * 64 * 128 + 6272
    players = models.dcgan_generator(), models.dcgan_discriminator()
    at_once, in_turn = (train_step.gflop_per_image(*players, alternating=turns) for turns in (False, True))
    assert at_once == pytest.approx(2e-9 * (3 * generator + 7 * discriminator))
    assert in_turn == pytest.approx(2e-9 * (4 * generator + 8 * discriminator))


def test_the_first_time_below_a_distance():
    history = {"images": [0.0, 100.0, 200.0, 300.0], "frechet_distance": [50.0, 20.0, 9.0, 10.0]}
    assert time_to_quality.first_below(history, 10.0, rate=50.0) == 4.0
    assert time_to_quality.first_below(history, 8.0, rate=50.0) == float("inf")


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A folder of five finished seeds and rates; each seed is at 90 after 2,000 images, at 50 to 54 at its end."""
    monkeypatch.setattr(report, "RESULTS", tmp_path / "RESULTS.md")
    for name, stem in (("CURVES", "curves.png"), ("HEADLINE", "headline.png"), ("FOLDER", "runs")):
        monkeypatch.setattr(time_to_quality, name, tmp_path / stem)
    monkeypatch.setattr(time_to_quality, "real_distance", lambda dataset: 0.7)
    monkeypatch.setattr(time_to_quality.data, "load", lambda name: None)
    epochs = np.arange(1, 51)
    table = {"epoch": epochs, "images": 60_000 * epochs, "frechet_distance": [400.0] * 39 + [100.0] + [200.0] * 10}
    monkeypatch.setattr(time_to_quality, "read_table", lambda: {name: list(column) for name, column in table.items()})

    for seed in range(5):
        folder = tmp_path / "runs" / f"seed_{seed}"
        folder.mkdir(parents=True)
        columns = ("images", "frechet_distance", "smallest_class")
        rows = [(0, 900.0, 0.0), (1000, 300.0, 0.01), (2000, 90.0, 0.05), (4000, 50.0 + seed, 0.07)]
        files.write_csv(folder / "scores.csv", columns, rows)
        (folder / "generator.keras").touch()
    rates = {"tutorial": [300.0, 400.0, 500.0], "default": [90.0, 100.0, 120.0]}
    files.write_json(tmp_path / "runs" / "rates.json", {"machine": "Some cores.", "images_per_second": rates})
    return tmp_path


def test_the_headline_is_what_the_numbers_say(measured, monkeypatch):
    """By hand: 40 epochs of 60,000 at 400 a second are 6,000 s; 2,000 images at 100 a second are 20 s."""
    samples = np.zeros((36, 28, 28, 1), np.uint8)
    np.savez(measured / "epoch_40.npz", images=samples)
    monkeypatch.setattr(time_to_quality.runs, "load_generator", lambda folder: folder.name, raising=False)
    asked = []
    monkeypatch.setattr(
        time_to_quality.runs, "sample_images", lambda name, *_, seed: asked.append(name) or samples, raising=False
    )
    time_to_quality.write_results(measured)
    text = (measured / "RESULTS.md").read_text(encoding="utf-8")
    assert "Some cores." in text
    assert "(Fréchet distance 100, epoch 40, after 100 min), the default run reaches in 20 s, about 300 times" in text
    assert "scored every 4,000 images only, a grid of 40 s" in text
    assert "The goal of at most 120 s for a whole default run is met: 40 s." in text
    assert "28.0 (25.6 to 32.1) after 32,000 images, every seed below 43.2: 320 s in place of 2306" in text
    assert "still in its first epoch, which ends after 150 s at 400" in text
    assert "over its last 20 epochs it is at 100 to 400" in text.lower()
    assert "A whole default run, 40 s, ends at 52.0 (50.0 to 54.0), with at least 7.0% of every digit" in text
    assert asked == ["seed_2"]
    assert all((measured / name).stat().st_size > 10_000 for name in ("curves.png", "headline.png"))


def test_a_default_that_never_gets_there_is_said_to(measured, monkeypatch):
    table = time_to_quality.read_table()
    table["frechet_distance"][39] = 51.0
    results = time_to_quality.Results(measured / "runs", table, 0.7)
    assert results.reached == [40.0, 40.0, float("inf"), float("inf"), float("inf")]
    assert "| 4 | never | 54.0 |" in "\n".join(time_to_quality.told(results))
    time_to_quality.save(time_to_quality.draw_curves(results), measured / "curves.png")


@pytest.mark.parametrize("lacking", ["seed_3/generator.keras", "rates.json", "epoch"])
def test_incomplete_results_are_named_and_nothing_is_written(measured, monkeypatch, lacking):
    told = {"seed_3/generator.keras": "seeds 3 ", "rates.json": "rates", "epoch": "the tutorial's epochs 49, 50 "}
    if lacking == "epoch":
        short = {name: column[:48] for name, column in time_to_quality.read_table().items()}
        monkeypatch.setattr(time_to_quality, "read_table", lambda: short)
    else:
        (measured / "runs" / lacking).unlink()
    with pytest.raises(time_to_quality.Incomplete) as caught:
        time_to_quality.write_results(measured)
    assert {name for name, words in told.items() if words in str(caught.value)} == {lacking}
    assert sorted(path.name for path in measured.iterdir()) == ["runs"]


def test_without_the_samples_of_the_best_epoch_nothing_is_written(measured):
    with pytest.raises(time_to_quality.Incomplete, match=r"epoch_40\.npz is not there"):
        time_to_quality.write_results(measured)
    assert sorted(path.name for path in measured.iterdir()) == ["runs"]


def test_runs_of_another_recipe_are_refused(tmp_path, monkeypatch):
    settings = runs.Settings(dataset="digits")
    time_to_quality.check_recipe(tmp_path / "new", settings)
    time_to_quality.check_recipe(tmp_path / "new", settings)
    with pytest.raises(time_to_quality.Incomplete, match="another recipe"):
        time_to_quality.check_recipe(tmp_path / "new", dataclasses.replace(settings, ema_decay=0.9))

    def another(settings, seen):
        return models.dcgan_generator(
            settings.latent_dim, settings.generator_widths, 3, 3
        ), models.dcgan_discriminator()

    monkeypatch.setitem(recipe.NETWORKS, "dcgan", another)  # which no setting tells
    with pytest.raises(time_to_quality.Incomplete, match="another recipe"):
        time_to_quality.check_recipe(tmp_path / "new", settings)


def test_a_seed_s_run_leaves_what_the_table_reads(tmp_path):
    settings = runs.Settings(dataset="digits", epochs=1, batch_size=250, model="mlp", generator_widths=(8,))
    folder = time_to_quality.seed_folder(tmp_path, 0)
    time_to_quality.train_seed(folder, settings, scored_every=500)
    assert "seeds 1, 2, 3, 4 " in time_to_quality.missing(tmp_path, {"epoch": []})[1]
    scores = files.read_csv(folder / "scores.csv")
    assert scores["images"] == [0, 500, 1000, 1500]
    assert {"frechet_distance", "smallest_class"} < set(scores)


@pytest.mark.slow
def test_both_contestants_are_timed_in_turns(monkeypatch):
    monkeypatch.setattr(time_to_quality, "ROUNDS", 2)
    settings = runs.Settings(dataset="digits", batch_size=128, model="mlp")
    rates = time_to_quality.alternate(data.load("digits"), settings, steps=1)
    assert set(rates) == {"tutorial", "default"}
    assert all(len(values) == 2 and min(values) > 0 for values in rates.values())


@pytest.mark.slow
def test_the_tutorial_s_recipe_learns_and_goes_on_where_it_was_saved(tmp_path):
    images = data.load("digits").x_train[:300]
    sizes = [len(batch) for batch in tutorial.batches(images)]
    assert sizes == [256, 44]
    contestant = tutorial.Tutorial(seed=0)
    real = next(iter(tutorial.batches(images, 16)))
    assert -1.0 <= np.min(real) <= np.max(real) <= 1.0
    losses = [float(contestant.step(real)[1]) for _ in range(3)]
    assert losses[-1] < losses[0]
    contestant.save(tmp_path / "state.npz")
    other = tutorial.Tutorial(seed=1)
    other.restore(tmp_path / "state.npz")
    for mine, theirs in zip(contestant._variables(), other._variables(), strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


@pytest.mark.slow
def test_an_epoch_of_the_tutorial_depends_on_the_state_before_it_alone(tmp_path, monkeypatch):
    """What was stopped between two epochs goes on to the same bits as what was not."""
    monkeypatch.setattr(tutorial, "sample", lambda generator: generator(np.ones((4, 100)), training=False).numpy())
    images = data.load("digits").x_train[:40]
    through, stopped = tmp_path / "through", tmp_path / "stopped"
    through.mkdir()
    assert tutorial.epochs_done(through, len(images)) == 0
    tutorial.train_epoch(through, 1, images)
    shutil.copytree(through, stopped)
    drawn = tutorial.train_epoch(through, 2, images)

    keras.utils.set_random_seed(5)  # what a process did before must not matter
    assert tutorial.epochs_done(stopped, len(images)) == 1
    np.testing.assert_array_equal(tutorial.train_epoch(stopped, 2, images), drawn)
    assert tutorial.epochs_done(stopped, len(images)) == 2
    with np.load(through / "state.npz") as one, np.load(stopped / "state.npz") as other:
        assert len(one.files) == 60
        for key in one.files:
            np.testing.assert_array_equal(one[key], other[key])


def test_the_table_of_the_tutorial_is_whole():
    """Every epoch once, of 60,000 images; a share of the rarest digit wherever there were samples to count in."""
    table = tutorial.read_table()
    epochs = list(range(1, len(table["epoch"]) + 1))
    assert table["epoch"] == epochs
    assert 34 <= len(epochs) <= tutorial.EPOCHS
    assert table["images"] == [60_000 * epoch for epoch in epochs]
    assert set(table["from"]) == {"samples", "log"}
    for distance, rarest, source in zip(table["frechet_distance"], table["smallest_class"], table["from"], strict=True):
        assert 10.0 < distance < 1000.0
        assert (0.0 <= rarest <= 0.1) if source == "samples" else np.isnan(rarest)
    later = table["from"][34:]
    assert later == ["samples"] * len(later)


def test_every_recipe_can_be_built():
    for _, settings in recipes.VARIANTS.values():
        model = recipes.build(settings)
        assert model.discriminator.output_shape == (None, 1)


def test_the_first_recipe_is_the_default_one():
    """The rows change one thing on what a run does when nothing is asked, and chapter 04 trains."""
    settings = runs.Settings().with_model_defaults()
    ours, default = recipes.build(recipes.DEFAULT), recipe.build(settings)
    for mine, theirs in ((ours.generator, default.generator), (ours.discriminator, default.discriminator)):
        assert [made_of(layer) for layer in mine.layers] == [made_of(layer) for layer in theirs.layers]
    for player in ("generator_optimizer", "discriminator_optimizer"):
        assert made_of(getattr(ours, player)) == made_of(getattr(default, player))
    assert ours.ema_decay == default.ema_decay == settings.ema_decay
    assert ours.adversarial_loss == default.adversarial_loss
    rates = settings.generator_learning_rate, settings.discriminator_learning_rate
    assert (recipes.DEFAULT["rates"], recipes.DEFAULT["betas"]) == (rates, settings.betas)
    assert recipes.DEFAULT["batches"] == ((0, settings.batch_size),)
    assert recipes.DEFAULT["discriminator"]["input_noise"] == settings.input_noise


def made_of(part) -> tuple:
    """Return what a layer or an optimizer is made of, but for names and the seeds of what it draws."""
    config = {key: value for key, value in part.get_config().items() if key not in ("name", "seed")}
    return type(part), config | {"kernel_initializer": None}


def test_a_growing_batch_changes_where_it_should_and_scores_are_in_between():
    grows = recipes.VARIANTS["batch-grows"][1]
    assert recipes.pieces(grows, recipes.IMAGES) == [(16_000, 8), (32_000, 16), (48_000, 16), (64_000, 32)]
    to_the_end = recipes.pieces(recipes.DEFAULT, recipes.scored_at("default"))
    assert to_the_end == [(16_000, 16), (32_000, 16), (64_000, 16), (240_000, 16)]


def test_the_rows_that_are_kept_are_rows_of_the_table():
    rows = report.read_rows(recipes.ROWS)
    assert {row[0] for row in rows} <= set(recipes.VARIANTS)
    assert len({(row[0], row[1]) for row in rows}) == len(rows) > 0


def test_rows_are_compared_with_the_default_after_as_many_seconds():
    """By hand: twice the images halve the default's distance, and a row of half its speed is compared that far on."""
    rates = dict.fromkeys(recipes.VARIANTS, 100.0) | {"wide": 50.0, "batch-8": 50.0, "batch-32": 200.0}
    assert recipes.seconds_for("wide", 16_000, rates) == 320.0
    assert recipes.seconds_for("batch-grows", 64_000, rates) == 320.0 + 320.0 + 80.0
    default = [["default", seed, 80.0 + seed, 40.0 + seed, 20.0 + seed, 10.0, 0.1] for seed in range(3)]
    assert recipes.default_after(32_000, default) == pytest.approx([40.0, 41.0, 42.0])
    assert recipes.default_after(16_000 * 2**0.5, default)[0] == pytest.approx(80.0 / 2**0.5)
    rows = [[name, seed, 80.0, 41.0, 15.0, "", 0.1] for name in recipes.VARIANTS for seed in range(3)]
    rows = default + [row for row in rows if row[0] != "default"]

    told = recipes.at_equal_seconds(rows, rates)
    assert "speeds still differ by up to 0%" in told[0]
    assert [line for line in told if "| 80.0 after 320 s, the default 41.0 (40.0 to 42.0): behind | 41.0" in line]
    assert "- hinge: 80.0 against 81.0, 41.0 against 41.0, 15.0 against 21.0 (level, level, ahead)." in told
    told = recipes.at_equal_seconds(rows, rates | {"hinge": 300.0})
    assert [line for line in told if line.startswith("| wide ") and ": behind, within the scatter | 41.0" in line]


def test_the_results_of_the_recipes_are_those_of_the_benchmark():
    """What RESULTS.md says of them is what the rows and the speeds in its own table give."""
    section = report.RESULTS.read_text(encoding="utf-8").split("## Recipes\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1:] for line in section.splitlines() if line.startswith("| ")]
    speeds = {row[0].strip(): row[2].strip().replace(",", "") for row in cells if len(row) == 9}
    rates = {name: float(speed) for name, speed in speeds.items() if speed.isdigit()}
    assert "\n".join(recipes.at_equal_seconds(report.read_rows(recipes.ROWS), rates)) in section


def test_the_measures_of_the_ring_on_samples_made_by_hand():
    assert len(np.unique(ring.CENTRES.round(4), axis=0)) == 8
    on_two = np.repeat(ring.CENTRES[:2], 50, axis=0)
    assert ring.measures(on_two) == pytest.approx((2, 2, 1.0, np.log(4)))
    everywhere = np.repeat(ring.CENTRES, 50, axis=0)
    assert ring.measures(everywhere) == pytest.approx((8, 8, 1.0, 0.0))
    beside = everywhere * (1 + 3.1 * ring.SIGMA / 2)  # every point 3.1 sigma from its centre
    assert ring.measures(beside) == pytest.approx((0, 0, 0.0, 0.0))
    rare = np.concatenate([everywhere * 2, ring.CENTRES])  # one point in 51 is on a mode: touched, not found
    assert ring.measures(rare) == pytest.approx((0, 8, 1 / 51, 0.0))


def test_noise_touches_every_mode_and_finds_none():
    noise, true = (ring.measures(ring.control(name, 0)) for name in ("noise", "true"))
    assert noise[:2] == (0, 8)
    assert noise[3] < 0.05
    assert true[0] == 8
    assert true[2] == pytest.approx(1 - np.exp(-4.5), abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unrolled-5", "packed-2", "both-1"])
def test_a_seed_on_the_leading_axis_goes_its_own_way(name):
    """16 trainings in one graph are 16 trainings: the second of three is what it is alone, to rounding."""
    setting = dataclasses.replace(ring.ROWS_OF[name][1], steps=4)
    together, alone = ring.train(setting, (0, 5, 9)), ring.train(setting, (5,))
    for many, one, first in zip(together, alone, ring.start(setting, (5,))[0], strict=True):
        np.testing.assert_allclose(many[1], one[0], atol=1e-4)
        assert np.abs(one - first).max() > 1e-3
    assert np.abs(together[0][0] - together[0][1]).max() > 0.1


def test_adam_by_hand_is_that_of_keras():
    weights, optimizer = [tf.constant([[1.0, -2.0]])], keras.optimizers.Adam(0.1, beta_1=0.5)
    variable, state = tf.Variable(weights[0]), ring.fresh(weights)
    for gradient in ([[0.3, -1.0]], [[-0.2, 0.5]], [[2.0, 0.1]]):
        weights, state = ring.adam(weights, [tf.constant(gradient)], state, 0.1, 0.5)
        optimizer.apply([tf.constant(gradient)], [variable])
    np.testing.assert_allclose(weights[0], variable, rtol=1e-5)


def test_a_generator_that_looks_ahead_feels_how_the_discriminator_answers():
    """Unrolled and stopped differ in the gradient through the steps ahead alone, and plain differs from both."""
    seeds, plain = (0,), ring.Setting()
    generator, discriminator = ring.start(plain, seeds)
    real, z = ring.ring_batch(64, seeds, 0), ring.draw((64, 8), seeds, 1)
    ahead = {"none": plain, "through": ring.Setting(unroll=5), "stopped": ring.Setting(unroll=5, through=False)}
    gradients = {}
    for name, setting in ahead.items():
        states = ring.fresh(generator), ring.fresh(discriminator)
        args = generator, states[0], discriminator, states[1], real, z, setting
        gradients[name] = ring.generator_step(*args)[1][1][0].numpy()  # Adam's first means: the gradient, halved
    for first, second in (("none", "through"), ("none", "stopped"), ("through", "stopped")):
        assert np.abs(gradients[first] - gradients[second]).max() > 1e-4


def test_the_penalty_is_the_squared_slope_of_the_logits():
    """Of a discriminator without a curve: logits are 3 x - 4 y, and the squared slope is 25 for each seed."""
    kernel = tf.constant([[[3.0], [-4.0]]] * 2)
    slope = ring.slope([kernel, tf.zeros((2, 1, 1))], ring.ring_batch(16, (0, 1), 0), ring.Setting())
    assert float(slope) == pytest.approx(50.0)


def test_every_row_of_the_ring_is_kept_with_all_its_seeds():
    rows = ring.read_rows()
    assert [(row["name"], row["seed"]) for row in rows] == [
        (name, seed) for name in (*ring.CONTROLS, *ring.ROWS_OF) for seed in ring.SEEDS
    ]


def test_new_sprites_are_read_without_a_mistake():
    images, truth = few.sprites(300, 5)
    valid, read = few.read_sprites(images)
    assert valid.all()
    np.testing.assert_array_equal(read, truth)


def test_what_is_no_sprite_is_judged_alike_in_every_colour():
    """Of a shape's upper half on another's lower half the same one of twelve passes in each colour."""
    upper, valid = np.arange(32)[:, None] < 8, []
    for colour in few.COLOURS.values():
        masks = [few.mask(shape, 8, 8) for shape in few.SHAPES]
        halves = np.array([np.where(upper, x, y) for x in masks for y in masks if x is not y])[..., None]
        valid.append(few.read_sprites(np.where(halves, np.array(colour, np.uint8), np.uint8(255)))[0].tolist())
    assert valid == [valid[0]] * 6
    assert sum(valid[0]) == 1


def test_of_six_means_of_two_shapes_two_lean_to_one_of_them():
    masks = np.array([few.mask(shape, 8, 8) for shape in few.SHAPES], float)
    means = [(x + y) / 2 for number, x in enumerate(masks) for y in masks[:number]]
    images = 255 - 225 * np.repeat(np.array(means)[..., None], 3, axis=-1)
    assert few.read_sprites(images.astype(np.uint8))[0].tolist() == [False, True, True, False, False, False]


def test_white_and_grey_and_a_sprite_of_another_colour_are_no_sprites():
    images, _ = few.sprites(3, 5)
    images[0], images[1] = 255, 128
    images[2][images[2].min(axis=-1) < 255] = (240, 130, 120)  # 90 from red and from yellow
    assert not few.read_sprites(images)[0].any()


def test_a_sprite_is_one_up_to_15_percent_of_its_ink():
    """A black disc has 149 pixels: 26 single ones elsewhere are 14.9 % of all, 27 are 15.3 %."""
    images = np.full((2, 32, 32, 3), 255, np.uint8)
    images[:, few.mask("disc", 8, 8)] = 0
    for image, count in zip(images, (26, 27), strict=True):
        image[31, :count] = 0
    assert few.read_sprites(images)[0].tolist() == [True, False]


@pytest.mark.parametrize(
    ("chapter", "benchmark", "names"),
    [
        ("06", "ring", ["measures", "draw", "ring_batch", "network", "weights_of", "adam", "fresh"]),
        ("25", "few", ["mask", "sprites", "read_sprites", "memorised"]),
    ],
)
def test_a_chapter_s_functions_are_those_of_its_benchmark(chapter, benchmark, names):
    (path,) = chapters.ROOT.glob(f"notebooks/{chapter}_*.ipynb")
    tree = ast.parse((chapters.ROOT / "benchmarks" / f"{benchmark}.py").read_text(encoding="utf-8"))
    ours = {node.name: chapters.statements(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
    cells = [ast.parse(chapters.python_of(cell)) for cell in chapters.code_cells(chapters.read(path))]
    theirs = [node for cell in cells for node in cell.body if isinstance(node, ast.FunctionDef)]
    twins = [node.name for node in theirs if node.name in ours]
    assert twins == names
    for node in theirs:
        without = [ast.unparse(each) for each in node.body]
        assert node.name not in ours or without == ours[node.name][-len(without) :]


def test_a_benchmark_runs_the_cells_of_chapter_07():
    """At σ = 0.1 and distance 8 the exact pull is d / σ², and a function that TensorFlow compiles finds its source."""
    own = critics.chapter(("imports", "slopes", "penalty", "critics", "new-critics", "pairs"))
    assert own["non_saturating"](8.0, 0.1) == pytest.approx(800)
    draw = lambda step: tf.random.stateless_normal((2, 6, 1), (0, step))  # noqa: E731
    weights = own["critic_weights"](3, (1, 4, 1), 1.0)
    before = [weight.numpy() for weight in weights]
    _, run = own["new_critics"](draw, weights, own["penalised"](10.0), 10)
    run(0, 2)
    assert all(np.any(weight.numpy() != old) for weight, old in zip(weights[:3], before, strict=False))
    assert set(critics.CELLS + mistakes.CELLS) <= {cell.id for cell in chapters.read(critics.CHAPTER).cells}


def test_both_kinds_in_one_batch_keep_their_order():
    """Three copies of four points each: what mixes nothing sees no difference, a mean over the batch is the same."""
    real, fake = tf.random.stateless_normal((2, 12, 2), (0, 0))
    logits = lambda x: x[:, :1] - x[:, 1:]  # noqa: E731
    for found, side in zip(mistakes.together(logits, real, fake, 3), (real, fake), strict=True):
        np.testing.assert_allclose(found, tf.reshape(logits(side), (3, 4)))

    def centred(x):
        own = tf.reshape(x, (3, 8, 2))
        return logits(tf.reshape(own - tf.reduce_mean(own, axis=1, keepdims=True), (-1, 2)))

    sums = sum(tf.reduce_sum(side, axis=1) for side in mistakes.together(centred, real, fake, 3))
    np.testing.assert_allclose(sums, np.zeros(3), atol=1e-5)


def test_the_formula_of_chapter_07_is_that_of_its_distance():
    """One dot against another at distance 2: W is 2, and the optimum at λ = 10 reads 1.1 of it."""
    pairs = lambda count, rng: (np.zeros((1, count, 2)), np.full((1, count, 2), 2**0.5))  # noqa: E731
    own = {"two_dimensions": pairs, "assigned": critics.chapter(("imports", "pairs"))["assigned"]}
    assert critics.formula(own) == [pytest.approx(1.1)]
