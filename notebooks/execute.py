"""Execute chapters and store their outputs: `python notebooks/execute.py [CHAPTER.ipynb ...]`; without names, all.

Metadata is what JupyterLab itself would write, no more, so that a second run gives a small diff and looking at a
chapter does not ask to save it. The first code cell gets the repository's address from pyproject.toml, the title cell
links to the chapters before and after, and tables and rows of numbers come from benchmarks/ (see `TABLES`).
"""

import csv
import math
import re
import statistics
import sys
import time
import tomllib
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
        "version": "3.11.7",  # of the machine that CI runs on, whatever ran here
    },
}
GET_PACKAGE = """\
try:
    from gan_tf import __version__, plots  # imports TensorFlow, too, without its start-up messages
except ImportError:  # not installed yet: look for the project's folder here, above and below
    import sys
    from glob import glob

    found = [f for f in (".", "..", *glob("./*")) if glob(f"{f}/gan_tf/__init__.py")]
    if found:
        %pip install --quiet "{found[0]}"
    sys.modules.pop("gan_tf", None)  # the project's folder may have that name, too
    try:
        from gan_tf import __version__, plots
    except ImportError as error:  # one line in place of a traceback
        error._render_traceback_ = lambda e=error: [f"{e}. Type: %pip install PROJECT_FOLDER"]
        raise
print("gan_tf", __version__)"""

MARK = "<!-- before and after -->"
RECIPE_ROWS = {  # of benchmarks/recipes.csv, as chapter 04 names them
    "default": "nothing: the recipe",
    "latent-100": "100 numbers of noise",
    "slope-0.3": "leaky ReLUs of slope 0.3",
    "one-rate": "the generator's rate, as low as the discriminator's",
    "beta1-0.5": "β₁ = 0.5",
    "no-average": "the last weights, no average",
    "batch-8": "batch 8",
    "batch-32": "batch 32",
    "rate-half": "both rates halved",
    "rate-double": "both rates doubled",
    "no-noise": "no input noise",
    "no-stddev": "no look at the whole batch (`MinibatchStddev`)",
    "kernel-5": "5×5 kernels in place of 4×4",
    "wide": "a wider discriminator: 32, 128, 256 channels",
    "small": "smaller networks: 64, 32, 32 and 32, 48, 96 channels",
}
RING_ROWS = {  # of benchmarks/ring.csv, as chapter 06 names them: in its table, in its figure
    "noise": ("*uniform noise*", ""),
    "gaussian": ("*one Gaussian*", ""),
    "true": ("*true samples*", ""),
    "plain": ("nothing: the plain game", "plain"),
    "unrolled-5": ("unrolled by 5 steps", "unrolled"),
    "unrolled-stopped": ("unrolled, gradient stopped", "unrolled, stopped"),
    "critic-5": ("5 steps of D to one of G", "5 D steps"),
    "packed-2": ("packed by 2", "packed by 2"),
    "beta1-0": ("β₁ = 0", "β₁ 0"),
    "relativistic": ("pairs, β₁ = 0", "pairs, β₁ 0"),
    "penalties": ("R1 + R2, γ = 1, β₁ = 0", "R1 + R2, β₁ 0"),
    "both-0.1": ("both, γ = 0.1, β₁ = 0", "both, γ 0.1, β₁ 0"),
    "both-1": ("both, γ = 1, β₁ = 0", "both, γ 1, β₁ 0"),
    "both-10": ("both, γ = 10, β₁ = 0", "both, γ 10, β₁ 0"),
    "both-beta1-0.5": ("both, γ = 1, β₁ = 0.5", "both, γ 1, β₁ 0.5"),
    "fast-critic": ("rates 1e-2 and 1e-2", "rates 1e-2, 1e-2"),
    "published-rates": ("rates 1e-3 and 1e-4", "rates 1e-3, 1e-4"),
    "equal-rates": ("rates 1e-3 and 1e-3", "rates 1e-3, 1e-3"),
    "both-equal-rates": ("both, γ = 1, β₁ = 0, rates 1e-3 and 1e-3", "both, 1e-3, 1e-3"),
}

