"""What Keras asks of a model beside its step, to train, judge and save it: for one with two players."""

import contextlib
import inspect
import types
import warnings
from collections.abc import Callable

import keras
import tensorflow as tf

from gan_tf import UsageError, augment, checks, losses, optimizers
from gan_tf.files import one_line

PLAYERS = ("generator", "discriminator")
serialise, deserialise = keras.saving.serialize_keras_object, keras.saving.deserialize_keras_object


class TwoPlayers(keras.Model):
    """The part of `GAN` that readers of the step need not know.

    `save` and `keras.saving.load_model` lead to the same next step: networks, average, both optimizers, the step's
    number, dropout's and noise's seeds. A subclass whose `__init__` takes more returns that from `get_config`, as every
    Keras layer does.
    """

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What is logged, as means over an epoch, and a subclass's own; Keras would list `loss` twice."""
        return [*self.trackers.values(), *(one for one in super().metrics if one.name not in self.trackers)]

    def get_metrics_result(self) -> dict:
        """Return the epoch's results; an evaluation logs less than the training of a subclass may."""
        unused = {name for name, tracker in self.trackers.items() if tracker.count == 0}
        return {name: result for name, result in super().get_metrics_result().items() if name not in unused}

    @property
    def optimizer(self) -> optimizers.PlayersOptimizer | None:
        """Both players' optimizers as one, for callbacks."""
        return self.__dict__.get("_both")

    @optimizer.setter
    def optimizer(self, both: optimizers.PlayersOptimizer | None) -> None:
        if not isinstance(both, optimizers.PlayersOptimizer | None):
            raise UsageError("a GAN has two optimizers: compile it with both")
        self.__dict__["_both"] = both

    def fit(self, *args, **options):
        """Train, as any Keras model; what can be seen to go wrong is refused before the first step."""
        if not self.compiled:
            return super().fit(*args, **options)  # which Keras refuses

        bound = inspect.signature(super().fit).bind(*args, **options)
        given = bound.arguments
        checks.check_weights(given)
        checks.check_arrays(self, given)
        if given.get("validation_data") is not None:
            checks.check_held_out(self, given["validation_data"], given.get("validation_batch_size"))
        for callback in checks.listed(given.get("callbacks")):
            checks.check_callback(callback, self.optimizer)
            if isinstance(callback, keras.callbacks.ModelCheckpoint) and not callback.save_weights_only:
                self.check_saved()
        given["x"] = checks.as_tuples(given.get("x"))
        return super().fit(*bound.args, **bound.kwargs)

    def evaluate(self, *args, **options):
        """Return both losses on held-out images, as any Keras model does."""
        bound = inspect.signature(super().evaluate).bind(*args, **options)
        given = bound.arguments
        checks.check_weights(given)
        if checks.is_array(given.get("x")) and not given.get("steps"):
            count = self.distribute_strategy.num_replicas_in_sync
            checks.check_division(len(given["x"]), given.get("batch_size"), count)
        given["x"] = checks.as_tuples(given.get("x"))
        return super().evaluate(*bound.args, **bound.kwargs)

    def make_train_function(self, force: bool = False) -> None:
        """Make what `fit` calls for each step, and let it look at the images of the first one."""
        before = self.train_function
        super().make_train_function(force)
        if self.train_function is not before:
            self.train_function = checks.in_one_line(self.train_function)
        checks.check_scope(self.distribute_strategy, {"GAN": self})
        players = [self.generator_optimizer, self.discriminator_optimizer]
        checks.check_optimizers(players, self.distribute_strategy.num_replicas_in_sync)
        self.checked_at.assign(self.steps_taken)

    def make_test_function(self, force: bool = False) -> None:
        """Make what `evaluate` calls for each step."""
        before = self.test_function
        super().make_test_function(force)
        if self.test_function is not before:
            self.test_function = checks.in_one_line(self.test_function)

    @contextlib.contextmanager
    def unchanged(self, but=()):
        """Let a step compute as in training, and leave each state as it was: batch statistics, seeds, counts.

        Args:
            but: variables that may change.
        """
        free = {id(variable) for variable in but}
        states = [state for state in self.non_trainable_variables if id(state) not in free]
        before = [tf.identity(state) for state in states]
        self.evaluating = True
        yield
        for state, value in zip(states, before, strict=True):
            state.assign(value)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None) -> None:
        """Do nothing: all is built, and Keras would swallow the first batch here under a strategy."""

    def get_config(self) -> dict:
        """Return what `__init__` is given.

        Raises:
            UsageError: a subclass takes more than is returned here, or less.
        """
        if reason := self._not_made_again():
            raise UsageError(reason)
        players = {name: serialise(getattr(self, name)) for name in PLAYERS}
        return players | {"ema_decay": self.ema_decay, "seed": int(self.seed)}

    def _not_made_again(self) -> str:
        """Say why a subclass cannot be made again from what is returned for it, if so."""
        kind, config = type(self), {*PLAYERS, "ema_decay", "seed"}
        if (
            kind.get_config is not TwoPlayers.get_config
            or kind.from_config.__func__ is not TwoPlayers.from_config.__func__
        ):
            return ""
        if taken := ", ".join(sorted(_named(kind) - config)):
            return f"{kind.__name__} takes {taken}, which its get_config must return to be saved"
        try:
            inspect.signature(kind).bind(**dict.fromkeys(config))
        except TypeError:
            return f"{kind.__name__} does not take the networks, and needs a get_config of its own to be saved"
        return ""

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None):
        """Make the model of what `get_config` returned."""
        players = {name: deserialise(config[name], custom_objects) for name in PLAYERS if name in config}
        return cls(**config | players)

    def get_compile_config(self) -> dict:
        """Return what `compile` was given; nothing if a part has no name by which it could be found again."""
        if not self.compiled or _nameless(self):
            return {}
        pair = self.adversarial_loss
        return {
            "generator_optimizer": serialise(self.generator_optimizer),
            "discriminator_optimizer": serialise(self.discriminator_optimizer),
            "loss": [_as_saved(pair.generator), _as_saved(pair.discriminator), pair.paired],
            "penalties": [[serialise(of), weight, every] for of, weight, every in self.penalties],
            "augment": serialise(self.augment) if self.augment else None,
            "critic_steps": self.critic_steps,
            "steps_per_execution": self.steps_per_execution,
            "run_eagerly": self.run_eagerly,
        }

    def compile_from_config(self, config: dict) -> None:
        """Compile with what `get_compile_config` returned."""
        if not config:
            return
        made = dict(config)
        for name in ("generator_optimizer", "discriminator_optimizer", "augment"):
            made[name] = deserialise(made[name]) if made[name] else None
        made["penalties"] = [(deserialise(of), weight, every) for of, weight, every in made["penalties"]]
        *pair, paired = made["loss"]
        made["loss"] = losses.Loss(*map(_from_saved, pair), paired)
        self.compile(**made)

    def save(self, filepath, overwrite: bool = True, **options) -> None:
        """Save all of it as a `.keras` file; what cannot be saved is refused before a file is begun."""
        if str(filepath).endswith((".h5", ".hdf5")):
            raise UsageError(f"a GAN is saved as a .keras file, or by save_weights, and not as {filepath}")
        self.check_saved()
        super().save(filepath, overwrite=overwrite, **options)

    def export(self, filepath, *args, **options) -> None:
        """Export the averaged generator, for what serves models without Keras."""
        self.ema_generator.export(filepath, *args, **options)

    def save_own_variables(self, store) -> None:
        """Store the step, and the states of dropout and noise, which Keras leaves out."""
        super().save_own_variables(store)
        for number, state in enumerate(self._seed_states()):
            store[f"seed_{number}"] = keras.ops.convert_to_numpy(state)

    def load_own_variables(self, store) -> None:
        """Load what was stored."""
        own = [name for name in store.keys() if not name.startswith("seed_")]  # noqa: SIM118, a file of HDF5
        super().load_own_variables({name: store[name] for name in own})
        for number, state in enumerate(self._seed_states()):
            state.assign(store[f"seed_{number}"])

    def _seed_states(self) -> list[keras.Variable]:
        others = {id(variable) for variable in (*self.weights, *self.metrics_variables)}
        return [variable for variable in self.variables if id(variable) not in others]

    def check_saved(self) -> None:
        """Refuse to begin a file of what cannot be saved."""
        if reason := self._not_saved():
            raise UsageError(reason)

    def _not_saved(self) -> str:
        try:
            serialise(self)
        except UsageError as error:
            return str(error)
        except Exception as error:  # Keras raises many kinds
            return f"a part of this GAN cannot be saved: {one_line(error)}; use save_weights"
        return ""

    def warn_if_not_saved_whole(self) -> None:
        """Say before the training what `save` will leave out or refuse, and what to do about it."""
        if reason := self._not_saved():
            warnings.warn(f"this GAN can be trained, but not saved by `save`: {reason}", stacklevel=3)
        elif nameless := _nameless(self):
            warnings.warn(
                f"`save` will leave out how this GAN was compiled, for {', '.join(nameless)} cannot be found again: "
                "give a function with @keras.saving.register_keras_serializable() above it; or, after "
                "load_model(file), compile again and load_weights(file)",
                stacklevel=3,
            )


