"""The chapters keep the rules of the house, and the rules are shown to catch what breaks them."""

import configparser
import csv
import itertools
import re
import statistics

import chapters
import execute
import nbformat
import pytest


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_keeps_the_rules(path):
    assert chapters.all_faults(path) == []


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda path: path.stem)
def test_the_first_cell_gets_the_package_from_the_one_address(path):
    cell = chapters.code_cells(chapters.read(path))[0]
    assert cell.id == "get-package"
    assert cell.source == execute.get_package_cell()


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_stands_in_the_readme(path):
    readme = (chapters.ROOT / "README.md").read_text(encoding="utf-8")
    assert f"notebooks/{path.name}" in readme


def test_no_two_chapters_have_one_number():
    """Gaps are for chapters that come later: 23 stands before 06 is written."""
    numbers = [int(path.stem[:2]) for path in chapters.CHAPTERS]
    assert numbers[:5] == [1, 2, 3, 4, 5]
    assert len(set(numbers)) == len(numbers)


def test_the_address_comes_from_pyproject(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "FOLDER", tmp_path / "notebooks")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nurls = { Repository = "https://example.org/gan_tf" }\n', encoding="utf-8"
    )
    assert '"git+https://example.org/gan_tf"' in execute.get_package_cell()


def test_of_outputs_the_width_of_a_picture_and_the_end_of_a_bar_are_kept():
    """Tools add metadata, a bar leaves each of its states; a second execution shall give the same file."""
    picture = {"image/png": "R0lGODlh", "text/plain": "<Image>"}
    about = {"image/png": {"width": 420, "needs_background": "light"}, "isolated": True}
    bar = "\rrun:   0%\rrun:  50%\r         \r870 images a second: about 1 min left\n\rrun:  60%\rrun: 100%\n"
    outputs = [
        nbformat.v4.new_output("display_data", data=picture, metadata=about),
        nbformat.v4.new_output("execute_result", data={"text/plain": "1"}, metadata={"text/plain": {}}),
        nbformat.v4.new_output("stream", name="stdout", text=bar),
    ]
    cell = nbformat.v4.new_code_cell("1", metadata={"tags": ["a"], "collapsed": True}, outputs=outputs)
    execute.tidy(cell)
    assert cell.metadata == {"tags": ["a"]}
    assert [output.get("metadata") for output in cell.outputs] == [{"image/png": {"width": 420}}, {}, None]
    assert cell.outputs[2].text == "870 images a second: about 1 min left\nrun: 100%\n"


RECIPES = chapters.ROOT / "benchmarks" / "recipes.csv"
COUNTS = ("frechet_16000", "frechet_32000", "frechet_64000")


def recipes() -> dict[str, dict[int, dict[str, float]]]:
    """Return the scores of each recipe of the benchmark, by its name and seed."""
    found = {}
    for row in csv.DictReader(RECIPES.read_text(encoding="utf-8").splitlines()):
        found.setdefault(row["name"], {})[int(row["seed"])] = {count: float(row[count]) for count in COUNTS}
    return found


def cell_with_recipes() -> str:
    (path,) = (path for path in chapters.CHAPTERS if path.stem.startswith("04_"))
    (source,) = (cell.source for cell in chapters.read(path).cells if "| what is changed |" in cell.source)
    return source


def test_the_table_of_recipes_is_that_of_the_benchmark():
    """Number by number, and by the function that writes it: what is left out or made up by either shows."""
    source = cell_with_recipes()
    assert execute.with_tables(source) == source, "python notebooks/execute.py notebooks/04_dcgan_mnist.ipynb"

    scores, rows = recipes(), source.split("| what is changed |")[1].split("\n\n")[0].splitlines()[2:]
    assert len(rows) == len(execute.RECIPE_ROWS) == 15
    for name, row in zip(execute.RECIPE_ROWS, rows, strict=True):
        by_count = [[seed[count] for seed in scores[name].values()] for count in COUNTS]
        shown = (statistics.median, min, max) if len(scores[name]) > 1 else (min,)
        numbers = [len(scores[name]), *(number(v) for v in by_count for number in shown)]
        told = [float(number) for number in re.findall(r"[0-9.]+", "|".join(row.split("|")[2:]))]
        assert told == [pytest.approx(number, abs=0.5) for number in numbers], row


