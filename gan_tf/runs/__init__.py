"""Runs: training that can be stopped and continued, from a folder. All that is meant for outside is in `folder`."""

import importlib

from gan_tf import import_tensorflow_quietly


def __getattr__(name: str):
    """Import `folder`, and TensorFlow with it, when something of it is first asked for (PEP 562)."""
    import_tensorflow_quietly()
    return getattr(importlib.import_module("gan_tf.runs.folder"), name)
