"""Watch two players while they train: a callback that measures them every so many steps and says what it sees."""

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from gan_tf import data, diagnostics, doctor, gan
from gan_tf.runs.callbacks import Counting, History, add_row

EVERY = 200  # steps from one row to the next
BATCHES = 2  # of as many images as a step has, for each row
YARDSTICK = 1000  # labelled images, in which a fake's nearest tells its class


class Diagnostics(Counting):
    """Measure the players every so many steps, in the mode of training, which is the same with and without it.

    For any `fit`; then see `history.diagnostics`, and `doctor.findings` of it. What it finds is printed once.

    Args:
        history: keeps the rows; comes before this one in the list. Its folder gets diagnostics.csv.
        dataset: whose training and held-out images are compared.
        every: steps from one row to the next; by default so many that measuring takes some 2 % of the time.
        seed: of the choice of images.
        say: prints a finding; None keeps quiet.
    """

    def __init__(
        self, history: History, dataset: data.Dataset, every: int | None = None, seed: int = 0, say=tqdm.write
    ):
        super().__init__()
        self.history, self.dataset, self.every, self.seed, self.say = history, dataset, every or EVERY, seed, say
        self.told: set[str] = set()

        random = np.random.default_rng(seed)
        rows = random.permutation(len(dataset.x_train))[:YARDSTICK]
        self.images = data.to_float(dataset.x_train[rows]).numpy()
        self.labels = None if dataset.y_train is None else dataset.y_train[rows]

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.look = tf.function(lambda *batches: self._on_each(diagnostics.look, *batches))
        self.gradients = tf.function(lambda *batches: self._on_each(diagnostics.gradient_lengths, *batches))

    def on_train_batch_begin(self, batch, logs=None):
        if (self.step + self.taken_at_once()) // self.every > self.step // self.every:  # a row may be due afterwards
            self.weights = self._weights()

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if not self.passed(self.every):
            return
        row = {"step": self.step, "images": self.step * self.history.schedule.images}
        row |= self._updates() | self._losses() | self._row()
        add_row(self.history.diagnostics, {name: float(f"{value:.6g}") for name, value in row.items()})
        if self.history.folder:
            self.history.write_table("diagnostics.csv", self.history.diagnostics)
        if self.say:
            self.tell()

    def taken_at_once(self) -> int:
        """Return how many steps `fit` takes before it calls again."""
        return getattr(self.model, "steps_per_execution", 1) or 1

    def tell(self) -> None:
        """Print what is found for the first time."""
        for finding in doctor.findings(self.history.diagnostics):
            if finding.name not in self.told:
                self.told.add(finding.name)
                self.say(finding.in_short())

    def _row(self) -> dict[str, float]:
        model, random = self.model, np.random.default_rng([self.seed, self.step])
        size = self.history.schedule.images // model.critic_steps
        found = []
        for number in range(BATCHES):
            seed = gan.fold([self.seed, self.step], "diagnostics", number)
            batch, held_out = self._batch("train", size, random), self._batch("test", size, random)
            one = self.look(batch, held_out, seed) | self.gradients(batch, seed)
            found.append({name: value.numpy() for name, value in one.items()})

        undecided = diagnostics.UNDECIDED.get(model.adversarial_loss, 0.0)
        row = diagnostics.summary(found, self.images[: BATCHES * size], undecided)
        if self.labels is None:
            return row
        return row | diagnostics.class_shares(np.concatenate([one["fake"] for one in found]), self.images, self.labels)

    def _batch(self, part: str, size: int, random: np.random.Generator) -> gan.Batch:
        there = len(getattr(self.dataset, f"x_{part}"))
        images, labels = self.dataset.rows(part, random.integers(there, size=size))
        batch = {"images": data.to_float(images)}
        return batch | ({"labels": tf.constant(labels)} if self.model.labelled else {})

    def _on_each(self, measure, *batches) -> diagnostics.Measured:
        """Measure the same on each replica, and return what the first one found."""
        strategy = self.model.distribute_strategy
        found = strategy.run(lambda: measure(self.model, *batches))
        return {name: strategy.experimental_local_results(value)[0] for name, value in found.items()}

    def _weights(self) -> dict[str, list[np.ndarray]]:
        players = {player: getattr(self.model, player) for player in ("generator", "discriminator")}
        return {
            player: [keras.ops.convert_to_numpy(weight).copy() for weight in network.trainable_variables]
            for player, network in players.items()
        }

    def _updates(self) -> dict[str, float]:
        """Return how long a player's step is, as a part of the length of its weights."""
        updates = {}
        for player, now in self._weights().items():
            pairs = list(zip(now, self.weights[player], strict=True))
            moved, there = (
                np.sqrt(sum(np.sum(np.square(x)) for x in arrays))
                for arrays in ([new - old for new, old in pairs], [old for _, old in pairs])
            )
            updates[f"{player}_update"] = float(moved / there) / (self.step - self.before)
        return updates

    def _losses(self) -> dict[str, float]:
        """Return the means of the losses since the last row."""
        steps = np.array(self.history.losses["step"])
        there = steps > max([0, *self.history.diagnostics.get("step", [])])
        names = ("generator_loss", "discriminator_loss")
        return {name: float(np.mean(np.array(self.history.losses[name])[there])) for name in names}