def test_a_table_of_recipes_is_replaced_and_nothing_else():
    source = "| a | b |\n| - | - |\n\nwords\n\n| what is changed | seeds |\n| --- | --- |\n| old | 9 |\n\nmore | words"
    before, after = "| a | b |\n| - | - |\n\nwords\n\n", "\n\nmore | words"
    assert execute.with_tables(source) == before + execute.recipe_table() + after
    assert execute.with_tables("nothing | here") == "nothing | here"


def test_the_ring_of_chapter_06_is_that_of_the_benchmark():
    """Its table and its points, number by number."""
    (path,) = (path for path in chapters.CHAPTERS if path.stem.startswith("06_"))
    sources = [cell.source for cell in chapters.read(path).cells]
    (table,) = (source for source in sources if "| what is changed on the ring |" in source)
    (points,) = (source for source in sources if source.startswith("RUNS = ") or "\nRUNS = " in source)
    for source in (table, points):
        assert execute.with_tables(source) == source, "python notebooks/execute.py notebooks/06_when_gans_fail.ipynb"

    rows = list(csv.DictReader((chapters.ROOT / "benchmarks" / "ring.csv").read_text(encoding="utf-8").splitlines()))
    seeds = {name: [row for row in rows if row["name"] == name] for name in execute.RING_ROWS}
    shown = table.split("| what is changed on the ring |")[1].split("\n\n")[0].splitlines()[2:]
    for own, line in zip(seeds.values(), shown, strict=True):
        kl = [float(row["kl"]) for row in own]
        collapsed, whole, *_, of_kl = (cell.strip() for cell in line.split("|")[2:-1])
        assert int(collapsed) == sum(value >= 0.6931 for value in kl)
        assert int(whole) == sum(row["modes"] == "8" for row in own)
        assert of_kl == f"{statistics.median(kl):.2f} ({min(kl):.2f} to {max(kl):.2f})"
    trained = {name: own for name, own in seeds.items() if execute.RING_ROWS[name][1]}
    lines = points.split('RUNS = """\n')[1].split('\n"""')[0].splitlines()
    for (name, own), line in zip(trained.items(), lines, strict=True):
        assert line[:18].strip() == execute.RING_ROWS[name][1]
        assert line[18:].split() == [f"{row['modes']}:{100 * float(row['on_mode']):.0f}" for row in own]
    assert len(seeds) == len(trained) + 3


def labels_of_09() -> tuple[list[str], dict[str, list[dict[str, str]]]]:
    """Return the sources of chapter 09, and the rows of benchmarks/conditional.csv by their names."""
    (path,) = (path for path in chapters.CHAPTERS if path.stem.startswith("09_"))
    text = (chapters.ROOT / "benchmarks" / "conditional.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    return [c.source for c in chapters.read(path).cells], {
        name: [row for row in rows if row["name"] == name] for name in execute.LABEL_ROWS
    }


@pytest.mark.parametrize(
    ("head", "column", "cell", "scale"),
    [
        ("| in the discriminator, the label is |", "frechet", 2, 1),
        ("| in the discriminator, the label is |", "spread", 4, 1),
        ("| in the discriminator, the label is in |", "zeros_in_first", 2, 100),
    ],
)
def test_the_tables_of_chapter_09_are_those_of_the_benchmark(head, column, cell, scale):
    sources, rows = labels_of_09()
    (source,) = (source for source in sources if head in source)
    assert execute.with_tables(source) == source, "python notebooks/execute.py notebooks/09_conditional.ipynb"
    named = [name for name, own in rows.items() if own[0][column]]
    lines = [
        line for line in source.split(head)[1].split("\n\n")[0].splitlines()[2:] if "–" not in line.split("|")[cell]
    ]
    for name, line in zip(named, lines, strict=True):
        assert len(rows[name]) == 3
        values = [scale * float(row[column]) for row in rows[name]]
        told = [float(number) for number in re.findall(r"[0-9.]+", line.split("|")[cell])]
        assert told == [
            pytest.approx(f(values), abs=0.51 if scale > 1 else 0.051) for f in (statistics.median, min, max)
        ]


def test_the_points_of_chapter_09_are_those_of_the_benchmark():
    sources, rows = labels_of_09()
    (source,) = (source for source in sources if "\nTRAINED = " in source)
    lines = source.split('TRAINED = """\n')[1].split('\n"""')[0].splitlines()
    named = {short: rows[name] for name, (_, short) in execute.LABEL_ROWS.items() if short}
    for (short, own), line in zip(named.items(), lines, strict=True):
        assert line[:16].strip() == short
        assert line[16:].split() == [f"{100 * float(row['agreement']):.2f}:{row['spread']}" for row in own]


