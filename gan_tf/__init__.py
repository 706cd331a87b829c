"""gan_tf: the helper package of a course on generative adversarial networks in Keras and TensorFlow."""

import os
import sys
import tempfile

__version__ = "0.2.0"


class Error(Exception):
    """What this package raises of its own; the message says in one line what is wrong and what to do."""


class UsageError(Error, ValueError):
    """An argument or a setting that cannot be."""


def import_tensorflow_quietly() -> None:
    """Import TensorFlow without its start-up messages, which no setting of its own keeps off standard error.

    What was held back is shown if the import fails.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever ~/.keras/keras.json says: the train step is TensorFlow's
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


# `python -m gan_tf` checks its arguments before it pays for TensorFlow; Python names the script "-m" until then.
if sys.argv[:1] != ["-m"]:
    import_tensorflow_quietly()
