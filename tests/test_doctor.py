"""The rules: on recorded runs that fail and on healthy ones, at their limits, and what the command prints."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import traces

from gan_tf import Error, doctor
from gan_tf.__main__ import main
from gan_tf.files import read_csv, write_csv
from gan_tf.runs import Settings, plan, recipe

RECORDED = sorted(traces.TRACES.glob("*.csv"))
HEALTHY = {"separation": 0.7, "memorised": 0.0, "generator_gradient": 0.4, "diversity": 0.95}
HEALTHY |= {
    "real_logit": 0.3,
    "held_out_logit": 0.3,
    "fake_logit": -0.3,
    "class_0": 0.4,
    "class_1": 0.35,
    "class_2": 0.25,
}
MISSED = {"starving-mlp-5"}  # its generator is fed now and then: a gradient of 0.03 to 0.34
NAMES = {rule.name for rule in doctor.RULES}


def names(table: dict) -> set[str]:
    return {finding.name for finding in doctor.findings(table)}


def variant(path: Path) -> str:
    return path.stem.rpartition("-")[0]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_run_shows_what_it_was_made_to_show_and_a_healthy_one_nothing(path):
    expected = traces.VARIANTS[variant(path)].finding
    if expected:
        assert (expected in names(read_csv(path))) == (path.stem not in MISSED)
    else:
        assert not names(read_csv(path))


def test_each_rule_has_six_runs_that_show_it_and_there_are_twelve_healthy_ones():
    runs = dict.fromkeys((*NAMES, ""), 0)
    for path in RECORDED:
        runs[traces.VARIANTS[variant(path)].finding] += path.stem not in MISSED
    assert runs.pop("") >= 12
    assert min(runs.values()) >= 6, runs
    assert max(max(read_csv(path)["images"]) for path in RECORDED) <= 32_000


def test_the_stored_table_is_that_of_the_recorded_runs():
    results = (traces.TRACES.parent.parent / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    assert "\n".join(traces.found()) in results


def table_of(rows: int = 6, **columns) -> dict[str, list[float]]:
    """Return a healthy run's diagnostics, but for some columns: numbers, or one for each row."""
    table = {"step": [200.0 * i for i in range(1, rows + 1)]}
    table["images"] = [16 * step for step in table["step"]]
    for name, value in (HEALTHY | columns).items():
        table[name] = list(np.broadcast_to(value, rows).astype(float))
    return table


def test_a_healthy_table_shows_nothing():
    assert not names(table_of())


FAILING = {
    "divergence": {"separation": 0.9, "real_logit": 60, "fake_logit": -20},
    "a starving generator": {"separation": 1, "generator_gradient": 1e-3},
    "an overpowering discriminator": {"separation": 0.99},
    "a memorising discriminator": {"separation": 0.9, "memorised": 0.8},
    "mode collapse": {"diversity": 0.2},
    "oscillation": {"separation": [1, 0.1, 1, 0.1, 1, 0.1]},
}


def test_each_rule_has_its_table():
    assert FAILING.keys() == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_rule_finds_what_it_is_for_and_no_other_does(name):
    assert names(table_of(**FAILING[name])) == {name}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"real_logit": 49, "fake_logit": -49}, set()),
        ({"fake_logit": -51}, {"divergence"}),
        ({"separation": 1, "generator_gradient": 0.06}, {"an overpowering discriminator"}),
        ({"separation": 0.97, "generator_gradient": 1e-3}, {"an overpowering discriminator"}),
        ({"generator_gradient": 1e-6}, set()),
        ({"separation": 0.94}, set()),
        ({"separation": 1, "memorised": 0.3}, {"a memorising discriminator"}),
        ({"separation": 1, "memorised": np.nan}, {"an overpowering discriminator"}),
        ({"separation": 0.9, "memorised": 0.2}, set()),
        ({"separation": 1, "memorised": 0.2}, {"an overpowering discriminator"}),
        ({"memorised": 0.9}, set()),
        ({"diversity": 0.45}, set()),
        ({"class_0": 0.75, "class_1": 0.2, "class_2": 0.05}, {"mode collapse"}),
        ({"class_0": 0.65, "class_1": 0.2, "class_2": 0.15}, set()),
        ({"separation": 1, "generator_gradient": 1e-3, "diversity": 0.2}, {"a starving generator"}),
        ({"class_0": [0.65, 0, 0.65, 0, 0.65, 0], "class_1": [0, 0.65, 0, 0.65, 0, 0.65]}, {"oscillation"}),
        ({"separation": [0.1, 0.1, 0.2, 0.97, 1, 0.96]}, {"an overpowering discriminator"}),
        ({"separation": [1, 0.4, 1, 0.4, 1, 0.4]}, set()),
    ],
)
def test_the_limits_of_the_rules(columns, expected):
    assert names(table_of(**columns)) == expected