def test_what_chapter_09_says_of_the_ways_is_in_the_benchmark():
    """With every seed, as the text says: the more agreement the less spread; a channel beats no label."""
    _, rows = labels_of_09()
    values = {
        name: {c: [float(r[c]) for r in own if r[c]] for c in own[0] if c != "name"} for name, own in rows.items()
    }
    ways = [values[name] for name in ("concatenation", "projection", "acgan")]
    for one, other in itertools.pairwise(ways):
        assert max(one["agreement"]) < min(other["agreement"])
        assert min(one["spread"]) > max(other["spread"])
    assert all(
        max(ways[0]["frechet"]) < min(values[name]["frechet"]) for name in ("unconditional", "projection", "acgan")
    )
    weights = [values[f"overlap-acgan-{weight}"]["zeros_in_first"] for weight in (1, 2, 4)]
    assert all(min(one) > max(other) for one, other in itertools.pairwise(weights))
    for name in ("overlap-concatenation", "overlap-projection"):
        for column in ("zeros_in_first", "zeros_in_second"):
            assert all(0.45 < share < 0.55 for share in values[name][column])


def test_what_chapter_06_says_of_the_ring_is_in_the_benchmark():
    rows = list(csv.DictReader((chapters.ROOT / "benchmarks" / "ring.csv").read_text(encoding="utf-8").splitlines()))
    whole, collapsed, seconds = {}, {}, {}
    for row in rows:
        name = row["name"]
        whole[name] = whole.get(name, 0) + (row["modes"] == "8")
        collapsed[name] = collapsed.get(name, 0) + (float(row["kl"]) >= 0.6931)
        seconds[name] = round(float(row["cpu_seconds"]))
    ahead = ("unrolled-5", "unrolled-stopped", "critic-5")
    assert [whole[name] for name in ahead] == [11, 11, 11]
    assert [seconds[name] for name in ahead] == [92, 34, 43]
    assert (whole["plain"], whole["beta1-0"], collapsed["beta1-0"]) == (1, 7, 0)
    on_top = ("relativistic", "penalties", "both-0.1", "both-1", "both-10")
    assert [whole[name] for name in on_top] == [8, 5, 8, 3, 2]
    assert (whole["both-beta1-0.5"], collapsed["both-beta1-0.5"], collapsed["packed-2"]) == (0, 7, 0)
    assert (whole["equal-rates"], whole["fast-critic"], collapsed["published-rates"]) == (16, 2, 0)


def rows_of(benchmark: str) -> dict[str, list[dict[str, float]]]:
    """Return the rows of a benchmark by their names, seed by seed, with numbers where there are any."""
    found = {}
    for row in execute.benchmark(benchmark):
        own = found.setdefault(row.pop("name"), [])
        assert int(row.pop("seed")) == len(own), "seeds from 0, in order"
        own.append({column: float(value) for column, value in row.items() if value})
    return found


def text_of_07() -> str:
    (path,) = chapters.ROOT.glob("notebooks/07_*.ipynb")
    cells = chapters.read(path).cells
    assert all(execute.with_tables(cell.source) == cell.source for cell in cells), f"notebooks/execute.py {path.name}"
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_the_table_of_chapter_07_is_that_of_the_benchmark():
    rows, text = rows_of("wasserstein"), text_of_07()
    assert rows.keys() == execute.CRITIC_ROWS.keys()
    assert {len(own) for own in rows.values()} == {8}
    lines = text.split("| the loss of |")[1].split("\n\n")[0].splitlines()[2:]
    for (name, what), line in zip(execute.CRITIC_ROWS.items(), lines, strict=True):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        assert cells[:2] == [what, "8"]
        columns = ("rho", "rho_second_half", "rho_with_time", "rho_with_time_second_half")
        for column, cell in zip(columns, cells[2:6], strict=True):
            own = [row[column] for row in rows[name] if column in row]
            told = [float(number) for number in re.findall(r"-?[0-9.]+", cell)]
            assert told == [pytest.approx(f(own), abs=0.0051) for f in (statistics.median, min, max) if own]