LABEL_ROWS = {  # of benchmarks/conditional.csv, as chapter 09 names them: in its tables, in its figure
    "unconditional": ("nowhere: the default run", ""),
    "concatenation": ("a channel (concatenation)", "concatenation"),
    "projection": ("a row of weights (projection)", "projection"),
    "acgan": ("the loss alone (ACGAN)", "ACGAN"),
    "overlap-concatenation": ("a channel (concatenation)", ""),
    "overlap-projection": ("a row of weights (projection)", ""),
    "overlap-acgan-1": ("the loss alone (ACGAN), λ = 1", ""),
    "overlap-acgan-2": ("the loss alone (ACGAN), λ = 2", ""),
    "overlap-acgan-4": ("the loss alone (ACGAN), λ = 4", ""),
}

GAME_ROWS = {  # of benchmarks/density.csv, as chapter 08 names them
    "logistic": "non-saturating",
    "least-squares": "least squares",
    "hinge": "hinge",
    "pairs": "pairs",
    "wasserstein": "Wasserstein, gradient penalty 10",
    "wasserstein-one-sided": "Wasserstein, penalty 10 above a slope of 1 only",
    "wasserstein-0.1": "Wasserstein, gradient penalty 0.1",
    "logistic-r1": "non-saturating, R1, γ = 1",
    "logistic-r1-0.1": "non-saturating, R1, γ = 0.1",
    "logistic-r1-0.01": "non-saturating, R1, γ = 0.01",
    "hinge-r1": "hinge, R1, γ = 1",
    "pairs-r1": "pairs, R1, γ = 1",
    "pairs-r1-0.1": "pairs, R1, γ = 0.1",
    "pairs-r1-0.01": "pairs, R1, γ = 0.01",
    "least-squares-long": "least squares, 16,000 steps",
    "hinge-long": "hinge, 16,000 steps",
}
STABILISER_ROWS = {  # of benchmarks/stabilisers.csv, as chapter 08 names them: in its table, in its figure
    "plain": ("nothing: *plain*", "plain"),
    "least-squares": ("least squares", "least squares"),
    "hinge": ("hinge", "hinge"),
    "wgan-gp": ("Wasserstein, gradient penalty 10", "WGAN-GP"),
    "wgan-gp-5": ("the same as published: 5 steps of D, both rates 1e-4", "WGAN-GP, 5 D steps"),
    "relativistic": ("pairs", "pairs"),
    "wgan-gp-double": ("Wasserstein, gradient penalty 10, both rates doubled", "WGAN-GP, double"),
    "relativistic-double": ("pairs, both rates doubled", "pairs, double"),
    "relativistic-r1-r2-0.1": ("pairs, R1 and R2, γ = 0.1", "pairs, R1, R2, 0.1"),
    "relativistic-r1-r2": ("pairs, R1 and R2, γ = 1", "pairs, R1, R2"),
    "r1-0.1": ("R1, γ = 0.1", "R1, γ 0.1"),
    "r1-1": ("R1, γ = 1", "R1, γ 1"),
    "r1-10": ("R1, γ = 10", "R1, γ 10"),
    "spectral": ("spectral normalisation of D", "spectral"),
    "batch-norm": ("batch norm in D", "batch norm in D"),
    "dropout": ("dropout of 0.3 in D", "dropout"),
    "noise": ("noise of 0.2 on what D sees", "noise"),
    "smoothing": ("reals are labelled 0.9", "smoothing"),
    "one-rate": ("one rate: both 1e-3", "one rate"),
    "diffaugment": ("DiffAugment", "DiffAugment"),
    "recipe": ("noise and a look at the whole batch: *the recipe*", "the recipe"),
}
STACK_ROWS = {  # of benchmarks/stacks.csv, as chapter 08 names them
    "noise": "*noise*",
    "gaussian": "*one Gaussian a digit*",
    "true": "*true stacks*",
    "none": "non-saturating, no penalty",
    "pairs": "pairs, no penalty",
    **{f"r1-{g}": f"non-saturating, R1, γ = {g}" for g in ("0.01", "0.1", "1", "10")},
    **{f"r1-r2-{g}": f"non-saturating, R1 and R2, γ = {g}" for g in ("0.01", "0.1", "1", "10")},
    **{f"pairs-r1-{g}": f"pairs, R1, γ = {g}" for g in ("0.01", "0.1", "1", "10")},
    **{f"pairs-r1-r2-{g}": f"pairs, R1 and R2, γ = {g}" for g in ("0.01", "0.1", "1", "10")},
    "constant": "pairs, R1 and R2, γ = 1 throughout",
    "lazy": "pairs, R1 and R2, γ = 1, every 8th step",
    "beta1-0.5": "pairs, R1 and R2, γ = 1, β₁ = 0.5",
    "batch-norm": "pairs, R1 and R2, γ = 1, batch norm in D",
    "broken": "pairs, R1 and R2, γ = 1, batch norm in D, β₁ = 0.5",
    "broken-none": "non-saturating, no penalty, batch norm in D, β₁ = 0.5",
}