def _named(callable_: Callable) -> set[str]:
    """Return the arguments that have names of their own."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name for name, one in inspect.signature(callable_).parameters.items() if one.kind not in kinds}


def _nameless(model: TwoPlayers) -> list[str]:
    """Name the parts of what a model was compiled with that no file can hold."""
    parts = {"the generator's loss": model.adversarial_loss.generator, "the augmentation": model.augment}
    parts |= {"the discriminator's loss": model.adversarial_loss.discriminator}
    parts |= {f"penalty {number}": of for number, (of, _, _) in enumerate(model.penalties, 1)}
    found = [part for part, function in parts.items() if function is not None and not _has_a_name(function)]

    if type(model).get_compile_config is TwoPlayers.get_compile_config:  # a subclass can compile with more
        base = next(kind for kind in type(model).__mro__ if kind.__module__ == "gan_tf.gan")
        found += sorted(_named(type(model).compile) - _named(base.compile))
    return found


def _as_saved(half: Callable) -> str | dict:
    """Return a player's loss for a file: one of the package's own by its name, as "minimax.generator"."""
    known = {f"{name}.{player}": getattr(pair, player) for name, pair in losses.LOSSES.items() for player in PLAYERS}
    return next((name for name, function in known.items() if function is half), None) or serialise(half)


def _from_saved(half: str | dict) -> Callable:
    if isinstance(half, str):
        name, player = half.split(".")
        return getattr(losses.LOSSES[name], player)
    return deserialise(half)


def _has_a_name(function: Callable) -> bool:
    plain = isinstance(function, types.FunctionType) and function.__name__ != "<lambda>"
    parts = function.functions if isinstance(function, augment.InSequence) else ()
    return plain or (hasattr(function, "get_config") and all(map(_has_a_name, parts)))