def test_what_chapter_07_says_of_a_critic_s_loss_holds():
    rows, text = rows_of("wasserstein"), text_of_07()
    penalty, median = rows["penalty"], statistics.median
    assert all(row["rho"] > 0.5 for row in penalty)  # in each seed
    assert median(row["rho"] for row in rows["non_saturating"]) < 0
    better = sum(row["rho_with_time"] > row["rho"] for row in penalty)
    assert f"and in {better} of 8 seeds better" in text
    negative = sum(row["rho_second_half"] < 0 for row in penalty)
    better = sum(row["rho_with_time_second_half"] > row["rho_second_half"] for row in penalty)
    critic, steps = (median(r[f"rho_{name}second_half"] for r in penalty) for name in ("", "with_time_"))
    claim = f"the critic's correlation is {critic:.2f}, and negative in {negative} of 8 seeds, while counting gives "
    assert claim + f"{steps:.2f} and more than the critic in {better} of 8" in text
    clipped, untrained = (median(row["frechet_last"] for row in rows[name]) for name in ("clipping", "untrained"))
    assert f"its {clipped:.0f} isn't far from the {untrained:.0f} of a generator that hasn't trained" in text


def test_what_chapter_07_says_of_critics_that_train_longer_holds():
    rows, text = rows_of("critics"), text_of_07()
    (formula,) = rows.pop("formula")
    assert rows.keys() == {f"{start}-{n}" for start in ("flat", "random") for n in (800, 2000, 8000, 16000)}
    medians = {name: {pair: statistics.median(row[pair] for row in rows[name]) for pair in formula} for name in rows}
    last = "sigma_1.4"
    assert all(abs(medians["flat-16000"][pair] / formula[pair] - 1) < 0.04 for pair in formula)
    assert all(abs(medians["flat-16000"][pair] / formula[pair] - 1) < 0.02 for pair in formula if pair != last)
    assert medians["flat-800"][last] < medians["flat-2000"][last] < medians["flat-8000"][last] < 0.7
    random, flat = (medians[f"{start}-8000"][last] for start in ("random", "flat"))
    assert f"read {random:.2f} after 8,000 steps, where these read {flat:.2f}" in text
    early = [row[last] for row in rows["flat-800"]]
    assert f"after 800 steps these four starts read {min(early):.2f} to {max(early):.2f}" in text


def test_what_chapter_07_says_of_the_penalty_s_mistakes_holds():
    rows, text = rows_of("mistakes"), text_of_07()
    assert rows.keys() == {f"{name}-{steps}" for name in execute.MISTAKE_ROWS for steps in (500, 2000, 8000)}
    told = {name: [own["reading"] for own in seeds] for name, seeds in rows.items()}
    assert {len(own) for own in told.values()} == {8}
    medians = {name: statistics.median(own) for name, own in told.items()}
    assert f"it errs the other way, {medians['batch_norm_together-8000']:.1f} times $W$" in text
    assert f"the critic reads {medians['alpha_0-2000']:.2f} after 2,000 steps" in text
    sentences = {"alpha_0": "After 8,000 it's {}, and the eight disagree ({} to {})", "none": "agree on {} ({} to {})"}
    for name, words in sentences.items():
        own = told[f"{name}-8000"]
        assert words.format(*(f"{f(own):.2f}" for f in (statistics.median, min, max))) in text
    for name in ("wrong_axis", "one_norm", "batch_norm"):  # stay where they were
        assert all(abs(medians[f"{name}-{steps}"] - medians[f"{name}-500"]) < 0.1 for steps in (2000, 8000))
    assert abs(medians["alpha_of_each_pixel-8000"] - medians["none-8000"]) < 0.01


def few_of_25() -> dict[str, dict[str, list[float]]]:
    """Return the columns of benchmarks/few.csv, seed by seed, by the rows' names."""
    rows = list(csv.DictReader((chapters.ROOT / "benchmarks" / "few.csv").read_text(encoding="utf-8").splitlines()))
    columns = [name for name in rows[0] if name not in ("name", "seed")]
    found = {name: [row for row in rows if row["name"] == name] for name in execute.FEW_ROWS}
    assert [(row["name"], row["seed"]) for row in rows] == [(name, seed) for seed in "012" for name in found]
    return {name: {column: [float(row[column]) for row in own] for column in columns} for name, own in found.items()}


