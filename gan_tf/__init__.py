"""gan_tf: the helper package of a course on generative adversarial networks in Keras and TensorFlow.

Start to read at `gan.py`, where the two players take their steps.
"""

import functools
import importlib.util
import os
import sys
import tempfile

__version__ = "0.4.0"

os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever ~/.keras/keras.json says
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


class Error(Exception):
    """What this package raises of its own; the message says in one line what is wrong and what to do."""


class UsageError(Error, ValueError):
    """An argument or a setting that cannot be."""


def __getattr__(name: str):
    """Import a module when it is first asked for (PEP 562), and TensorFlow before it: `from gan_tf import gan`.

    So whoever wants only the version, the errors or the command line's help does not wait for TensorFlow.
    """
    if name.startswith("_") or not importlib.util.find_spec(f"gan_tf.{name}"):
        raise AttributeError(f"module 'gan_tf' has no attribute {name!r}")
    import_tensorflow_quietly()
    return importlib.import_module(f"gan_tf.{name}")


def import_tensorflow_quietly() -> None:
    """Import TensorFlow without its start-up messages, which no setting of its own keeps off standard error.

    What was held back is shown if the import fails.

    Raises:
        Error: Keras runs on something else already.
    """
    if (keras := sys.modules.get("keras")) and keras.config.backend() != "tensorflow":
        raise Error(
            f"Keras runs on {keras.config.backend()} here, and gan_tf's step is TensorFlow's: start again, and import "
            "gan_tf before keras, or set KERAS_BACKEND=tensorflow"
        )
    if "tensorflow" not in sys.modules:
        _import_quietly()
    _forget_the_machine_s_habits()


@functools.cache  # what a program sets later is its own affair
def _forget_the_machine_s_habits() -> None:
    """Set what ~/.keras/keras.json may have changed back to what Keras comes with, as the backend is."""
    import keras

    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)


def _import_quietly() -> None:
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        except ImportError:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
