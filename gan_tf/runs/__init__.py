"""Runs: training that leaves a folder behind, can be stopped and continued to the same bits, and what is made of it.

    from gan_tf import runs
    gif = runs.train("runs/dcgan", runs.Settings(epochs=4))

Each name comes from a module of this folder, which is imported when it is asked for: the command line reads the
settings without TensorFlow, and a callback (`runs.callbacks`) can be used in a `fit` of your own without the rest.
"""

import importlib.util

from gan_tf import import_tensorflow_quietly

HOMES = {
    "train": "gan_tf.runs.training",
    "asked_labels": "gan_tf.runs.results",
    "class_names": "gan_tf.runs.results",
    "class_number": "gan_tf.runs.results",
    "evaluate": "gan_tf.runs.results",
    "load_discriminator": "gan_tf.runs.results",
    "load_generator": "gan_tf.runs.results",
    "pretrained_generator": "gan_tf.runs.shipped",
    "sample_images": "gan_tf.gan",
    "write_gif": "gan_tf.runs.results",
    "write_images": "gan_tf.runs.images",
    "Settings": "gan_tf.runs.settings",
    "RunError": "gan_tf.runs.folder",
    "Stopped": "gan_tf.runs.training",
    "PRETRAINED": "gan_tf.runs.shipped",
    "PRETRAINED_SHA256": "gan_tf.runs.shipped",
}
__all__ = [
    "PRETRAINED",
    "PRETRAINED_SHA256",
    "RunError",
    "Settings",
    "Stopped",
    "asked_labels",
    "class_names",
    "class_number",
    "evaluate",
    "load_discriminator",
    "load_generator",
    "pretrained_generator",
    "sample_images",
    "train",
    "write_gif",
    "write_images",
]


def __getattr__(name: str):
    """Import what is first asked for (PEP 562), a name or a module, and TensorFlow before all but the settings."""
    home = HOMES.get(name, f"gan_tf.runs.{name}")
    if name.startswith("_") or not importlib.util.find_spec(home):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if home != "gan_tf.runs.settings":
        import_tensorflow_quietly()
    module = importlib.import_module(home)
    return getattr(module, name) if name in HOMES else module
