"""Two players' optimizers, as the one that Keras's callbacks look for at `model.optimizer`."""

import weakref

import keras

from gan_tf import UsageError


def named(optimizer: str | keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return an optimizer, made by Keras where only its name is given: "adam", "rmsprop".

    Raises:
        UsageError: it is none.
    """
    if isinstance(optimizer, str | dict):
        try:
            return keras.optimizers.get(optimizer)
        except ValueError:
            pass
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UsageError(f'an optimizer is keras.optimizers.Adam(1e-3) or a name as "adam", got {optimizer!r:.100}')
    return optimizer


class Rate(float):
    """A learning rate that was read, with what a Keras variable has beside its value."""

    def __new__(cls, of: "PlayersOptimizer", value: float):
        rate = super().__new__(cls, value)
        rate.of = of
        return rate

    def assign(self, value: float) -> None:
        """Set the rate of both players."""
        self.of.learning_rate = value

    def numpy(self) -> float:
        return float(self)


class PlayersOptimizer(keras.optimizers.Optimizer):
    """Both players' optimizers, for callbacks that read or set `model.optimizer.learning_rate`.

    The rate is the generator's. Setting it sets the discriminator's, too, in the proportion that the two have: what is
    halved is halved for both, and two time-scales (Heusel et al. 2017) stay two.
    """

    def __init__(self, model: keras.Model):
        super().__init__(learning_rate=0.0, name="players")
        self._model = weakref.ref(model)  # which may be given other optimizers
        self.built, self.ratio, self.complete = True, None, True

    def __setattr__(self, name: str, value) -> None:
        """Refuse to set what neither player would heed."""
        if getattr(self, "complete", False) and name not in ("learning_rate", "ratio") and not name.startswith("_"):
            raise UsageError(f"a GAN has two optimizers: set {name} of generator_optimizer and discriminator_optimizer")
        super().__setattr__(name, value)

    def players(self) -> tuple[keras.optimizers.Optimizer, keras.optimizers.Optimizer]:
        """Return the generator's optimizer and the discriminator's."""
        return self._model().generator_optimizer, self._model().discriminator_optimizer

    @property
    def learning_rate(self) -> Rate:
        return Rate(self, float(keras.ops.convert_to_numpy(self.players()[0].learning_rate)))

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.check_rates(value)
        before = [float(keras.ops.convert_to_numpy(player.learning_rate)) for player in self.players()]
        if before[0] > 0.0:
            self.ratio = before[1] / before[0]
        if self.ratio is None:
            raise UsageError("the generator's learning rate is 0, of which the discriminator's is no multiple")
        for player, rate in zip(self.players(), (value, self.ratio * float(value)), strict=True):
            player.learning_rate = rate

    def check_rates(self, value: float = 0.0) -> None:
        """Refuse to set the rates where one of them, or what it shall be, is a schedule."""
        rates = [getattr(player, "inner_optimizer", player).get_config()["learning_rate"] for player in self.players()]
        if not all(isinstance(rate, float) for rate in rates):
            raise UsageError("a player's learning rate is a schedule, which nothing else can set: give it a number")
        if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
            raise UsageError("model.optimizer.learning_rate takes a number; give a schedule to each optimizer")

    @property
    def iterations(self):
        """The steps of the generator."""
        return self.players()[0].iterations

    @property
    def variables(self) -> list:
        return [variable for player in self.players() for variable in player.variables]

    def get_config(self) -> dict:
        names = ("generator", "discriminator")
        return dict(zip(names, map(keras.saving.serialize_keras_object, self.players()), strict=True))

    def apply(self, grads, trainable_variables=None):
        """Refuse: whose gradients would they be?"""
        raise UsageError("a GAN has two optimizers: use model.generator_optimizer and model.discriminator_optimizer")

    def finalize_variable_values(self, var_list) -> None:
        """Do nothing at the end of `fit`: neither player's optimizer averages weights."""

    def save_own_variables(self, store) -> None:
        """Store the proportion of the rates; each player's optimizer stores its own."""
        if self.ratio is not None:
            store["ratio"] = self.ratio

    def load_own_variables(self, store) -> None:
        """Load what was stored."""
        self.ratio = float(store["ratio"][()]) if "ratio" in store.keys() else None  # noqa: SIM118, a file of HDF5