def test_the_table_of_chapter_25_is_that_of_the_benchmark():
    (path,) = chapters.ROOT.glob("notebooks/25_*.ipynb")
    (source,) = (cell.source for cell in chapters.read(path).cells if "| trained on |" in cell.source)
    assert execute.with_tables(source) == source, "python notebooks/execute.py notebooks/25_your_own_pictures.ipynb"
    lines = source.split("| trained on |")[1].split("\n\n")[0].splitlines()[2:]
    for (name, own), line in zip(few_of_25().items(), lines, strict=True):
        what, valid, combinations, new, memorised, twins = (cell.strip() for cell in line.split("|")[1:-1])
        assert what == execute.FEW_ROWS[name]
        shown = (valid, 100, own["valid"]), (combinations, 1, own["combinations"]), (twins, 100, own["twins"])
        assert [float(number) for number in re.findall(r"[0-9.]+", new)] == [
            pytest.approx(100 * f(own["untrained_pairs"]), abs=0.051) for f in (statistics.median, min, max)
        ]
        for text, scale, values in (*shown, (memorised, 1, own["memorised"])):
            told = [float(number) for number in re.findall(r"-?[0-9.]+", text)]
            within = 0.0051 if scale == 1 and "." in text else 0.51
            assert told == [pytest.approx(scale * f(values), abs=within) for f in (statistics.median, min, max)]


def test_what_chapter_25_says_of_few_pictures_is_in_the_benchmark():
    """With every seed, as the text says."""
    few = few_of_25()
    plain, moved = few["200"], few["200-translation"]
    assert min(plain["memorised"]) > 2 * max(abs(value) for value in few["4000"]["memorised"])
    assert min(plain["valid"]) > 0.9 * max(few["4000"]["valid"])
    for column in ("memorised", "twins", "valid", "combinations"):
        assert min(plain[column]) > max(moved[column])
    for name in ("200-translation-cutout", "200-diffaugment"):
        assert max(few[name]["valid"]) < min(moved["valid"])
    assert sum(value > min(plain["memorised"]) for value in few["200-diffaugment"]["memorised"]) == 1
    for name in ("200", "4000"):
        assert 0 < min(few[name]["untrained_pairs"]) <= max(few[name]["untrained_pairs"]) < 0.04
    assert 0.3 < statistics.median(plain["memorised"]) < 0.36
    assert 0.7 < statistics.median(plain["twins"]) < 0.8
    assert 0.35 < statistics.median(few["4000"]["valid"]) < 0.45
    for column in ("valid", "combinations"):
        assert max(few["4000-translation"][column]) < min(few["4000"][column])


@pytest.mark.parametrize(
    "name", ["latent-100", "slope-0.3", "one-rate", "beta1-0.5", "no-average", "rate-half", "small"]
)
def test_what_chapter_04_says_hurts_does_so_with_every_seed(name):
    scores = recipes()
    for seed, row in scores[name].items():
        for count in COUNTS[1:]:
            assert row[count] > scores["default"][seed][count]


@pytest.mark.parametrize("name", ["latent-100", "no-average"])
def test_what_chapter_04_says_costs_most_more_than_doubles_the_distance(name):
    default, changed = ([row[COUNTS[2]] for row in recipes()[row].values()] for row in ("default", name))
    assert statistics.median(changed) > 2 * statistics.median(default)


def test_without_noise_a_run_is_behind_at_the_end_with_every_seed():
    scores = recipes()
    for seed, row in scores["no-noise"].items():
        assert row[COUNTS[2]] > scores["default"][seed][COUNTS[2]]


def test_what_chapter_04_says_is_ahead_early_is_so_with_every_seed():
    scores = recipes()
    for seed, row in scores["batch-8"].items():
        assert row["frechet_16000"] < scores["default"][seed]["frechet_16000"]


def test_a_wider_discriminator_is_ahead_with_every_seed_until_the_end():
    scores = recipes()
    for seed, row in scores["wide"].items():
        assert all(row[count] < scores["default"][seed][count] for count in COUNTS[:2])
    at_the_end = [statistics.median(row[COUNTS[2]] for row in scores[name].values()) for name in ("wide", "default")]
    assert at_the_end[0] > at_the_end[1]


@pytest.mark.parametrize("name", ["no-stddev"])
def test_what_chapter_04_says_the_table_does_not_prove_is_within_the_seeds_spread(name):
    scores = recipes()
    for count in COUNTS[:2]:
        default = [seed[count] for seed in scores["default"].values()]
        change = statistics.median(seed[count] for seed in scores[name].values()) - statistics.median(default)
        assert abs(change) < max(default) - min(default)