FEW_ROWS = {  # of benchmarks/few.csv, as chapter 25 names them
    "200": "200 sprites",
    "200-translation": "200, translation",
    "200-translation-cutout": "200, translation and cutout",
    "200-diffaugment": "200, translation, cutout and colour",
    "4000": "4,000 sprites",
    "4000-translation": "4,000, translation",
}


def repository() -> str:
    """Return the project's address, or nothing where there is none yet."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "")


def get_package_cell() -> str:
    """Return the source of every chapter's first code cell; where no folder is found, it installs from the address."""
    if not (address := repository()):
        return GET_PACKAGE
    return GET_PACKAGE.replace("    if found:", f'    found = found or ["git+{address}"]\n    if found:')


def benchmark(name: str) -> list[dict[str, str]]:
    """Return the rows of a benchmark's table."""
    with open(FOLDER.parent / "benchmarks" / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def recipe_table() -> str:
    """Return chapter 04's table of what the recipe's parts are worth, from benchmarks/recipes.csv."""
    rows = benchmark("recipes")
    own_of_all = [name for name in rows[0] if all(row[name] for row in rows if row["name"] in RECIPE_ROWS)]
    columns = [name for name in own_of_all if name.startswith("frechet_")]
    heads = " | ".join(f"{int(name.removeprefix('frechet_')):,} images" for name in columns)
    lines = [f"| what is changed | seeds | {heads} |", "| --- " * (2 + len(columns)) + "|"]

    for name, what in RECIPE_ROWS.items():
        own = [row for row in rows if row["name"] == name]
        scores = [[float(row[column]) for row in own] for column in columns]
        spreads = [f" ({min(v):.0f} to {max(v):.0f})" if len(v) > 1 else "" for v in scores]
        cells = [f"{statistics.median(v):.0f}{spread}" for v, spread in zip(scores, spreads, strict=True)]
        lines.append(f"| {what} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ring_scores() -> dict[str, list[tuple[int, float, float]]]:
    """Return of each row of benchmarks/ring.csv its seeds' modes found, share on a mode and KL."""
    scores = {name: [] for name in RING_ROWS}
    for row in benchmark("ring"):
        scores[row["name"]].append((int(row["modes"]), float(row["on_mode"]), float(row["kl"])))
    return scores


def ring_table() -> str:
    """Return chapter 06's table of what the cures of mode collapse are worth, from benchmarks/ring.csv."""
    heads = ("what is changed on the ring", "collapsed", "all 8 found", "modes found", "on a mode", "KL")
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for name, seeds in ring_scores().items():
        modes, shares, kl = zip(*seeds, strict=True)
        collapsed, whole = sum(value >= math.log(2) for value in kl), modes.count(8)
        cells = [f"{statistics.median(modes):.0f} ({min(modes)} to {max(modes)})"]
        cells += [f"{statistics.median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"]
        cells += [f"{statistics.median(kl):.2f} ({min(kl):.2f} to {max(kl):.2f})"]
        lines.append(f"| {RING_ROWS[name][0]} | {collapsed} | {whole} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ring_seeds() -> str:
    """Return the lines of chapter 06 that hold each seed, as modes found and percent on a mode; controls have none."""
    named = {RING_ROWS[name][1]: seeds for name, seeds in ring_scores().items() if RING_ROWS[name][1]}
    lines = [f"{name:18}{' '.join(f'{m}:{100 * s:.0f}' for m, s, _ in seeds)}" for name, seeds in named.items()]
    return "\n".join(['RUNS = """', *lines, '"""'])


def label_table(columns: dict[str, tuple[str, str]], overlap: bool) -> str:
    """Return a table of chapter 09, from benchmarks/conditional.csv: median and range over the seeds.

    Args:
        columns: of the benchmark; each with its head and its format.
        overlap: whether the rows are of the classes that overlap.
    """
    rows, first = benchmark("conditional"), "in the discriminator, the label is"
    heads = " | ".join(head for head, _ in columns.values())
    lines = [f"| {first}{' in' * overlap} | {heads} |", "| --- " * (1 + len(columns)) + "|"]
    for name, (what, _) in LABEL_ROWS.items():
        seeds = [row for row in rows if row["name"] == name]
        if seeds and name.startswith("overlap") == overlap:
            cells = [_median_and_range([row[column] for row in seeds], shape) for column, (_, shape) in columns.items()]
            lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _median_and_range(texts: list[str], shape: str) -> str:
    if not all(texts):
        return "–"
    values = [float(text) for text in texts]
    return f"{statistics.median(values):{shape}} ({min(values):{shape}} to {max(values):{shape}})"


def labels_table() -> str:
    """Return chapter 09's table of the ways in which a label goes in."""
    columns = {"agreement": ("agreement", ".2%"), "spread": ("spread within", ".2f")}
    columns |= {"coverage": ("coverage within", ".2f"), "class_frechet": ("distance within", ".1f")}
    return label_table({"frechet": ("distance", ".1f")} | columns, overlap=False)


def overlap_table() -> str:
    """Return chapter 09's table of two classes that overlap."""
    columns = {"zeros_in_first": ("zeros in “0 or 1”", ".0%"), "zeros_in_second": ("zeros in “0 or 2”", ".0%")}
    return label_table(columns | {"foreign": ("of neither", ".1%")}, overlap=True)


def label_seeds() -> str:
    """Return the lines of chapter 09 that hold each seed, as percent of agreement and spread."""
    rows, lines = benchmark("conditional"), []
    for name, (_, short) in LABEL_ROWS.items():
        own = [row for row in rows if row["name"] == name and short]
        if own:
            lines.append(f"{short:16}" + " ".join(f"{100 * float(r['agreement']):.2f}:{r['spread']}" for r in own))
    return "\n".join(['TRAINED = """', *lines, '"""'])


def power(rate: str) -> str:
    """Write a rate, as 4e-3."""
    digits, exponent = f"{float(rate):.1e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"


def game_table() -> str:
    """Return chapter 08's table of games on a line, from benchmarks/density.csv, each entry at its own best rate.

    Medians and quartiles over the seeds, in thousandths of a nat.
    """
    ways = [(schedule, column) for schedule in ("constant", "falling") for column in ("js", "js_averaged")]
    heads = ("constant rates", "averaged", "falling rates", "averaged")
    lines = [f"| game on the line | {' | '.join(heads)} |", "| --- " * 5 + "|"]
    found = {}
    for row in benchmark("density"):
        for schedule, column in ways:
            if row["schedule"] == schedule:
                rates = found.setdefault((row["name"], schedule, column), {})
                rates.setdefault(row["rate"], []).append(1000 * float(row[column]))
    for name, what in GAME_ROWS.items():
        if (name, *ways[0]) in found:
            cells = []
            for way in ways:
                rates = found[name, *way]
                rate = min(rates, key=lambda rate, rates=rates: statistics.median(rates[rate]))
                low, middle, high = statistics.quantiles(rates[rate], n=4, method="inclusive")
                cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f}) at {power(rate)}")
            lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def stabiliser_table() -> str:
    """Return chapter 08's table of what stabilisers are worth, from benchmarks/stabilisers.csv."""
    rows = benchmark("stabilisers")
    columns = {"frechet": ("distance", ".1f"), "frechet_last": ("of the last weights", ".1f")}
    columns |= {"precision": ("precision", ".2f"), "recall": ("recall", ".2f")}
    heads = " | ".join(head for head, _ in columns.values())
    lines = [f"| what is changed at equal seconds | seeds | steps | {heads} | beside plain |", "| --- " * 8 + "|"]
    plain = [float(row["frechet"]) for row in rows if row["name"] == "plain"]
    for name, (what, _) in STABILISER_ROWS.items():
        own = [each for each in rows if each["name"] == name]
        if own:
            cells = [_median_and_range([row[column] for row in own], shape) for column, (_, shape) in columns.items()]
            distances = [float(row["frechet"]) for row in own]
            beyond = "better" if max(distances) < min(plain) else "worse" if min(distances) > max(plain) else "level"
            told = "–" if name == "plain" or len(own) < 3 else beyond
            lines.append(f"| {what} | {len(own)} | {int(own[0]['steps']):,} | {' | '.join([*cells, told])} |")
    return "\n".join(lines)


def stabiliser_seeds() -> str:
    """Return the lines of chapter 08 that hold each seed: distance, of the last weights, early, as a:b:c."""
    rows, lines = benchmark("stabilisers"), []
    for name, (_, short) in STABILISER_ROWS.items():
        own = [":".join(row[f"frechet{end}"] for end in ("", "_last", "_early")) for row in rows if row["name"] == name]
        if own:
            lines.append(f"{short:20}{' '.join(own)}")
    return "\n".join(['SCORED = """', *lines, '"""'])


def stack_table() -> str:
    """Return chapter 08's table of stacked digits, from benchmarks/stacks.csv."""
    rows = benchmark("stacks")
    columns = {"modes": ("modes found", ".0f"), "touched": ("touched", ".0f")}
    columns |= {
        "on_mode": ("on a mode", ".0%"),
        "kl": ("KL", ".2f"),
        "modes_averaged": ("averaged: modes found", ".0f"),
    }
    columns |= {"on_mode_averaged": ("on a mode", ".0%"), "kl_averaged": ("KL", ".2f")}
    heads = " | ".join(head for head, _ in columns.values())
    lines = [f"| what is trained on stacked digits | {heads} |", "| --- " * 8 + "|"]
    for name, what in STACK_ROWS.items():
        own = [each for each in rows if each["name"] == name]
        if own:
            cells = [_median_and_range([row[column] for row in own], shape) for column, (_, shape) in columns.items()]
            lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def stack_seeds() -> str:
    """Return the lines of chapter 08 that hold each seed: per mille on a mode and 1,000 times the KL, as a:b.

    Of the rows that its figure and its tests show; the averaged generators', where there are any, after a "~".
    """
    rows, lines = benchmark("stacks"), []
    shown = ("none", "r1", "pairs")  # what their names begin with
    for mark, end in (("", ""), ("~", "_averaged")):
        for name in STACK_ROWS:
            own = [row for row in rows if row["name"] == name and name.startswith(shown) and row[f"kl{end}"]]
            pairs = [[1000 * float(row[f"{column}{end}"]) for column in ("on_mode", "kl")] for row in own]
            if own:
                lines.append(f"{mark + name:18}{' '.join(f'{on_mode:.0f}:{kl:.0f}' for on_mode, kl in pairs)}")
    return "\n".join(['STACKED = """', *lines]) + '"""'


def few_table() -> str:
    """Return chapter 25's table of what few pictures and augmentation do, from benchmarks/few.csv."""
    columns = {"valid": ".0%", "combinations": ".0f", "untrained_pairs": ".1%", "memorised": ".2f", "twins": ".0%"}
    heads = ("trained on", "valid", "combinations, of 96", "held-out pairs", "memorised", "twins")
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for name, what in FEW_ROWS.items():
        own = [row for row in benchmark("few") if row["name"] == name]
        cells = [_median_and_range([row[column] for row in own], shape) for column, shape in columns.items()]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


CRITIC_ROWS = {  # of benchmarks/wasserstein.csv: what the table of chapter 07 calls them
    "penalty": "a penalised critic",
    "clipping": "a clipped critic",
    "non_saturating": "a discriminator, non-saturating",
    "untrained": "*an untrained generator*",
    "real": "*real digits*",
}
MISTAKE_ROWS = {  # of benchmarks/mistakes.csv, likewise
    "none": "none",
    "alpha_of_each_pixel": "α for each pixel",
    "alpha_normal": "α from a normal",
    "alpha_1": "α fixed at 1",
    "alpha_0": "α fixed at 0",
    "batch_norm": "batch norm",
    "batch_norm_together": "batch norm, both kinds in one batch",
    "wrong_axis": "wrong axis",
    "one_norm": "one norm",
}


def critic_table() -> str:
    """Return chapter 07's table of how a loss goes with the Fréchet distance, from benchmarks/wasserstein.csv."""
    columns = {"rho": ("rank correlation", ".2f"), "rho_second_half": ("in the second half", ".2f")}
    columns |= {"rho_with_time": ("steps alone", ".2f")}
    columns |= {"rho_with_time_second_half": ("steps alone, second half", ".2f")}
    columns |= {"frechet_last": ("distance at the end", ".0f")}
    lines = [f"| the loss of | seeds | {' | '.join(head for head, _ in columns.values())} |"]
    lines.append("| --- " * (2 + len(columns)) + "|")
    for name, what in CRITIC_ROWS.items():
        own = [row for row in benchmark("wasserstein") if row["name"] == name]
        cells = [_median_and_range([row[column] for row in own], shape) for column, (_, shape) in columns.items()]
        lines.append(f"| {what} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def patience_table() -> str:
    """Return chapter 07's table of critics that train longer, from benchmarks/critics.csv."""
    heads = {"ring_moved_1": "ring moved 1", "one_dot": "one dot of it"}
    heads |= {f"sigma_{sigma}": f"σ {sigma}" for sigma in ("0.2", "0.7", "1.4")}
    lines = [f"| critics train for | {' | '.join(heads.values())} |", "| --- " * (1 + len(heads)) + "|"]
    rows = benchmark("critics")
    for name in dict.fromkeys(row["name"] for row in rows if row["name"].startswith("flat")):
        own = [critic for critic in rows if critic["name"] == name]
        cells = [_median_and_range([row[column] for row in own], ".2f") for column in heads]
        lines.append(f"| {int(name.removeprefix('flat-')):,} steps | {' | '.join(cells)} |")
    (told,) = [row for row in rows if row["name"] == "formula"]
    lines.append(f"| *the formula* | {' | '.join(f'{float(told[column]):.2f}' for column in heads)} |")
    return "\n".join(lines)


def mistake_table() -> str:
    """Return chapter 07's table of what a mistake in the penalty costs, from benchmarks/mistakes.csv."""
    rows, counts = benchmark("mistakes"), ("500", "2000", "8000")
    heads = " | ".join(f"{int(count):,} steps" for count in counts)
    lines = [f"| mistake in the penalty | {heads} |", "| --- " * (1 + len(counts)) + "|"]
    for name, what in MISTAKE_ROWS.items():
        own = [[row["reading"] for row in rows if row["name"] == f"{name}-{count}"] for count in counts]
        lines.append(f"| {what} | {' | '.join(_median_and_range(texts, '.2f') for texts in own)} |")
    return "\n".join(lines)


TABLES = {  # how a table starts and ends, and what it is today
    r"^\| what is changed \|.*(?:\n\|.*)*": recipe_table,
    r"^\| what is changed on the ring \|.*(?:\n\|.*)*": ring_table,
    r'^RUNS = """[^"]*"""': ring_seeds,
    r"^\| in the discriminator, the label is \|.*(?:\n\|.*)*": labels_table,
    r"^\| in the discriminator, the label is in \|.*(?:\n\|.*)*": overlap_table,
    r'^TRAINED = """[^"]*"""': label_seeds,
    r"^\| game on the line \|.*(?:\n\|.*)*": game_table,
    r"^\| what is changed at equal seconds \|.*(?:\n\|.*)*": stabiliser_table,
    r'^SCORED = """[^"]*"""': stabiliser_seeds,
    r"^\| what is trained on stacked digits \|.*(?:\n\|.*)*": stack_table,
    r'^STACKED = """[^"]*"""': stack_seeds,
    r"^\| trained on \|.*(?:\n\|.*)*": few_table,
    r"^\| the loss of \|.*(?:\n\|.*)*": critic_table,
    r"^\| critics train for \|.*(?:\n\|.*)*": patience_table,
    r"^\| mistake in the penalty \|.*(?:\n\|.*)*": mistake_table,
}


def with_tables(source: str) -> str:
    """Return a cell's source with today's table in the place of each one that it has."""
    for pattern, table in TABLES.items():
        source = re.sub(pattern, lambda _, table=table: table(), source, flags=re.MULTILINE)
    return source


def chapters() -> dict[str, str]:
    """Return the title of each chapter, "01 · The adversarial idea", by the name of its file."""
    paths = sorted(FOLDER.glob("[0-9]*.ipynb"))
    first_lines = {path.name: nbformat.read(path, as_version=4).cells[0].source.splitlines()[0] for path in paths}
    return {name: line.removeprefix("# ") for name, line in first_lines.items()}


def with_neighbours(source: str, name: str, titles: dict[str, str]) -> str:
    """Return a title cell's source with a last line that links to the chapters before and after, in today's order."""
    names = list(titles)
    place = names.index(name)
    links = [f"← [{titles[before]}]({before})" for before in names[max(0, place - 1) : place]]
    links += ["[all chapters](README.md)"]
    links += [f"[{titles[after]}]({after}) →" for after in names[place + 1 : place + 2]]
    return re.sub(rf"\n*{MARK}.*\Z", "", source, flags=re.DOTALL) + f"\n\n{MARK}\n{' | '.join(links)}"


def execute(path: Path) -> float:
    """Run one notebook from top to bottom in a fresh kernel, store its outputs and return the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.cells[0].source = with_neighbours(notebook.cells[0].source, path.name, chapters())
    next(cell for cell in notebook.cells if cell.cell_type == "code").source = get_package_cell()
    for cell in notebook.cells:
        cell.source = with_tables(cell.source)
    started = time.perf_counter()
    resources = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=3600, resources=resources, record_timing=False, coalesce_streams=True).execute()
    seconds = time.perf_counter() - started
    for cell in notebook.cells:
        tidy(cell)
    notebook.metadata = nbformat.from_dict(METADATA)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return seconds


def tidy(cell: nbformat.NotebookNode) -> None:
    """Leave of a cell's metadata the tags, of its outputs' the width of a picture, and of a progress bar its end."""
    cell.metadata = nbformat.from_dict({"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {})
    for output in cell.get("outputs", []):
        if "metadata" in output:
            pictures = {kind: about for kind, about in output.metadata.items() if kind.startswith("image/")}
            widths = {kind: {"width": about["width"]} for kind, about in pictures.items() if "width" in about}
            output.metadata = nbformat.from_dict(widths)
        if output.output_type == "stream":  # what a terminal would show of a bar: its last state
            output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text)


if __name__ == "__main__":
    names = [Path(name).resolve() for name in sys.argv[1:]] or sorted(FOLDER.glob("[0-9]*.ipynb"))
    for name in names:
        print(f"{name.name}: {execute(name):.0f} s", flush=True)
