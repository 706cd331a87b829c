"""Two players' optimizers, as the one that Keras's callbacks look for at `model.optimizer`."""

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

    def __init__(self, generator: keras.optimizers.Optimizer, discriminator: keras.optimizers.Optimizer):
        super().__init__(learning_rate=0.0, name="players")
        self.generator, self.discriminator = generator, discriminator
        self.built, self.ratio, self.complete = True, None, True

    def __setattr__(self, name: str, value) -> None:
        """Refuse to set what neither player would heed."""
        if getattr(self, "complete", False) and name not in ("learning_rate", "ratio") and not name.startswith("_"):
            raise UsageError(f"a GAN has two optimizers: set {name} of generator_optimizer and discriminator_optimizer")
        super().__setattr__(name, value)

    @property
    def learning_rate(self) -> Rate:
        return Rate(self, float(keras.ops.convert_to_numpy(self.generator.learning_rate)))

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        players = (self.generator, self.discriminator)
        for player in players:
            config = getattr(player, "inner_optimizer", player).get_config()
            if not isinstance(config["learning_rate"], float):
                raise UsageError("a player's learning rate is a schedule, which nothing else can set: give it a number")

        before = [float(keras.ops.convert_to_numpy(player.learning_rate)) for player in players]
        if before[0] > 0.0:
            self.ratio = before[1] / before[0]
        if self.ratio is None:
            raise UsageError("the generator's learning rate is 0, of which the discriminator's is no multiple")
        self.generator.learning_rate = value
        self.discriminator.learning_rate = self.ratio * float(value)

    @property
    def iterations(self):
        """The steps of the generator."""
        return self.generator.iterations

    @property
    def variables(self) -> list:
        return [*self.generator.variables, *self.discriminator.variables]

    def get_config(self) -> dict:
        players = {"generator": self.generator, "discriminator": self.discriminator}
        return {name: keras.saving.serialize_keras_object(player) for name, player in players.items()}

    def apply(self, grads, trainable_variables=None):
        """Refuse: whose gradients would they be?"""
        raise UsageError("a GAN has two optimizers: use model.generator_optimizer and model.discriminator_optimizer")

    def finalize_variable_values(self, var_list) -> None:
        """Do nothing at the end of `fit`: neither player's optimizer averages weights."""

    def save_own_variables(self, store) -> None:
        """Store nothing: each player's optimizer stores its own."""

    def load_own_variables(self, store) -> None:
        """Load nothing."""
