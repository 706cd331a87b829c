"""A GAN used as any Keras model is used: each row of keras_table.py does what docs/keras.md says."""

import json
import os
import subprocess
import sys

import keras_table
import pytest

from gan_tf import UsageError

LONG = (keras_table.CALLBACKS, keras_table.JUDGING, keras_table.SAVING, keras_table.DEVICES)  # they train, each


def rows() -> list:
    """Return the table's rows as parameters with the names of their checks."""
    marks = {True: pytest.mark.slow, False: ()}
    return [pytest.param(row, id=row.check.__name__, marks=marks[row.section in LONG]) for row in keras_table.ROWS]


@pytest.mark.parametrize("row", rows())
def test_a_row_of_the_page_holds(row):
    keras_table.MADE.clear()
    if not row.refused:
        row.check()
        return

    with pytest.raises(UsageError) as refusal:
        row.check()
    assert str(refusal.value) == row.happens
    for model, before in keras_table.MADE:
        assert keras_table.same(keras_table.numbers(model), before)


def test_the_page_is_the_table():
    """`python tests/keras_table.py` writes it."""
    assert keras_table.PAGE.read_text(encoding="utf-8") == keras_table.page()


def test_no_two_rows_are_one():
    names = [row.check.__name__ for row in keras_table.ROWS]
    assert len(set(names)) == len(names)


DIGEST = """
import hashlib, sys
{imports}
keras.utils.set_random_seed(0)
model = recipe.build(settings.Settings(dataset="digits", generator_widths=(8, 4, 2), discriminator_widths=(2, 4)))
model.fit(data.batches(data.load("digits").x_train[:64], 32, seed=0), verbose=0)
judged = evaluator.Evaluator().extract(data.load("digits").x_test[:20]).features
print(hashlib.sha256(b"".join([w.tobytes() for w in model.get_weights()] + [judged.tobytes()])).hexdigest())
"""
OURS = "from gan_tf import data, evaluator; from gan_tf.runs import recipe, settings"
IMPORTS = [f"{OURS}; import keras", f"import keras; {OURS}"]  # in whatever order


@pytest.mark.slow
def test_the_machine_s_keras_json_does_not_matter(tmp_path):
    """Another order of axes, other floats, another epsilon: the same bits, whoever imports Keras first."""
    usual = {"image_data_format": "channels_last", "floatx": "float32", "epsilon": 1e-7, "backend": "tensorflow"}
    other = {"image_data_format": "channels_first", "floatx": "float64", "epsilon": 0.01, "backend": "tensorflow"}
    processes = []
    for number, (file, imports) in enumerate([(usual, IMPORTS[0]), *((other, imports) for imports in IMPORTS)]):
        home = tmp_path / str(number)
        home.mkdir()
        (home / "keras.json").write_text(json.dumps(file), encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", DIGEST.format(imports=imports)],
                env=environment | {"KERAS_HOME": str(home)},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    digests = [process.communicate()[0].strip() for process in processes]
    assert len(digests[0]) == 64
    assert len(set(digests)) == 1
