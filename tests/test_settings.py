"""Settings: each is checked, reached and described from its one line, and means something to the recipe."""

import dataclasses
import json
import re

import keras
import numpy as np
import pytest
import small

import gan_tf
from gan_tf import __main__ as command_line
from gan_tf import data, losses, models, runs, sizes
from gan_tf.runs import checkpoints, devices, recipe
from gan_tf.runs.settings import Settings, parsed

FIELDS = {field.name: field for field in dataclasses.fields(Settings)}
OTHER = {  # a value of each setting that is not its default, as it is typed and as it is; a new setting needs one, too
    "dataset": ("digits", "digits"),
    "size": ("32", 32),
    "channels": ("3", 3),
    "classes": ("12", 12),
    "epochs": ("7", 7),
    "batch_size": ("32", 32),
    "seed": ("2147483647", 2**31 - 1),
    "model": ("mlp", "mlp"),
    "conditional": (None, True),  # a flag
    "latent_dim": ("1", 1),
    "generator_widths": ("8,4,2", (8, 4, 2)),
    "discriminator_widths": ("2,4", (2, 4)),
    "input_noise": ("0", 0.0),
    "augment": ("diffaugment", "diffaugment"),
    "loss": ("minimax", "minimax"),
    "generator_learning_rate": ("3e-3", 0.003),
    "discriminator_learning_rate": ("0.5", 0.5),
    "betas": ("0,0.5", (0.0, 0.5)),
    "ema_decay": ("0", 0.0),
    "precision": ("mixed_bfloat16", "mixed_bfloat16"),
    "devices": ("one", "one"),
}
WRONG = ["", "x", "nan", "inf", "-1", "1,x", "1,2,3,-4", "9" * 20, "9" * 5000]
WRONG_VALUES = [True, -1, 99.5, 10**400, float("nan"), float("inf"), "", "x", [], [[]], {}, (1, -1), (True,)]
WRONG_VALUES += [np.zeros(2), np.float32(0.5)]


def test_values_and_types_of_the_settings():
    """What each line of the class says is what an instance has."""
    assert vars(Settings()) == {name: field.default for name, field in FIELDS.items()}


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_is_reached_from_the_command_line_and_described_there(name, monkeypatch, capsys):
    typed, value = OTHER[name]
    option, trained = f"--{name.replace('_', '-')}", []
    monkeypatch.setattr(runs, "train", lambda folder, settings, *every, **options: trained.append(settings))
    assert command_line.main(["train", "r", option] if typed is None else ["train", "r", option, typed]) == 0
    assert trained == [dataclasses.replace(Settings(), **{name: value})] != [Settings()]
    with pytest.raises(SystemExit):
        command_line.main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{option} " in shown
    assert " ".join(FIELDS[name].metadata["help"].split()) in shown


@pytest.mark.parametrize("name", FIELDS)
def test_a_setting_is_checked_in_code_and_on_the_command_line(name, capsys):
    field = FIELDS[name]
    flag = field.type is bool
    wrong = WRONG_VALUES if field.default is None else [None, *WRONG_VALUES]
    for value in [each for each in wrong if not (flag and each is True)]:
        with pytest.raises(gan_tf.UsageError, match=rf"^{name} must be .+, got ") as error:
            Settings(**{name: value})
        assert len(str(error.value)) < 300
    for typed in WRONG:
        with pytest.raises(SystemExit) as stop:
            command_line.main(["train", "r", f"--{name.replace('_', '-')}={typed}"])
        assert stop.value.code == 2
        line = "ignored explicit argument" if flag else f"{name} must be"
        assert line in capsys.readouterr().err.splitlines()[-1]


def test_bounds_are_where_they_are_said_to_be():
    assert Settings(batch_size=1, seed=0, ema_decay=0, betas=[0, 0.5], latent_dim=16383).betas == (0.0, 0.5)
    for name, value in {"batch_size": 0, "seed": 2**31, "ema_decay": 1.0, "latent_dim": 16384}.items():
        with pytest.raises(gan_tf.UsageError, match=name):
            Settings(**{name: value})
    with pytest.raises(gan_tf.UsageError, match=r"betas must be 2 numbers of at least 0 and below 1, got \(0\.5,\)"):
        Settings(betas=(0.5,))
    with pytest.raises(gan_tf.UsageError, match="generator_widths must be whole numbers from 1 to 16383, got"):
        Settings(generator_widths=(4, 2.0, 1))