def good() -> nbformat.NotebookNode:
    """Build a notebook that keeps every rule."""
    cells = []
    sources = {"one-cell": "print(1)", "two-cell": "print('0.1 (bound 0.2)')\nassert error < 0.2"}
    for count, (name, source) in enumerate(sources.items(), 1):
        output = nbformat.v4.new_output("stream", name="stdout", text="1" if count == 1 else "0.1 (bound 0.2)")
        cells.append(nbformat.v4.new_markdown_cell("# Title" if count == 1 else "## Solutions", id=f"before-{name}"))
        cells.append(nbformat.v4.new_code_cell(source, id=name, execution_count=count, outputs=[output]))
    return nbformat.v4.new_notebook(cells=cells, metadata=execute.METADATA)


def faults_after(change, tmp_path) -> list[str]:
    notebook = good()
    change(notebook)
    nbformat.write(notebook, tmp_path / "notebook.ipynb")
    return chapters.all_faults(tmp_path / "notebook.ipynb")


def test_a_good_notebook_has_no_faults(tmp_path):
    assert faults_after(lambda notebook: None, tmp_path) == []


def without_outputs(notebook):
    for cell in chapters.code_cells(notebook):
        cell.outputs = []


def out_of_order(notebook):
    notebook.cells[1].execution_count, notebook.cells[3].execution_count = 2, 1


def never_executed(notebook):
    notebook.cells[3].execution_count = None


def too_large(notebook):
    notebook.cells[0].source = "# " + "x" * chapters.LARGEST_BYTES


def too_long(notebook):
    notebook.cells[1].source = "\n".join(["print(1)"] * 26)


def other_twin(notebook):
    notebook.cells[1].source = "def non_saturating_generator_loss(fake_logits):\n    return tf.reduce_mean(fake_logits)"


def twin_without_a_branch(notebook):
    """Only checks of arguments may be left out, and this is none."""
    notebook.cells[1].source = """def mean_over_replicas(x):
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, x)"""


def other_default(notebook):
    notebook.cells[1].source = MLP_DISCRIMINATOR.replace("1024", "1000")


def standard_error(notebook):
    notebook.cells[1].outputs.append(nbformat.v4.new_output("stream", name="stderr", text="W0000 something"))


def an_error(notebook):
    notebook.cells[1].outputs.append(nbformat.v4.new_output("error", ename="E", evalue="", traceback=[]))


def ignored_without_conclusion(notebook):
    notebook.cells[3].metadata.tags = [chapters.IGNORED]


def ignored_before_a_silent_cell(notebook):
    notebook.cells[1].metadata.tags = [chapters.IGNORED]
    notebook.cells[3].outputs = []


def skipped(notebook):
    notebook.cells[1].metadata.tags = ["nbval-skip"]


def more_metadata(notebook):
    notebook.cells[1].metadata["execution"] = {}


def other_kernel(notebook):
    notebook.metadata.kernelspec["display_name"] = "mine"


def a_wide_line(notebook):
    notebook.cells[1].source = f"print({'1' * 100})"


def bare_verdicts(notebook):
    notebook.cells[1].outputs[0].text = "small: True\nlarge: True\n" + "0.1 (bound 0.2)\n" * 30


def a_bound_that_is_not_asserted(notebook):
    notebook.cells[3].source = "print('0.1 (bound 0.2)')\nassert error < 0.3"


def a_bound_of_two_sides_of_which_one_is_asserted(notebook):
    notebook.cells[3].source = "print('0.1 (bound 0.05 to 0.2)')\nassert error < 0.2"


def a_bound_without_a_number(notebook):
    notebook.cells[3].source = "print('0.1 (bound small)')\nassert error < 0.2"


def a_bound_from_elsewhere(notebook):
    notebook.cells[3].source = "print(text)"


def code_after_code(notebook):
    del notebook.cells[2]
    notebook.cells[0].source += "\n## Solutions"


def trained_where_it_was_not_built(notebook):
    notebook.cells[1].source = "model.fit(batches)"


def played_where_they_were_not_built(notebook):
    notebook.cells[1].source = "generator = build()\nplay(generator, discriminator)"


def no_heading_for_solutions(notebook):
    notebook.cells[2].source = "Solutions"


def a_formula_in_a_heading(notebook):
    notebook.cells[2].source += "\n## Of $D^*$"


def old_format(notebook):
    notebook.nbformat_minor = 4
    for cell in notebook.cells:
        del cell["id"]