def test_one_or_two_odd_rows_are_no_finding():
    assert not names(table_of(diversity=[0.9, 0.1, 0.1, 0.9, 0.1, 0.1]))
    assert not doctor.findings(table_of(2, diversity=0.1))
    assert not doctor.findings({})


def test_a_finding_says_from_when_to_when_and_by_which_numbers():
    (finding,) = doctor.findings(table_of(7, diversity=[0.9, 0.1, 0.2, 0.3, 0.1, 0.9, 0.9]))
    assert (finding.first, finding.last, finding.lasting) == (6_400, 16_000, False)
    assert finding.evidence.startswith("two fakes are 0.20 times as unlike")
    (finding,) = doctor.findings(table_of(diversity=0.1))
    assert (finding.first, finding.last, finding.lasting) == (3_200, 19_200, True)


def test_findings_come_in_the_order_in_which_they_began():
    table = table_of(diversity=[0.9, 0.9, 0.9, 0.1, 0.1, 0.1], memorised=0.9, separation=0.9)
    assert [finding.name for finding in doctor.findings(table)] == ["a memorising discriminator", "mode collapse"]


def test_a_dataset_without_labels_is_judged_without_classes():
    table = {name: column for name, column in table_of(diversity=0.1).items() if not name.startswith("class_")}
    assert names(table) == {"mode collapse"}
    assert not names(table | {"diversity": [0.9] * 6})


# what is printed


def run_with(tmp_path: Path, table: dict) -> Path:
    write_csv(tmp_path / "diagnostics.csv", table, zip(*table.values(), strict=True))
    return tmp_path


def test_the_report_has_symptom_cause_cure_and_chapter(tmp_path, capsys):
    assert main(["doctor", str(run_with(tmp_path, table_of(separation=0.99)))]) == 0
    text = capsys.readouterr().out
    assert text.startswith("1 finding in 6 rows of diagnostics, up to 19,200 images\n")
    assert "an overpowering discriminator, from 3,200 images to the end" in text
    assert [line.split()[0] for line in text.splitlines() if line[:2] == "  " and line[2] != " "] == [
        "symptom",
        "cause",
        "try",
        "read",
    ]
    assert max(map(len, text.splitlines())) <= 100
    assert (Path(__file__).parent.parent / doctor.CHAPTER).exists()


def test_the_cure_for_knowing_images_by_heart_is_the_setting_that_there_is():
    (finding,) = doctor.findings(table_of(separation=0.9, memorised=0.7))
    assert "`--augment translation`" in finding.cure
    assert f"below {plan.FEW_IMAGES:,} pictures of your own" in finding.cure
    assert Settings(augment="translation").augment in recipe.AUGMENTATIONS


def test_the_report_of_a_healthy_run_says_so(tmp_path, capsys):
    assert main(["doctor", str(run_with(tmp_path, table_of()))]) == 0
    assert capsys.readouterr().out == "Nothing found in 6 rows of diagnostics, up to 19,200 images.\n"
    assert "3 rows are the fewest" in doctor.report(table_of(2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no run; name the folder of one"),
        ("step,images\n1,2\n", "is damaged (no column separation, memorised"),
        (",".join(doctor.NEEDED[:-1]), "is damaged (no column held_out_logit)"),
        ("step,images\n1,x\n", "is damaged (could not convert string to float: 'x')"),
        ("", "is damaged (not enough values to unpack"),
        ("step,images\n1\n", "is damaged (list index out of range)"),
    ],
)
def test_what_is_no_run_s_diagnostics_is_told_in_one_line(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "diagnostics.csv").write_text(content, encoding="utf-8")
    assert main(["doctor", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


def test_a_run_without_rows_yet_is_told_to_train_on(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(Error, match="has no diagnostics yet; train on"):
        doctor.read(tmp_path)


@pytest.mark.slow
def test_the_doctor_does_not_wait_for_tensorflow(tmp_path):
    code = "import sys; from gan_tf.__main__ import main; main(); assert 'tensorflow' not in sys.modules"
    command = [sys.executable, "-c", code, "doctor", str(run_with(tmp_path, table_of()))]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.startswith("Nothing found")