def test_each_choice_is_one_that_the_package_has(monkeypatch):
    """They are typed in settings.py, so that the command line need not import TensorFlow to know them."""
    choices = {name: set(field.metadata["choices"]) for name, field in FIELDS.items() if field.metadata["choices"]}
    with pytest.raises(ValueError, match="name must be") as error:
        data.load("?")
    assert choices.pop("dataset") == set(data.NAMES)
    assert all(name in str(error.value) for name in data.NAMES)
    assert choices.pop("augment") == set(recipe.AUGMENTATIONS)
    assert choices.pop("size") == set(sizes.SIZES)
    assert choices.pop("channels") == {1, 3}
    assert choices.pop("loss") == set(losses.LOSSES) - {"wasserstein"}  # which needs a penalty, and a run has none
    assert choices["model"] == set(recipe.NETWORKS)
    models_with_own = {model for field in FIELDS.values() for model in field.metadata["of_model"] or ()}
    assert choices.pop("model") == models_with_own
    for name in choices.pop("precision") - {"auto"}:
        assert keras.dtype_policies.get(name).compute_dtype == name.removeprefix("mixed_")
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    kinds = {"one": "DefaultDistributionStrategy", "mirrored": "MirroredStrategy"}
    assert choices.pop("devices") == {"auto", "multiworker", *kinds}
    for name, kind in kinds.items():
        assert kind in type(devices.strategy(name)).__name__
    with pytest.raises(gan_tf.UsageError, match="multiworker needs TF_CONFIG"):
        devices.strategy("multiworker")
    assert not choices


@pytest.mark.parametrize("model", recipe.NETWORKS)
def test_a_model_has_its_own_defaults_and_keeps_what_was_asked_for(model):
    settings = Settings(model=model, generator_learning_rate=0.125).with_model_defaults()
    assert settings.generator_learning_rate == 0.125
    for name, field in FIELDS.items():
        if own := field.metadata["of_model"]:
            assert name == "generator_learning_rate" or getattr(settings, name) == own.get(model)
    larger = Settings(model=model, size=64, channels=3).with_model_defaults()
    assert (len(larger.generator_widths) - len(settings.generator_widths)) == (2 if model == "dcgan" else 0)
    assert settings.with_model_defaults() == settings
    assert Settings(**json.loads(json.dumps(settings.to_json()))) == settings


def test_a_setting_of_another_model_is_refused():
    with pytest.raises(gan_tf.UsageError, match="input_noise is of dcgan and not of mlp; leave it out"):
        Settings(model="mlp", input_noise=0.1)


def described(model) -> dict:
    """What of a GAN each setting of the recipe decides."""
    noise = [layer.stddev for layer in model.discriminator.layers if isinstance(layer, keras.layers.GaussianNoise)]
    players = model.generator_optimizer, model.discriminator_optimizer
    return {
        "seed": (model.seed, model.generator.get_weights()[0].tobytes()),
        "model": [type(layer).__name__ for layer in model.generator.layers],
        "latent_dim": model.latent_dim,
        "generator_widths": [layer.output.shape for layer in model.generator.layers if layer.weights],
        "discriminator_widths": [layer.output.shape for layer in model.discriminator.layers if layer.weights],
        "size": model.generator.output_shape[1:3],
        "channels": model.generator.output_shape[3],
        "input_noise": noise,
        "augment": model.augment,
        "loss": model.adversarial_loss,
        "generator_learning_rate": float(players[0].learning_rate),
        "discriminator_learning_rate": float(players[1].learning_rate),
        "betas": [(player.beta_1, player.beta_2) for player in players],
        "conditional": [len(player.inputs) for player in (model.generator, model.discriminator)],
        "ema_decay": model.ema_decay,
        "precision": model.generator.layers[0].compute_dtype,
    }