@pytest.mark.parametrize(
    "change",
    [
        without_outputs,
        out_of_order,
        never_executed,
        too_large,
        too_long,
        other_twin,
        twin_without_a_branch,
        other_default,
        standard_error,
        an_error,
        ignored_without_conclusion,
        ignored_before_a_silent_cell,
        skipped,
        more_metadata,
        other_kernel,
        a_wide_line,
        bare_verdicts,
        a_bound_that_is_not_asserted,
        a_bound_of_two_sides_of_which_one_is_asserted,
        a_bound_without_a_number,
        a_bound_from_elsewhere,
        code_after_code,
        trained_where_it_was_not_built,
        played_where_they_were_not_built,
        no_heading_for_solutions,
        a_formula_in_a_heading,
        old_format,
    ],
)
def test_each_rule_catches_what_breaks_it(change, tmp_path):
    assert faults_after(change, tmp_path)


@pytest.mark.parametrize(
    "source",
    [
        "print(f'{share:.1%} (bound at least 90%)')\nassert share >= 0.9",
        "print(f'{count:,} (bound 1,000)')\nassert count < 1_000",
        "print(f'{a:.1e} (bound 2e-5)', f'{b:.2f} (bound -0.1 to 0.1)')\nassert a < 2e-5\nassert -0.1 < b < 0.1",
    ],
)
def test_a_bound_may_be_written_as_people_write_numbers(source, tmp_path):
    def bounded(notebook):
        notebook.cells[1].source = source

    assert faults_after(bounded, tmp_path) == []


def test_code_that_builds_what_it_trains_is_right(tmp_path):
    def built(notebook):
        notebook.cells[1].source = "set_random_seed(0)\nmodel = build()\nmodel.fit(batches)"

    assert faults_after(built, tmp_path) == []


def sanitized(text: str) -> str:
    """Return what nbval compares of a printed line."""
    config = configparser.RawConfigParser()
    config.read(chapters.ROOT / "notebooks" / "sanitize.cfg", encoding="utf-8")
    for section in config.sections():
        text = re.sub(config[section]["regex"], config[section]["replace"], text)
    return text


@pytest.mark.parametrize("other", ["0.0487", "1.2e-5", "98.8%", "-3", "1,024"])
def test_a_figure_beside_its_bound_is_not_compared_and_all_else_is(other):
    assert sanitized(f"mean 0.3, error {other} (bound 0.05)") == sanitized("mean 0.3, error 0.031 (bound 0.05)")
    assert sanitized(f"error {other} (bound 0.05)") != sanitized(f"error {other} (bound 0.06)")
    assert sanitized(f"error {other} (is 0.05)") != sanitized("error 0.031 (is 0.05)")