def test_every_setting_of_the_recipe_changes_the_gan_and_nothing_that_others_decide():
    base = dataclasses.replace(Settings(), **small.FEW["dcgan"])
    other = {name: value for name, (_, value) in OTHER.items() if name not in ("dataset", "epochs", "batch_size")}
    other |= {"latent_dim": 3, "generator_widths": (16, 8, 4), "discriminator_widths": (3, 5)}
    del other["devices"], other["classes"]  # of the run around the recipe; of a conditional one
    before = described(recipe.build(base))
    assert set(before) == set(other)
    for name, value in other.items():
        of_the_model = dict.fromkeys(base_name for base_name, field in FIELDS.items() if field.metadata["of_model"])
        changes = {name: value} | (of_the_model if name == "model" else {})
        after = described(recipe.build(dataclasses.replace(base, **changes)))
        assert after[name] != before[name]
        if name in ("generator_learning_rate", "discriminator_learning_rate", "betas", "input_noise", "ema_decay"):
            assert {each for each in before if before[each] != after[each]} == {name}


def test_an_error_while_networks_are_built_leaves_the_precision_as_it_was(monkeypatch):
    def broken(*arguments, **options):
        assert keras.mixed_precision.dtype_policy().name == "mixed_bfloat16"
        raise RuntimeError("no such layer")

    monkeypatch.setattr(models, "dcgan_generator", broken)
    before = keras.mixed_precision.dtype_policy().name
    with pytest.raises(RuntimeError, match="no such layer"):
        recipe.build(Settings(precision="mixed_bfloat16"))
    assert keras.mixed_precision.dtype_policy().name == before == "float32"


def test_widths_that_fit_no_dcgan_are_refused_by_name():
    widths = (10, 20, 30, 40)
    with pytest.raises(gan_tf.UsageError, match="generator_widths of a dcgan of 28 pixels must be 3 or fewer, got"):
        recipe.build(Settings(generator_widths=widths))
    assert recipe.build(Settings(generator_widths=widths, size=32)).generator.output_shape == (None, 32, 32, 1)


def test_a_conditional_run_knows_as_many_classes_as_it_is_told():
    built = [recipe.build(Settings(conditional=True, classes=classes, **small.FEW["dcgan"])) for classes in (None, 12)]
    assert [model.classes for model in built] == [10, 12]


def test_the_dataset_may_be_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "own.npz").touch()
    (tmp_path / "notes.txt").touch()
    for typed, path in {"pictures/": "pictures", "./pictures": "pictures", "own.npz": "own.npz"}.items():
        assert Settings(dataset=typed).dataset == parsed(FIELDS["dataset"], typed) == str(tmp_path / path)
    assert Settings(dataset=tmp_path / "pictures").dataset == str(tmp_path / "pictures")
    gone = str(tmp_path / "gone")
    assert Settings(dataset=gone).dataset == gone  # of a run whose folder was moved
    for wrong in ("notes.txt", "gone", "own"):
        with pytest.raises(gan_tf.UsageError, match=r"a folder or an .npz that is there, got"):
            Settings(dataset=wrong)


def test_the_two_nearest_sizes_are_named():
    with pytest.raises(gan_tf.UsageError, match=r"size must be one of 16, .+ 128 \(nearest: 48 and 56\), got 50"):
        Settings(size=50)
    with pytest.raises(gan_tf.UsageError, match=r"\(nearest: 112 and 128\), got 1000"):
        data.load("digits", size=1000)


def test_keras_on_another_backend_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    monkeypatch.delattr(gan_tf, "models")  # as if nobody had asked for it yet
    with pytest.raises(gan_tf.Error, match="Keras runs on jax here, and gan_tf's step is TensorFlow's: ") as error:
        gan_tf.models.dcgan_generator()
    assert "\n" not in str(error.value)


def test_the_advice_where_losses_became_nan_names_options_that_there_are():
    advised = re.findall(r"--([a-z-]+)", checkpoints.CURE)
    assert {"generator-learning-rate", "discriminator-learning-rate", "precision"} == set(advised)
    assert {option.replace("-", "_") for option in advised} <= set(FIELDS)