@pytest.mark.parametrize("path", chapters.CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_links_to_the_one_before_and_the_one_after(path):
    title = chapters.read(path).cells[0].source
    assert execute.with_neighbours(title, path.name, execute.chapters()) == title, "python notebooks/execute.py"


def test_links_follow_the_order_of_today():
    titles = {"01_a.ipynb": "01 · A", "02_b.ipynb": "02 · B", "04_d.ipynb": "04 · D"}
    once = execute.with_neighbours("# 02 · B\n\nText.", "02_b.ipynb", titles)
    assert once.endswith("\n← [01 · A](01_a.ipynb) | [all chapters](README.md) | [04 · D](04_d.ipynb) →")
    again = execute.with_neighbours(once, "02_b.ipynb", titles | {"03_c.ipynb": "03 · C"})
    assert again == once
    between = execute.with_neighbours(once, "02_b.ipynb", {"02_b.ipynb": "02 · B", "03_c.ipynb": "03 · C"})
    assert between.endswith(f"Text.\n\n{execute.MARK}\n[all chapters](README.md) | [03 · C](03_c.ipynb) →")


def test_the_package_s_own_code_is_its_own_twin(tmp_path):
    def same(notebook):
        notebook.cells[
            1
        ].source = (
            "def non_saturating_generator_loss(fake_logits):\n    return tf.reduce_mean(tf.nn.softplus(-fake_logits))"
        )

    assert faults_after(same, tmp_path) == []


MLP_DISCRIMINATOR = """
def mlp_discriminator(widths=(1024, 512, 256), dropout=0.3, image_shape=IMAGE_SHAPE):
    hidden = []
    for width in widths:
        hidden += [layers.Dense(width), layers.LeakyReLU(0.2)]
        hidden += [layers.Dropout(dropout)] * (dropout > 0)

    logit = layers.Dense(1, dtype="float32")
    return keras.Sequential(
        [keras.Input(image_shape), layers.Flatten(), *hidden, logit], name="discriminator"
    )
"""
DISCRIMINATOR_STEP = """
def discriminator_step(
    real, z, generator, discriminator, adversarial_loss, discriminator_optimizer
):
    fake = generator(z, training=True)

    with tf.GradientTape() as tape:
        real_logits = discriminator(real, training=True)
        fake_logits = discriminator(fake, training=True)
        loss = adversarial_loss.discriminator(real_logits, fake_logits)

    gradients = tape.gradient(loss, discriminator.trainable_variables)
    discriminator_optimizer.apply(gradients, discriminator.trainable_variables)
    return loss
"""
GENERATOR_STEP = """
def generator_step(z, generator, discriminator, adversarial_loss, generator_optimizer):
    with tf.GradientTape() as tape:
        fake = generator(z, training=True)
        fake_logits = discriminator(fake, training=True)
        loss = adversarial_loss.generator(None, fake_logits)

    gradients = tape.gradient(loss, generator.trainable_variables)
    generator_optimizer.apply(gradients, generator.trainable_variables)
    return loss
"""


@pytest.mark.parametrize("source", [MLP_DISCRIMINATOR, DISCRIMINATOR_STEP, GENERATOR_STEP])
def test_what_the_package_checks_or_calls_by_a_name_may_be_left_out_or_written_out_by_hand(source, tmp_path):
    def by_hand(notebook):
        notebook.cells[1].source = source

    assert faults_after(by_hand, tmp_path) == []


TRACKED = "    with tf.GradientTape() as tape:\n        real"


@pytest.mark.parametrize(
    ("step", "old", "new"),
    [
        (DISCRIMINATOR_STEP, "generator(z, training=True)", "generator(z, training=False)"),
        (DISCRIMINATOR_STEP, "discriminator(real, training=True)", "discriminator(real)"),
        (DISCRIMINATOR_STEP, "(real_logits, fake_logits)", "(fake_logits, real_logits)"),
        (DISCRIMINATOR_STEP, "discriminator(fake, training=True)", "discriminator(real, training=True)"),
        (DISCRIMINATOR_STEP, "gradient(loss, discriminator.", "gradient(loss, generator."),
        (DISCRIMINATOR_STEP, "    discriminator_optimizer.apply(gradients, discriminator.trainable_variables)\n", ""),
        (DISCRIMINATOR_STEP, "    return loss\n", ""),
        (DISCRIMINATOR_STEP, "return loss", "return real_logits"),
        (DISCRIMINATOR_STEP, "    fake = generator(z, training=True)\n\n" + TRACKED, TRACKED),
        (GENERATOR_STEP, "        fake = generator", "        z = 2 * z\n        fake = generator"),
        (GENERATOR_STEP, "loss = adversarial_loss.generator", "loss = -adversarial_loss.generator"),
        (GENERATOR_STEP, "generator_optimizer.apply", "discriminator_optimizer.apply"),
        (GENERATOR_STEP, "        loss = adversarial_loss", "    loss = adversarial_loss"),  # out of the tape
        (
            GENERATOR_STEP,
            "    with tf.GradientTape() as tape:\n        fake = generator(z, training=True)\n",
            "    fake = generator(z, training=True)\n    with tf.GradientTape() as tape:\n",
        ),
    ],
)
def test_a_step_by_hand_that_differs_is_caught(step, old, new, tmp_path):
    def by_hand(notebook):
        assert step.count(old) == 1
        notebook.cells[1].source = step.replace(old, new)

    assert faults_after(by_hand, tmp_path)


def test_each_line_that_may_be_written_out_stands_in_the_package(monkeypatch):
    written_out = dict(chapters.WRITTEN_OUT)
    monkeypatch.setattr(chapters, "WRITTEN_OUT", {})
    package = chapters.package_functions.__wrapped__()
    text = "\n".join(package["discriminator_step"] + package["generator_step"])
    assert [line for line in written_out if line not in text] == []


PAGES = [chapters.ROOT / "README.md", chapters.ROOT / "CONTRIBUTING.md", *sorted((chapters.ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r"(?:\]\(|src=\")([^)\s\"#]+)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if not link.startswith("http") and not (page.parent / link).exists()]


def test_every_page_can_be_reached_from_the_front_page():
    readme = (chapters.ROOT / "README.md").read_text(encoding="utf-8")
    beside = "".join(page.read_text(encoding="utf-8") for page in PAGES[1:])
    assert [
        page.name for page in PAGES[2:] if f"docs/{page.name}" not in readme and f"({page.name}" not in beside
    ] == []
