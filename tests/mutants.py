"""Breaks the project in one place at a time and asks the tests: `make mutants` prints which breakages they saw.

A suite can be made fast by testing less. Each entry of `MUTANTS` names a guarantee, a small change that takes it away,
and the tests that must then turn red, each of them. A mutant that leaves one of its tests green has survived: nobody
holds the guarantee, or not the test that claims to.

The changes are made in a copy of the project, which is thrown away. What was killed is kept in runs/mutants.json, and
is tried again only where the mutant, the file that it changes or one of its test files has changed.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", ".download-*")
LIMIT = 600  # seconds for one mutant, many times what the longest of them takes


class Refused(Exception):
    """Why no mutant can be tried."""


class Mutant(NamedTuple):
    """One breakage: in `file`, `old` becomes `new`; then each of `tests` must turn red, for they hold `guarantee`."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    guarantee: str


LOSSES, GAN, MODELS = "tests/test_losses.py::", "tests/test_gan.py::", "tests/test_models.py::"
DATA, METRICS, PLOTS = "tests/test_data.py::", "tests/test_metrics.py::", "tests/test_plots.py::"
GIF, RESULTS = "tests/test_gif.py::", "tests/test_results.py::"
RUNS, RECIPE, FILES = "tests/test_runs.py::", "tests/test_recipe.py::", "tests/test_files.py::"
HOSTILE, DEVICES, MAIN = "tests/test_hostile.py::", "tests/test_devices.py::", "tests/test_main.py::"
KERAS = "tests/test_keras.py::test_a_row_of_the_page_holds"
SETTINGS, CALLBACKS, LONGER = "tests/test_settings.py::", "tests/test_callbacks.py::", "tests/test_longer.py::"
SOURCE, FRONT, BENCHMARKS = "tests/test_source.py::", "tests/test_front.py::", "tests/test_benchmarks.py::"
EVALUATOR, CHAPTERS, OWN = "tests/test_evaluator.py::", "tests/test_chapters.py::", "tests/test_mutants.py::"
DIAGNOSTICS, DOCTOR = "tests/test_diagnostics.py::", "tests/test_doctor.py::"
CONDITIONAL, CLASSES = "tests/test_conditional.py::", "tests/test_classes.py::"
PENALTIES, SPECTRAL = "tests/test_penalties.py::", "tests/test_spectral.py::"
AUGMENT, JUDGES = "tests/test_augment.py::", "tests/test_judges.py::"
PREPARE, STABILISERS = "tests/test_prepare.py::", "tests/test_stabilisers.py::"

MUTANTS = (
    # labels
    Mutant(
        "gan_tf/conditional.py",
        'layers.Dot(axes=1, dtype="float32")([row, x])',
        'layers.Dot(axes=1, dtype="float32")([row, row])',
        (f"{CONDITIONAL}test_projection_is_the_papers_equation",),
        "the projection is of the image's features on the label's row",
    ),
    Mutant(
        "gan_tf/conditional.py",
        "(cross_entropy(batch, real_classes) + cross_entropy(batch, fake_classes))",
        "cross_entropy(batch, real_classes)",
        (f"{CONDITIONAL}test_objectives_are_the_papers_equations",),
        "ACGAN's discriminator names the class of fakes, too",
    ),
    Mutant(
        "gan_tf/runs/training.py",
        "np.stack(of_each, axis=1)",
        "np.stack(of_each, axis=0)",
        (f"{CONDITIONAL}test_pictures_are_drawn_for_labels_in_columns",),
        "a frame has a class a column",
    ),
    Mutant(
        "gan_tf/classes.py",
        "real.features[real_labels == label]",
        "real.features",
        (f"{CLASSES}test_the_real_images_themselves_are_perfect",),
        "a class is compared with real images of itself alone",
    ),
    Mutant(
        "gan_tf/runs/results.py",
        "np.resize(asked if len(asked) else np.arange(known), count)",
        "np.repeat(asked if len(asked) else np.arange(known), count)[:count]",
        (f"{CONDITIONAL}test_the_digits_asked_for_are_drawn_in_their_order",),
        "digits are drawn in the order in which they were asked for",
    ),
    # diagnostics
    Mutant(
        "gan_tf/two_players.py",
        "            state.assign(value)",
        "            pass",
        (f"{DIAGNOSTICS}test_to_measure_changes_nothing", f"{KERAS}[validation_changes_nothing]"),
        "to measure two players, or to look at held-out images, changes no statistics and no seed",
    ),
    Mutant(
        "gan_tf/diagnostics.py",
        "output_gradients=scale)",
        "output_gradients=2.0 * scale)",
        (f"{DIAGNOSTICS}test_the_lengths_are_those_of_a_step_s_gradients",),
        "the lengths of the gradients are those of a step",
    ),
    Mutant(
        "gan_tf/runs/diagnosis.py",
        "                self.told.add(finding.name)\n",
        "",
        (f"{DIAGNOSTICS}test_a_finding_is_told_once",),
        "a training says a finding once",
    ),
    Mutant(
        "gan_tf/doctor.py",
        "ROWS = 3 ",
        "ROWS = 1 ",
        (f"{DOCTOR}test_one_or_two_odd_rows_are_no_finding",),
        "one odd row is no finding",
    ),
    # losses
    Mutant(
        "gan_tf/losses.py",
        "return -tf.reduce_mean(tf.nn.softplus(fake_logits))",
        "return tf.reduce_mean(tf.nn.softplus(fake_logits))",
        (f"{LOSSES}test_constants_computed_by_hand", f"{LOSSES}test_the_generator_wants_fake_up"),
        "the minimax generator's loss has its sign",
    ),
    Mutant(
        "gan_tf/losses.py",
        "tf.reduce_mean(tf.nn.softplus(-real_logits)) + tf.reduce_mean(tf.nn.softplus(fake_logits))",
        "tf.reduce_mean(tf.nn.softplus(real_logits)) + tf.reduce_mean(tf.nn.softplus(-fake_logits))",
        (f"{LOSSES}test_the_discriminator_wants_real_up_and_fake_down",),
        "the discriminator calls real what is real",
    ),
    Mutant(
        "gan_tf/losses.py",
        "relativistic = Loss(relativistic_generator_loss, relativistic_discriminator_loss, paired=True)",
        "relativistic = Loss(relativistic_discriminator_loss, relativistic_generator_loss, paired=True)",
        (f"{LOSSES}test_constants_computed_by_hand", f"{LOSSES}test_the_generator_wants_fake_up"),
        "the relativistic players want opposite things",
    ),
    Mutant(
        "gan_tf/losses.py",
        "loss + (1.0 - real_label) * tf.reduce_mean(real_logits)",
        "loss + (1.0 - real_label) * tf.reduce_mean(fake_logits)",
        (f"{LOSSES}test_a_smoothed_cross_entropy_is_keras_s_with_that_label",),
        "only the label of real images is smoothed",
    ),
    # spectral normalisation
    Mutant(
        "gan_tf/spectral.py",
        "sigma = tf.tensordot(v, tf.linalg.matvec(matrix, u), 1)",
        "sigma = tf.tensordot(v, tf.linalg.matvec(fixed, u), 1)",
        (f"{SPECTRAL}test_the_gradient_is_the_paper_s_formula",),
        "the gradient goes through the largest singular value",
    ),
    Mutant(
        "gan_tf/spectral.py",
        "            self.u.assign(u)\n",
        "            self.layer.kernel.assign(kernel)\n",
        (f"{SPECTRAL}test_no_pass_moves_the_kernel_and_none_out_of_training_moves_u",),
        "a forward pass leaves the kernel alone",
    ),
    Mutant(
        "gan_tf/spectral.py",
        "        if isinstance(self.layer, TRANSPOSED):  # (..., outputs, inputs)\n",
        "        if False:\n",
        (f"{SPECTRAL}test_the_largest_singular_value_is_1_to_a_hundredth[transposed]",),
        "the matrix of a transposed convolution has its outputs as columns",
    ),
    Mutant(
        "gan_tf/models.py",
        "layers.BatchNormalization(synchronized=True)",
        "layers.BatchNormalization()",
        (f"{PENALTIES}test_these_are_what_the_discriminators_are_made_of",),
        "a gradient of a gradient is right through a discriminator's batch normalisation",
    ),
    # penalties
    Mutant(
        "gan_tf/penalties.py",
        "tf.sqrt(squares + 1e-12)",
        "tf.sqrt(squares)",
        (f"{PENALTIES}test_a_critic_without_a_gradient_learns_nothing_and_breaks_nothing[gradient_penalty]",),
        "a gradient of length 0 breaks nothing",
    ),
    Mutant(
        "gan_tf/penalties.py",
        "tf.concat([tf.shape(real)[:1], tf.ones([real.shape.rank - 1], tf.int32)], 0)",
        "tf.shape(real)",
        (f"{PENALTIES}test_a_point_between_takes_one_number_an_image",),
        "an image goes one way towards a fake, not each of its pixels",
    ),
    Mutant(
        "gan_tf/penalties.py",
        "return tf.reduce_mean(_squared_lengths(critic, fake))",
        "return tf.reduce_mean(_squared_lengths(critic, real))",
        (f"{PENALTIES}test_numpy_twin", f"{PENALTIES}test_each_looks_at_images_of_its_own"),
        "R2 is of fakes",
    ),
    # the step
    Mutant(
        "gan_tf/gan.py",
        'self.adversarial_loss.discriminator(critic(real, "real"), critic(fake, "fake"))',
        'self.adversarial_loss.discriminator(critic(fake, "fake"), critic(real, "real"))',
        (f"{GAN}test_the_reported_losses_are_those_of_the_numpy_reference",),
        "real and fake are not swapped in the step",
    ),
    Mutant(
        "gan_tf/gan.py",
        "        fake = self.generator(self.generator_inputs(batch, seed), training=True)\n\n",
        "        fake = self.generator(self.generator_inputs(batch, seed), training=False)\n\n",
        (f"{GAN}test_the_noise_has_the_batch_s_size_and_every_call_is_in_training_mode",),
        "the generator is in training mode in the step",
    ),
    Mutant(
        "gan_tf/gan.py",
        "self.discriminator(_inputs(self.discriminator, images, batch), training=True)",
        "self.discriminator(_inputs(self.discriminator, images, batch), training=False)",
        (f"{GAN}test_the_noise_has_the_batch_s_size_and_every_call_is_in_training_mode",),
        "the discriminator is in training mode in the step",
    ),
    Mutant(
        "gan_tf/gan.py",
        "gradients = tape.gradient(loss, weights, output_gradients=scale)",
        "gradients = tape.gradient(loss, weights, output_gradients=-scale)",
        (f"{GAN}test_a_step_is_the_finite_difference_gradient_of_a_numpy_reference[generator]",),
        "the generator goes down its loss, not up",
    ),
    Mutant(
        "gan_tf/gan.py",
        "zip(self.ema_generator.weights, self.generator.weights, strict=True)",
        "zip(self.ema_generator.trainable_weights, self.generator.trainable_weights, strict=True)",
        (f"{GAN}test_the_average_covers_the_statistics_of_batch_normalisation",),
        "the average covers batch normalisation's statistics",
    ),
    Mutant(
        "gan_tf/gan.py",
        "scale = optimizer.scale_loss(tf.ones_like(loss)) / count",
        "scale = tf.ones_like(loss) / count",
        (f"{GAN}test_mixed_precision_takes_the_float32_step_within_its_rounding[mixed_float16]",),
        "small gradients survive 16 bits: the loss is scaled before, and unscaled after",
    ),
    Mutant(
        "gan_tf/gan.py",
        'generator_loss = self.generator_step(part, fold(seed, "generator"))',
        'generator_loss = self.generator_step(part, fold(seed, "discriminator", 0))',
        (f"{GAN}test_no_two_uses_of_a_seed_draw_the_same",),
        "each player's step draws noise of its own",
    ),
    Mutant(
        "gan_tf/gan.py",
        "values[k :: self.critic_steps]",
        "values[: len(values) // self.critic_steps]",
        (f"{GAN}test_each_of_the_critic_s_steps_sees_its_own_part_of_the_batch",),
        "each of the critic's steps sees other images",
    ),
    Mutant(
        "gan_tf/gan.py",
        "factor=weight * every",
        "factor=weight",
        (f"{GAN}test_a_penalty_adds_its_gradient_to_the_discriminator_s_and_a_lazy_one_every_so_often",),
        "a lazy penalty weighs as much as one of every step",
    ),
    Mutant(
        "gan_tf/gan.py",
        "            loss = self.discriminator_objective(batch, fake, seed) + sum(self.discriminator.losses)",
        "            loss = self.discriminator_objective(batch, fake, seed)",
        (f"{GAN}test_a_layer_s_own_loss_belongs_to_its_player_s_objective[discriminator]",),
        "a regulariser of the discriminator's layers is heeded",
    ),
    Mutant(
        "gan_tf/gan.py",
        'images = self.augment(images, fold(seed, "augmentation", role, index))',
        "pass",
        (f"{GAN}test_both_players_see_everything_through_the_augmentation",),
        "both players see everything through the augmentation",
    ),
    Mutant(
        "gan_tf/gan.py",
        'fold(seed, "augmentation", role, index)',
        'fold(seed, "augmentation", index)',
        (
            f"{AUGMENT}test_real_images_and_fakes_of_a_step_draw_apart_from_one_distribution",
            f"{AUGMENT}test_an_acgan_s_real_images_and_fakes_draw_apart",
        ),
        "real images and fakes of a step are augmented by draws of their own",
    ),
    Mutant(
        "gan_tf/gan.py",
        'fold(seed, "augmentation", role, index)',
        'fold(seed, "augmentation", role)',
        (f"{AUGMENT}test_two_replicas_draw_apart",),
        "each replica augments by draws of its own",
    ),
    Mutant(
        "gan_tf/augment.py",
        "tf.clip_by_value(source, 0, side - 1)",
        "source % side",
        (f"{AUGMENT}test_translation_moves_each_image_by_whole_pixels[size0-0.125-most0]",),
        "what comes in where an image was moved repeats its edge",
    ),
    Mutant(
        "gan_tf/augment.py",
        "    x = tf.cast(images, tf.float32)\n",
        "    x = images\n",
        (f"{AUGMENT}test_in_16_bits_the_draws_are_the_same[float16-0.001-colour]",),
        "an image's mean is not rounded or infinite in 16 bits",
    ),
    Mutant(
        "gan_tf/augment.py",
        "in_sequence(colour, translation, cutout)(",
        "in_sequence(translation, cutout, colour)(",
        (f"{AUGMENT}test_diffaugment_is_the_papers_policy_in_its_order",),
        "what is cut out stays grey",
    ),
    Mutant(
        "gan_tf/replicas.py",
        "for layer in network._flatten_layers():",
        "for layer in network.layers:",
        (
            f"{DEVICES}test_two_replicas_take_the_step_of_one[nested]",
            f"{DEVICES}test_replicas_draw_different_noise_and_masks_once_synchronised[noisy_block]",
        ),
        "nested and wrapped layers span the replicas, too",
    ),
    Mutant(
        "gan_tf/gan.py",
        '{"dependency_optimization": False}',
        '{"dependency_optimization": True}',
        (f"{GAN}test_a_compiled_step_is_the_uncompiled_one_when_two_threads_run_its_graph",),
        "no step in a graph reads weights that the one before has not written",
    ),
    # the networks
    Mutant(
        "gan_tf/models.py",
        'tanh = layers.Activation("tanh", dtype="float32")\n',
        'tanh = layers.Activation("sigmoid", dtype="float32")\n',
        (f"{MODELS}test_generators_make_images_in_the_range_of_the_data[dcgan_generator-False]",),
        "generated images fill the range of the data, [-1, 1]",
    ),
    Mutant(
        "gan_tf/models.py",
        '    logit = layers.Dense(1, dtype="float32")',
        '    logit = layers.Dense(1, dtype="float32", activation="sigmoid")',
        (f"{MODELS}test_discriminators_return_logits[mlp_discriminator]",),
        "discriminators return logits, not probabilities",
    ),
    Mutant(
        "gan_tf/models.py",
        "layers.LeakyReLU(0.2)]\n        hidden += [layers.Dropout(dropout)] * (dropout > 0)",
        "layers.LeakyReLU(0.2)]",
        (f"{MODELS}test_dropout_changes_logits_in_training_only",),
        "a discriminator has the dropout that was asked for",
    ),
    # the data
    Mutant(
        "gan_tf/datasets.py",
        "if digest != expected:",
        "if not digest:",
        (f"{DATA}test_other_content_is_refused",),
        "a dataset's content is checked by its digest",
    ),
    Mutant(
        "gan_tf/data.py",
        "tf.cast(images, tf.float32) / 127.5 - 1.0",
        "tf.cast(images, tf.float32) / 255.0",
        (f"{DATA}test_to_float_is_the_linear_map_of_0_to_255_on_minus_1_to_1",),
        "images are in [-1, 1], not in [0, 1]",
    ),
    Mutant(
        "gan_tf/data.py",
        "reshuffle_each_iteration=True",
        "reshuffle_each_iteration=False",
        (f"{DATA}test_each_epoch_has_its_own_order_and_leaves_out_others",),
        "each epoch has its own order",
    ),
    Mutant(
        "gan_tf/data.py",
        ".skip(skip)",
        ".skip(0)",
        (f"{DATA}test_skip_continues_where_another_process_stopped",),
        "a continued run sees the images that would have come",
    ),
    Mutant(
        "gan_tf/data.py",
        "    raise UsageError(\n",
        '    return load("digits")\n    raise UsageError(\n',
        (f"{DATA}test_an_unknown_name_is_refused",),
        "an unknown dataset is refused, not replaced by the digits",
    ),
    Mutant(
        "gan_tf/datasets.py",
        'return _read_npz(folder / f"{name}.npz", name)',
        'with contextlib.suppress(DataError):\n                return _read_npz(folder / f"{name}.npz", name)',
        (f"{DATA}test_a_damaged_file_is_not_passed_over_in_silence",),
        "a damaged file is not passed over in silence",
    ),
    Mutant(
        "gan_tf/datasets.py",
        "if time.monotonic() > end:",
        "if False:",
        (f"{DATA}test_a_download_that_hangs_is_given_up[never, but drips]",),
        "a download that drips is given up",
    ),
    Mutant(
        "gan_tf/datasets.py",
        "return _joined(map(_digest, (self.x_train, self.y_train, self.x_test, self.y_test)))",
        "return _joined(DIGESTS[self.name])",
        (f"{DATA}test_what_was_changed_no_longer_claims_to_be_the_dataset[fewer]",),
        "a dataset is known by its images, not by its name",
    ),
    # the scores
    Mutant(
        "gan_tf/neighbours.py",
        "np.argpartition(distances, k - 1, axis=1)[:, k - 1]",
        "np.argpartition(distances, k, axis=1)[:, k]",
        (f"{METRICS}test_neighbourhoods_equal_the_full_matrix",),
        "the k-th neighbour is the k-th, the row itself not counted",
    ),
    Mutant(
        "gan_tf/neighbours.py",
        "distances[i, j] = _lengths(left[part][i] - right[j])",
        "distances[i, j] = np.abs(distances[i, j])",
        (f"{METRICS}test_copies_of_rows_with_many_copies_are_inside",),
        "a copy is at distance 0",
    ),
    Mutant(
        "gan_tf/metrics.py",
        "math.sqrt(len(rows) - 1)",
        "math.sqrt(len(rows))",
        (f"{METRICS}test_frechet_equals_the_matrix_root",),
        "covariances have the denominator n - 1",
    ),
    Mutant(
        "gan_tf/metrics.py",
        "same = left is right",
        "same = False",
        (f"{METRICS}test_kernel_distance_equals_the_loops",),
        "the kernel distance is without bias: no row is compared with itself",
    ),
    Mutant(
        "gan_tf/metrics.py",
        "np.quantile(held_out_distances, 0.01)",
        "np.quantile(fake_distances, 0.01)",
        (f"{METRICS}test_memorisation_equals_scipy",),
        "copies are told by what held-out rows do",
    ),
    Mutant(
        "gan_tf/metrics.py",
        "if not np.abs(matrices[name]).max() <= LARGEST:",
        "if np.abs(matrices[name]).max() > LARGEST:",
        (f"{METRICS}test_bad_features_are_refused",),
        "NaN among features is noticed",
    ),
    # pictures
    Mutant(
        "gan_tf/plots.py",
        ".swapaxes(1, 2)",
        "",
        (f"{PLOTS}test_a_grid_is_filled_row_by_row",),
        "a grid shows whole images, row by row",
    ),
    Mutant(
        "gan_tf/gif.py",
        "if len(content) <= max_bytes:",
        "if True:",
        (f"{GIF}test_a_gif_gives_up_shades_to_stay_below_a_size",),
        "a GIF stays below its size",
    ),
    Mutant(
        "gan_tf/gif.py",
        "frames[kept], np.add.reduceat(milliseconds, kept)",
        "frames[kept], milliseconds[kept]",
        (f"{GIF}test_a_gif_gives_up_frames_where_shades_are_not_enough",),
        "a GIF of fewer frames takes as long",
    ),
    Mutant(
        "gan_tf/gif.py",
        '"loop": 0',
        '"loop": 1',
        (f"{GIF}test_a_gif_runs_for_ever_and_rests_on_its_last_frame",),
        "a GIF runs for ever",
    ),
    Mutant(
        "gan_tf/gif.py",
        "dither=Image.Dither.NONE",
        "dither=Image.Dither.FLOYDSTEINBERG",
        (f"{GIF}test_a_pixel_whose_colour_stays_does_not_flicker",),
        "a pixel of a GIF whose colour stays does not flicker",
    ),
    Mutant(
        "gan_tf/gif.py",
        'options["palette"] = bytes(images[0].getpalette())',
        "pass",
        (f"{GIF}test_all_frames_in_colour_share_one_palette",),
        "a GIF in colour has one palette",
    ),
    Mutant(
        "gan_tf/gif.py",
        "p=milliseconds / milliseconds.sum()",
        "p=None",
        (f"{GIF}test_the_longer_a_frame_is_in_sight_the_truer_are_its_colours",),
        "the palette is of what is longest in sight",
    ),
    Mutant(
        "gan_tf/runs/results.py",
        'image.convert("L" if image.mode in ("1", "L") else "RGB")',
        'image.convert("L")',
        (
            f"{RESULTS}test_frames_in_colour_make_a_gif_in_colour",
            f"{RESULTS}test_a_grey_frame_among_those_in_colour_is_refused",
        ),
        "frames in colour make a GIF in colour",
    ),
    Mutant(
        "gan_tf/files.py",
        "if folder.is_dir() and any(",
        "if False and any(",
        (f"{RESULTS}test_pictures_are_written_into_a_folder_without_others_alone",),
        "two lots of samples are never mixed in one folder",
    ),
    Mutant(
        "gan_tf/runs/pictures.py",
        "        images = np.empty((count, 0))",
        "        images = data.to_float(images) if images.dtype == np.uint8 else images",
        (f"{CALLBACKS}test_scores_do_not_convert_images_all_at_once[GAN-converted0]",),
        "held-out images are converted a few at a time while a run is scored",
    ),
    Mutant(
        "gan_tf/prepare.py",
        "for left in (making, place):",
        "for left in (place,):",
        (f"{PREPARE}test_what_a_kill_leaves_is_no_cache_and_goes[fitted]",),
        "a folder is prepared anew where a killed process left it half made",
    ),
    Mutant(
        "gan_tf/prepare.py",
        'FileLock(left.with_suffix(".lock"), timeout=0)',
        "contextlib.nullcontext()",
        (f"{PREPARE}test_what_a_living_process_makes_stays_when_another_size_is_asked_for",),
        "nobody takes what another process prepares away from it",
    ),
    Mutant(
        "gan_tf/files.py",
        "            list(several.map(_to_disk, paths))",
        "            pass",
        (f"{FILES}test_a_folder_s_files_have_their_names_after_the_disk_has_all_of_them",),
        "a folder of samples has its name only when the disk has the samples",
    ),
    Mutant(
        "gan_tf/runs/images.py",
        "safe.encode()[:NAME_BYTES].decode",
        "safe[:NAME_BYTES].encode().decode",
        (f"{RESULTS}test_a_class_s_name_is_one_that_a_file_can_have",),
        "a sample's name is not longer than a file's may be, whatever its class is called",
    ),
    # files that somebody else made
    Mutant(
        "gan_tf/untrusted.py",
        "read_array(io.BytesIO(content), allow_pickle=False)",
        "read_array(io.BytesIO(content), allow_pickle=True)",
        (f"{DATA}test_no_code_in_a_data_file_is_run", f"{HOSTILE}test_no_array_is_unpickled"),
        "no pickle is ever read",
    ),
    Mutant(
        "gan_tf/untrusted.py",
        "if member.file_size > most + 1024 or not usual:",
        "if not usual:",
        (f"{DATA}test_a_bomb_is_refused_without_unpacking_it",),
        "a bomb is refused before it is unpacked",
    ),
    Mutant(
        "gan_tf/untrusted.py",
        "if path.is_symlink() and inside not in path.resolve().parents:",
        "if False:",
        (f"{HOSTILE}test_links_out_of_the_folder",),
        "no link leads out of a run folder",
    ),
    # the step, continued
    Mutant(
        "gan_tf/gan.py",
        "            self.steps_taken.assign_add(1)\n            self._update_average()\n",
        "            self._update_average()\n            self.steps_taken.assign_add(1)\n",
        (f"{GAN}test_the_average_follows_the_generator_and_ends_near_it",),
        "the average knows which step it is in",
    ),
    Mutant(
        "gan_tf/gan.py",
        "tf.stack([tf.constant(self.seed, tf.int64), step])",
        "tf.stack([tf.constant(self.seed, tf.int64), tf.constant(0, tf.int64)])",
        (f"{GAN}test_each_step_draws_noise_of_its_own",),
        "each step draws noise of its own",
    ),
    Mutant(
        "gan_tf/gan.py",
        "return self.ema_generator(inputs, training=training)",
        "return self.generator(inputs, training=training)",
        (f"{GAN}test_the_average_follows_the_generator_and_ends_near_it",),
        "a GAN that is called draws with the averaged generator",
    ),
    Mutant(
        "gan_tf/runs/pictures.py",
        "model.ema_generator(part, training=False)",
        "model.generator(part, training=False)",
        (f"{RECIPE}test_the_frames_go_from_noise_to_the_generator_that_is_saved",),
        "pictures show the averaged generator, which is the one that is saved",
    ),
    # several devices
    Mutant(
        "gan_tf/gan.py",
        "z = z[index * size : (index + 1) * size]",
        "z = z[:size]",
        (f"{DEVICES}test_two_replicas_take_the_step_of_one[non_saturating]",),
        "replicas share no noise",
    ),
    Mutant(
        "gan_tf/gan.py",
        "scale_loss(tf.ones_like(loss)) / count",
        "scale_loss(tf.ones_like(loss))",
        (f"{DEVICES}test_two_replicas_take_the_step_of_one[non_saturating]",),
        "each of R replicas takes an R-th of the loss",
    ),
    Mutant(
        "gan_tf/models.py",
        "centred - replicas.mean_over_replicas(keras.ops.mean(centred, axis=0))",
        "centred - keras.ops.mean(centred, axis=0)",
        (f"{DEVICES}test_two_replicas_take_the_step_of_one[non_saturating]",),
        "the minibatch's deviation is that of the whole batch",
    ),
    Mutant(
        "gan_tf/replicas.py",
        "layer.synchronized = True",
        "layer.synchronized = False",
        (f"{DEVICES}test_two_replicas_take_the_step_of_one[non_saturating]",),
        "batch statistics are those of the whole batch",
    ),
    Mutant(
        "gan_tf/replicas.py",
        "tf.stack([replica()[0], 0])",
        "tf.stack([0, 0])",
        (f"{DEVICES}test_replicas_draw_different_noise_and_masks_once_synchronised",),
        "replicas draw different masks",
    ),
    Mutant(
        "gan_tf/replicas.py",
        "return mean_over_replicas(tf.cast(super().check_finite(grads), tf.float32)) == 1.0",
        "return super().check_finite(grads)",
        (f"{DEVICES}test_an_overflow_on_any_replica_skips_the_step_on_all",),
        "an overflow on any replica skips the step on all",
    ),
    Mutant(
        "gan_tf/runs/devices.py",
        "[first : first + own]",
        "[:own]",
        (f"{OWN}test_each_machine_reads_its_own_part_of_every_batch",),
        "no two machines train on the same images",
    ),
    Mutant(
        "gan_tf/runs/devices.py",
        "return (resolver.task_type, resolver.task_id) == (first, 0)",
        "return True",
        (f"{DEVICES}test_three_workers",),
        "of several workers one writes",
    ),
    Mutant(
        "gan_tf/runs/training.py",
        "            devices.wait_for_all(strategy)\n",
        "",
        (f"{OWN}test_no_worker_leaves_before_the_chief_has_written_all",),
        "no worker leaves while another still works",
    ),
    Mutant(
        "gan_tf/runs/devices.py",
        'named = isinstance(error, LOST) or "ollective" in str(error.message)',
        "named = True",
        (f"{DEVICES}test_only_a_lost_worker_is_called_lost",),
        "an error of this worker is not called the loss of another",
    ),
    Mutant(
        "gan_tf/runs/devices.py",
        "lambda batch: tf.nest.map_structure(cut, batch)",
        'lambda batch: cut(batch) if tf.is_tensor(batch) else batch | {"images": cut(batch["images"])}',
        (f"{DEVICES}test_a_batch_of_images_and_labels_is_cut_alike",),
        "labels go to the replica of their images",
    ),
    Mutant(
        "gan_tf/checks.py",
        "if clips and count > 1:",
        "if False:",
        (f"{DEVICES}test_clipping_is_refused_with_several_replicas",),
        "no replica's gradients are clipped by themselves",
    ),
    # what readers of Keras do
    Mutant(
        "gan_tf/checks.py",
        "tf.reduce_all(tf.abs(images) <= LIMIT) & (low < 0.0)",
        "tf.constant(True)",
        (f"{KERAS}[unit]", f"{KERAS}[nan]"),
        "images of another range are refused",
    ),
    Mutant(
        "gan_tf/two_players.py",
        "        self.checked_at.assign(self.steps_taken)\n",
        "",
        (f"{KERAS}[second_fit]",),
        "the first batch of every `fit` is looked at",
    ),
    Mutant(
        "gan_tf/gan.py",
        'with tf.control_dependencies([batch["images"]]):',
        "with tf.control_dependencies([]):",
        (f"{KERAS}[unit]",),
        "a batch that is refused changes nothing",
    ),
    Mutant(
        "gan_tf/players.py",
        "if (end := last_activation(discriminator)) in NO_LOGITS:",
        "if (end := last_activation(discriminator)) in ():",
        (f"{KERAS}[sigmoid]", f"{KERAS}[nested_sigmoid]", f"{KERAS}[softmax]"),
        "a discriminator gives logits",
    ),
    Mutant(
        "gan_tf/checks.py",
        "if not all(strategy.extended.variable_created_in_scope(variable.value) for variable in part.variables):",
        "if False:",
        (f"{KERAS}[optimizers_outside]", f"{KERAS}[networks_outside]"),
        "networks and optimizers are made in the GAN's scope",
    ),
    Mutant(
        "gan_tf/checks.py",
        "if tf.distribute.get_strategy() is not strategy:",
        "if False:",
        (f"{KERAS}[compile_outside]",),
        "a GAN is compiled in its own scope",
    ),
    Mutant(
        "gan_tf/optimizers.py",
        "(value, self.ratio * float(value))",
        "(value, before[1])",
        (f"{KERAS}[scheduler]", f"{KERAS}[plateau]"),
        "a callback that sets the rate sets both players'",
    ),
    Mutant(
        "gan_tf/two_players.py",
        '            state.assign(store[f"seed_{number}"])',
        "            pass",
        (f"{KERAS}[weights]", f"{KERAS}[whole]"),
        "a saved GAN has the seeds of dropout",
    ),
    Mutant(
        "gan_tf/two_players.py",
        "        self.check_saved()\n        super().save(",
        "        super().save(",
        (f"{KERAS}[lacking]",),
        "what cannot be saved leaves no empty file",
    ),
    Mutant(
        "gan_tf/gan.py",
        "        self.warn_if_not_saved_whole()\n",
        "",
        (f"{KERAS}[nameless]",),
        "what will not be saved is told before the training",
    ),
    Mutant(
        "gan_tf/replicas.py",
        'layer.dtype_policy.name == "mixed_float16"',
        "layer is None",
        (f"{KERAS}[other_policy]",),
        "a player in float16 scales its loss, whatever the global policy is",
    ),
    Mutant(
        "gan_tf/optimizers.py",
        '            store["ratio"] = self.ratio\n',
        "            pass\n",
        (f"{KERAS}[zero_saved]",),
        "two time-scales outlast a rate of 0 that was saved",
    ),
    Mutant(
        "gan_tf/checks.py",
        "(replicas.mean_over_replicas(here) == here,",
        "(tf.constant(True),",
        (f"{KERAS}[ragged_dataset]",),
        "no replica has fewer images than another",
    ),
    Mutant(
        "gan_tf/two_players.py",
        '            checks.check_held_out(self, given["validation_data"], given.get("validation_batch_size"))\n',
        "            pass\n",
        (f"{KERAS}[held_out]",),
        "held-out images are looked at before an epoch is paid for",
    ),
    Mutant(
        "gan_tf/__init__.py",
        '    keras.config.set_image_data_format("channels_last")\n',
        "",
        ("tests/test_keras.py::test_the_machine_s_keras_json_does_not_matter",),
        "a machine's keras.json does not matter",
    ),
    # checkpoints
    Mutant(
        "gan_tf/runs/checkpoints.py",
        '"gan": gan.variables,',
        '"gan": [variable for variable in gan.variables if "seed" not in variable.path],',
        (
            f"{RUNS}test_a_checkpoint_holds_every_variable_of_the_gan",
            f"{RUNS}test_other_settings_continue_to_the_same_bits[minimax-mixed_float16]",
        ),
        "a checkpoint holds every seed",
    ),
    Mutant(
        "gan_tf/runs/checkpoints.py",
        "if not np.isfinite(array).all():",
        "if False:",
        (f"{RUNS}test_weights_that_became_nan_are_not_saved",),
        "weights that became NaN are not saved",
    ),
    Mutant(
        "gan_tf/runs/checkpoints.py",
        "KEPT = 3",
        "KEPT = 1",
        (f"{RUNS}test_a_torn_newest_checkpoint_is_warned_of_and_the_one_before_is_used",),
        "there is a checkpoint before the newest",
    ),
    Mutant(
        "gan_tf/runs/checkpoints.py",
        "if steps[-1] != int(path.stem):",
        "if False:",
        (f"{HOSTILE}test_a_good_checkpoint_is_restored",),
        "a checkpoint is of the step that its name says",
    ),
    Mutant(
        "gan_tf/runs/folder.py",
        'return found + ["other images"] * (before["dataset_sha256"] != now["dataset_sha256"] and not found)',
        "return found",
        (f"{OWN}test_a_run_of_other_images_is_not_continued",),
        "a run continues on its own images only",
    ),
    # files and folders
    Mutant(
        "gan_tf/files.py",
        "            os.fsync(file.fileno())\n            if not fcntl:\n                file.close()\n"
        "            Path(file.name).replace(path)\n",
        "            if not fcntl:\n                file.close()\n            Path(file.name).replace(path)\n"
        "            os.fsync(file.fileno())\n",
        (f"{FILES}test_the_name_comes_after_the_disk_has_the_content",),
        "a file is on the disk before it has its name",
    ),
    Mutant(
        "gan_tf/files.py",
        'partial = folder / f".{secrets.token_hex(8)}.partial"',
        'partial = folder / ".one.partial"',
        (f"{FILES}test_of_two_writers_each_has_its_own_partial_file",),
        "of two writers each has its own partial file",
    ),
    Mutant(
        "gan_tf/files.py",
        'open(partial, "xb")',
        'open(partial, "wb")',
        (f"{FILES}test_a_link_in_the_place_of_a_partial_file_is_not_followed",),
        "no link is written through",
    ),
    Mutant(
        "gan_tf/files.py",
        "path.unlink()  # refused",
        "pass  # refused",
        (f"{FILES}test_where_files_have_no_locks_a_partial_one_goes_unless_the_system_refuses",),
        "what a killed process left goes where there are no locks, too",
    ),
    Mutant(
        "gan_tf/files.py",
        "if _lock(file, wait=False):",
        "if True:",
        (f"{FILES}test_partial_files_of_the_killed_go_and_those_of_the_living_stay",),
        "nobody deletes what another process writes",
    ),
    Mutant(
        "gan_tf/runs/folder.py",
        'with FileLock(folder / ".lock", timeout=0):',
        "with contextlib.nullcontext():",
        (f"{RUNS}test_two_at_once_the_second_is_refused",),
        "a run folder is locked",
    ),
    Mutant(
        "gan_tf/runs/training.py",
        "if read_config(folder) != config:",
        "if False:",
        (f"{OWN}test_a_run_that_another_process_began_meanwhile_is_not_written_over",),
        "the settings are read under the lock",
    ),
    Mutant(
        "gan_tf/runs/plan.py",
        "finished = all(there)",
        "finished = any(there)",
        (f"{RUNS}test_a_process_that_dies_between_two_operations_on_files_loses_nothing[before the GIF]",),
        "a run is finished when all its files are there",
    ),
    Mutant(
        "gan_tf/runs/results.py",
        'if (digest := dataset.digest) != config["dataset_sha256"]:',
        "if not (digest := dataset.digest):",
        (f"{EVALUATOR}test_runs_that_cannot_be_evaluated",),
        "a run is judged by its own images only",
    ),
    # more epochs
    Mutant(
        "gan_tf/runs/plan.py",
        ' and not grows and "finished_epochs" not in config\n',
        " and not grows\n",
        (f"{LONGER}test_a_run_killed_while_it_goes_on_loses_nothing[before the first checkpoint]",),
        "a run that goes on to more epochs is not taken for finished by the files of the fewer ones",
    ),
    Mutant(
        "gan_tf/runs/training.py",
        "            if seen not in kept:\n",
        "            if seen > 10**9:\n",
        (f"{LONGER}test_a_run_goes_on_to_more_epochs_and_to_the_same_bits[finished]",),
        "a run that goes on drops the frame of its first end",
    ),
    Mutant(
        "gan_tf/runs/training.py",
        "json.dumps(run.at_the_end)",
        "json.dumps(run.config)",
        (f"{LONGER}test_a_run_goes_on_to_more_epochs_and_to_the_same_bits[finished]",),
        "a checkpoint does not tell whether its run had fewer epochs once",
    ),
    Mutant(
        "gan_tf/runs/folder.py",
        'and (name != "epochs" or old[name] > new[name])',
        'and name != "epochs"',
        (f"{LONGER}test_fewer_epochs_are_refused",),
        "a run does not go back to fewer epochs",
    ),
    Mutant(
        "gan_tf/runs/plan.py",
        "        if old != new:\n",
        "        if False:\n",
        (f"{LONGER}test_a_schedule_that_depends_on_the_number_of_epochs_is_refused",),
        "a run whose first steps would have been others does not go on to more epochs",
    ),
    # a run that starts from another one
    Mutant(
        "gan_tf/runs/folder.py",
        '        found.append("it started from other networks")\n',
        "        pass\n",
        (f"{SOURCE}test_a_checkpoint_of_a_run_that_started_elsewhere_is_refused",),
        "a checkpoint is of a run that started from the same networks",
    ),
    Mutant(
        "gan_tf/runs/source.py",
        "    if known and not same(asked, known):\n",
        "    if False:\n",
        (f"{SOURCE}test_a_run_that_started_otherwise_does_not_go_on_from_another",),
        "a run remembers from which networks it started",
    ),
    Mutant(
        "gan_tf/runs/source.py",
        "    model.ema_generator.set_weights(generator.get_weights())\n",
        "",
        (f"{SOURCE}test_the_training_starts_from_both_networks_and_all_else_is_new[build-one]",),
        "the average starts where the generator does",
    ),
    Mutant(
        "gan_tf/runs/source.py",
        "    if not same(described(run), source):\n",
        "    if False:\n",
        (f"{SOURCE}test_a_source_that_changed_before_the_first_checkpoint_is_refused",),
        "a run that begins again begins with the same networks",
    ),
    # scores of a run
    Mutant(
        "gan_tf/runs/history.py",
        "        for name, (*row, weights) in self.judged.items():\n",
        "        for name, (*row, weights) in ():\n",
        (f"{LONGER}test_a_run_that_was_stopped_keeps_the_same_best_generator[11]",),
        "the best generator survives the end of its process",
    ),
    Mutant(
        "gan_tf/runs/history.py",
        "judged.frechet_distance < self",
        "judged.frechet_distance > self",
        (f"{LONGER}test_the_generator_with_the_lowest_distance_is_kept_and_told[first]",),
        "the best generator has the lowest distance",
    ),
    Mutant(
        "gan_tf/runs/history.py",
        'if self.step < self.schedule.total_steps and self.judged.pop("end", None):',
        'if self.judged.pop("other", None):',
        (f"{LONGER}test_a_score_of_the_first_end_alone_is_none_of_a_run_that_goes_on[5]",),
        "a run that goes on has no score of its first end",
    ),
    Mutant(
        "gan_tf/runs/pictures.py",
        "            logs |= {name: column[-1] for name, column in list(self.history.scores.items())[3:]}\n",
        "            logs = {name: column[-1] for name, column in list(self.history.scores.items())[3:]}\n",
        (f"{CALLBACKS}test_keras_s_own_callbacks_can_watch_the_scores",),
        "Keras's own callbacks can watch the scores",
    ),
    Mutant(
        "gan_tf/runs/callbacks.py",
        "            self.model.steps_taken.assign(self.step)\n",
        "            pass\n",
        (f"{LONGER}test_a_callback_that_brings_back_earlier_weights_takes_no_step_twice",),
        "no step is taken twice where a callback brings back earlier weights",
    ),
    # the training
    Mutant(
        "gan_tf/runs/pictures.py",
        "        ended = self.step >= self.schedule.total_steps or self.model.stop_training\n",
        "        ended = False\n",
        (f"{CALLBACKS}test_a_training_that_ends_where_no_frame_is_due_has_one_of_its_end",),
        "there is a frame of the end",
    ),
    Mutant(
        "gan_tf/runs/history.py",
        "max(1, round(WINDOW_IMAGES / self.schedule.images))",
        "max(1, self.schedule.total_steps // 200)",
        (f"{CALLBACKS}test_a_row_of_losses_csv_is_of_about_800_images_however_long_the_training_is[24-33]",),
        "a row of losses.csv is of as many images in a short run as in a long one",
    ),
    Mutant(
        "gan_tf/runs/training.py",
        "            if seen not in kept:\n",
        "            if seen > steps_taken(run.model) * history.schedule.images:\n",
        (f"{RUNS}test_a_run_stopped_by_a_signal_continues_to_the_same_bits[15-11]",),
        "a continued run drops the frame of where it was stopped",
    ),
    Mutant(
        "gan_tf/runs/history.py",
        "epochs = self.means(self.schedule.steps_per_epoch)",
        "epochs = self.means(max(1, self.schedule.steps_per_epoch // 2))",
        (f"{RUNS}test_history_has_a_row_an_epoch",),
        "history.csv has a row an epoch, not two",
    ),
    Mutant(
        "gan_tf/runs/folder.py",
        "except (OSError, RunError, ValueError) as error:",
        "except ZeroDivisionError as error:",
        (f"{RUNS}test_views_that_cannot_be_written_are_warned_of_once_and_end_nothing",),
        "a table or picture that cannot be written ends no training",
    ),
    Mutant(
        "gan_tf/runs/training.py",
        "            keras.utils.set_random_seed(settings.seed)",
        "            pass",
        (f"{RUNS}test_a_builder_that_sets_no_seed_trains_to_the_same_bits_twice",),
        "a GAN of one's own trains to the same bits twice, whatever its builder seeds",
    ),
    Mutant(
        "gan_tf/runs/training.py",
        "images = run.settings.batch_size * run.model.critic_steps",
        "images = run.settings.batch_size",
        (f"{RUNS}test_a_gan_of_one_s_own_continues_to_the_same_bits[WGAN-GP]",),
        "a step serves a batch for each step of the critic",
    ),
    Mutant(
        "gan_tf/runs/callbacks.py",
        "            self.first = len(steps) - 1\n",
        "            self.first = 0\n",
        (f"{CALLBACKS}test_a_training_that_goes_on_tells_the_speed_of_now",),
        "the speed that a run tells when it goes on is that of now",
    ),
    Mutant(
        "gan_tf/runs/callbacks.py",
        "        self.told = True\n",
        "",
        (f"{CALLBACKS}test_speed_and_time_left_are_told_once_before_a_long_wait",),
        "speed and time left are told once",
    ),
    Mutant(
        "gan_tf/runs/callbacks.py",
        'return sys.stdout if type(sys.stdout).__module__.startswith("ipykernel.") else sys.stderr',
        "return sys.stderr",
        (f"{CALLBACKS}test_the_progress_bar_goes_to_standard_output_in_a_notebook_alone",),
        "a notebook's progress bar is not pink",
    ),
    Mutant(
        "notebooks/execute.py",
        'own = [row for row in rows if row["name"] == name]',
        "own = rows[:3]",
        (f"{CHAPTERS}test_the_table_of_recipes_is_that_of_the_benchmark",),
        "chapter 04's table of recipes is the benchmark's",
    ),
    Mutant(
        "tests/chapters.py",
        "all(isinstance(each, ast.Raise) for each in node.body)",
        "node.body",
        (f"{CHAPTERS}test_each_rule_catches_what_breaks_it[twin_without_a_branch]",),
        "of a chapter's twin only the checks of arguments may be left out",
    ),
    Mutant(
        "notebooks/execute.py",
        'if "width" in about}',
        "if False}",
        (f"{CHAPTERS}test_of_outputs_the_width_of_a_picture_and_the_end_of_a_bar_are_kept",),
        "an executed chapter keeps the width of its GIF",
    ),
    Mutant(
        "gan_tf/runs/callbacks.py",
        "if not np.isfinite(pair).all():",
        "if False:",
        (f"{RUNS}test_a_loss_of_nan_stops_the_run_and_keeps_the_checkpoint_from_before",),
        "a loss of NaN ends the run",
    ),
    Mutant(
        "gan_tf/runs/training.py",
        "endless=True, skip=step, ",
        "endless=True, ",
        (f"{RUNS}test_a_run_stopped_by_a_signal_continues_to_the_same_bits[15-5]",),
        "a continued run goes on with the next images",
    ),
    Mutant(
        "gan_tf/runs/callbacks.py",
        "            self.model.stop_training = True\n",
        "            pass\n",
        (f"{RUNS}test_a_run_stopped_by_a_signal_continues_to_the_same_bits[15-5]",),
        "a signal ends the training after the step",
    ),
    Mutant(
        "gan_tf/runs/callbacks.py",
        "            raise KeyboardInterrupt\n",
        "            pass\n",
        (f"{RUNS}test_a_signal_before_the_first_step_stops_at_once",),
        "a signal before the first step ends the training at once",
    ),
    Mutant(
        "gan_tf/runs/callbacks.py",
        "before, self.at_once = self.at_once, True\n",
        "before = self.at_once\n",
        (f"{EVALUATOR}test_a_signal_while_scoring_is_obeyed_and_the_scores_are_made_up_for",),
        "a signal while scoring is obeyed",
    ),
    Mutant(
        "gan_tf/__main__.py",
        "return 128 + number, ",
        "return 1, ",
        (f"{MAIN}test_a_signal_saves_and_says_how_to_continue",),
        "who was stopped by a signal says so by the exit code",
    ),
    Mutant(
        "gan_tf/__main__.py",
        "2 if isinstance(error, UsageError) else 1",
        "1",
        (f"{MAIN}test_failures_are_told_in_one_line",),
        "wrong usage has an exit code of its own",
    ),
    Mutant(
        "gan_tf/__main__.py",
        "2 if isinstance(error, UsageError) else 1",
        "2 if isinstance(error, ValueError) else 1",
        (f"{MAIN}test_only_a_usage_error_of_our_own_is_wrong_usage",),
        "a ValueError of Keras or NumPy is nobody's wrong usage",
    ),
    Mutant(
        "gan_tf/runs/settings.py",
        'field.metadata["at_least"] <= value < field.metadata["below"]',
        'field.metadata["at_least"] <= value',
        (f"{SETTINGS}test_bounds_are_where_they_are_said_to_be",),
        "a setting has an upper bound",
    ),
    Mutant(
        "gan_tf/runs/settings.py",
        "if defaults and self.model not in defaults and",
        "if False and",
        (f"{SETTINGS}test_a_setting_of_another_model_is_refused",),
        "a setting that the model does not have is refused",
    ),
    Mutant(
        "gan_tf/runs/recipe.py",
        "    try:\n        yield\n    finally:\n        keras.mixed",
        "    if True:\n        yield\n        keras.mixed",
        (f"{SETTINGS}test_an_error_while_networks_are_built_leaves_the_precision_as_it_was",),
        "a recipe that fails leaves the precision as it was",
    ),
    Mutant(
        "gan_tf/runs/recipe.py",
        "Adam(learning_rate, *settings.betas)",
        "Adam(learning_rate)",
        (f"{SETTINGS}test_every_setting_of_the_recipe_changes_the_gan_and_nothing_that_others_decide",),
        "the recipe heeds Adam's betas",
    ),
    Mutant(
        "gan_tf/__init__.py",
        'keras.config.backend() != "tensorflow":',
        'keras.config.backend() == "":',
        (f"{SETTINGS}test_keras_on_another_backend_is_told_in_one_line",),
        "Keras on another backend is told",
    ),
    Mutant(
        "gan_tf/__init__.py",
        'os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")\n',
        "import tensorflow  # noqa: E402, F401\n",
        (f"{MAIN}test_help_and_wrong_usage_do_not_wait_for_tensorflow",),
        "the command line's help does not wait for TensorFlow",
    ),
    # judging
    Mutant(
        "gan_tf/runs/shipped.py",
        "hexdigest()) != digest:",
        "hexdigest()) == '':",
        (f"{EVALUATOR}test_another_generator_in_the_shipped_ones_place_is_named",),
        "the digest of the shipped generator is checked",
    ),
    Mutant(
        "gan_tf/evaluator.py",
        "if shipped and sha256 != SHA256:",
        "if False:",
        (f"{OWN}test_another_file_in_the_place_of_the_shipped_evaluator_is_refused",),
        "the shipped evaluator is the one that was shipped",
    ),
    Mutant(
        "gan_tf/scores.py",
        "held_out = distances(test, train)",
        "held_out = distances(real, train)",
        (f"{EVALUATOR}test_a_report_learns_from_all_test_images_what_near_is",),
        "how near new images are is learned from all test images",
    ),
    Mutant(
        "gan_tf/scores.py",
        "if len(names) > 1:",
        "if False:",
        (f"{EVALUATOR}test_different_evaluators_are_not_compared",),
        "scores of different evaluators are not compared",
    ),
    Mutant(
        "gan_tf/scores.py",
        "pair, of_train = (own, fake.spaces()[space]), train.spaces()[space]",
        "pair, of_train = (fake.spaces()[space], own), train.spaces()[space]",
        (f"{EVALUATOR}test_scores_tell_reals_from_noise",),
        "real and fake are not swapped in the scores",
    ),
    Mutant(
        "gan_tf/evaluator.py",
        "functools.partial(self.model, training=False)",
        "functools.partial(self.model, training=True)",
        (f"{EVALUATOR}test_what_it_says_does_not_depend_on_the_batches",),
        "an image is judged by itself, not by the batch that it comes in",
    ),
    Mutant(
        "gan_tf/judges.py",
        "if (about.recipe, about.dataset_sha256) != (RECIPE, digest):",
        "if about.recipe != RECIPE:",
        (f"{JUDGES}test_a_file_that_is_another_is_replaced_and_told",),
        "a run's evaluator was trained on the run's images",
    ),
    Mutant(
        "gan_tf/judges.py",
        "layers.Dropout(0.1, seed=0)",
        "layers.Dropout(0.1)",
        (f"{JUDGES}test_training_it_draws_nothing_from_the_global_seed_and_is_the_same_twice",),
        "an evaluator is the same whenever it is trained",
    ),
    Mutant(
        "gan_tf/random_network.py",
        "centred = whole - whole.sum(axis=(0, 1)) / 9.0",
        "centred = whole - 127.5",
        (f"{JUDGES}test_its_filters_do_not_see_brightness",),
        "the random network sees edges, and not how bright an image is",
    ),
    Mutant(
        "gan_tf/scores.py",
        "memorisation = metrics.memorisation(of_train, held_out[space], pair[1])",
        'memorisation = metrics.memorisation(of_train, held_out[""], pair[1])',
        (f"{JUDGES}test_new_images_of_the_same_kind_are_at_the_floor",),
        "what is near is learned in the space in which it is asked",
    ),
    Mutant(
        "gan_tf/runs/pictures.py",
        'self.history.diagnostics.get("memorised", [np.nan])[-1]',
        'self.history.diagnostics.get("memorised", [np.nan])[0]',
        (f"{CALLBACKS}test_beside_the_scores_stands_what_diagnostics_found_last",),
        "beside the scores stands what was measured last",
    ),
    # what a stranger's generator may hold
    Mutant(
        "gan_tf/untrusted.py",
        "if kind and (",
        "if False and (",
        (f"{HOSTILE}test_strangers_are_refused_before_keras_sees_them",),
        "a generator holds this package's kinds of layers only",
    ),
    Mutant(
        "gan_tf/untrusted.py",
        "if needed > MOST_BYTES:",
        "if False:",
        (f"{HOSTILE}test_a_model_of_terabytes_is_refused_and_leaves_nothing_behind_for_keras_to_make",),
        "weights that no memory holds are not made",
    ),
    Mutant(
        "gan_tf/untrusted.py",
        "(entry.external or entry.is_virtual)",
        "False",
        (f"{HOSTILE}test_generators_that_do_harm[data kept in another file]",),
        "a generator's weights are in its own file",
    ),
    Mutant(
        "gan_tf/untrusted.py",
        "if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:",
        "if False:",
        (f"{HOSTILE}test_zeros_that_unpack_to_a_gigabyte",),
        "a generator is not packed",
    ),
    # the front page
    Mutant(
        "notebooks/table.py",
        "https://nbviewer.org/github/{at}",
        "https://nbviewer.org/{at}",
        (f"{FRONT}test_the_address_in_pyproject_brings_badges_and_the_line_that_fetches[.git]",),
        "badges lead to the project",
    ),
    Mutant(
        "tests/test_front.py",
        "return [figure for figure in figures(text) if not is_there(figure)]",
        "return []",
        (f"{FRONT}test_a_figure_that_no_chapter_prints_is_found",),
        "the front page has figures that a chapter prints",
    ),
    # the chapters
    Mutant(
        "tests/chapters.py",
        'faults.append(f"cell {cell.id}: {node.name} differs from its twin in the package")',
        "pass",
        (f"{CHAPTERS}test_each_rule_catches_what_breaks_it[other_twin]",),
        "what a chapter defines and the package has, too, is the same",
    ),
    Mutant(
        "notebooks/02_the_minimax_objective.ipynb",
        "train_discriminator(discriminator, generator, 1000, checkpoints=(0, 30), observe=take_snapshot)",
        "[take_snapshot(step) for step in (0, 30)]",
        ("notebooks/02_the_minimax_objective.ipynb",),
        "a chapter's network is trained",
    ),
    Mutant(
        "notebooks/03_the_train_step.ipynb",
        "batches = data.batches(dataset.x_train, 32, seed=0, endless=True)",
        "batches = data.batches(dataset.x_train, 32, seed=0, endless=True).map(lambda real: (real + 1.0) / 2.0)",
        ("notebooks/03_the_train_step.ipynb",),
        "a chapter's images are in [-1, 1]",
    ),
    # benchmarks
    Mutant(
        "benchmarks/few.py",
        "(first >= 0.85 * ink)",
        "(first >= ink - 24**2 * 3072)",
        (f"{BENCHMARKS}test_what_is_no_sprite_is_judged_alike_in_every_colour",),
        "a rule that reads pictures is as strict with yellow as with black",
    ),
    Mutant(
        "benchmarks/ring.py",
        "ANGLES = np.arange(8) * np.pi / 4",
        "ANGLES = np.linspace(0, 2 * np.pi, 8)",
        (f"{BENCHMARKS}test_the_measures_of_the_ring_on_samples_made_by_hand",),
        "the ring has eight modes, not seven of which one is double",
    ),
    Mutant(
        "benchmarks/ring.py",
        "seen = fake if setting.through else tf.stop_gradient(fake)",
        "seen = tf.stop_gradient(fake)",
        (f"{BENCHMARKS}test_a_generator_that_looks_ahead_feels_how_the_discriminator_answers",),
        "unrolling sends its gradient through the steps ahead",
    ),
    Mutant(
        "notebooks/execute.py",
        "collapsed, whole = sum(value >= math.log(2) for value in kl), modes.count(8)",
        "collapsed, whole = sum(value >= math.log(4) for value in kl), modes.count(8)",
        (f"{CHAPTERS}test_the_ring_of_chapter_06_is_that_of_the_benchmark",),
        "chapter 06's table of cures is the benchmark's",
    ),
    Mutant(
        "benchmarks/stabilisers.py",
        'return "better" if max(own) < min(plain) else',
        'return "better" if min(own) < min(plain) else',
        (f"{STABILISERS}test_a_row_is_better_where_all_seeds_are",),
        "a stabiliser is called better where all of its seeds are",
    ),
    Mutant(
        "benchmarks/stabilisers.py",
        "return not variant.loss.paired and variant._replace(**alike) == plain",
        "return variant._replace(**alike) == plain",
        (f"{STABILISERS}test_rows_with_the_arithmetic_of_plain_take_as_many_steps",),
        "what a step of pairs costs is measured",
    ),
    Mutant(
        "benchmarks/stacks.py",
        "factor = setting.every * (0.1 + 0.9 * left) / 2",
        "factor = (0.1 + 0.9 * left) / 2",
        (f"{STABILISERS}test_gamma_falls_tenfold_and_lazy_penalties_are_as_large_in_the_mean",),
        "a lazy penalty is as large in the mean",
    ),
    Mutant(
        "benchmarks/stacks.py",
        "centred = x - tf.reduce_mean(x, axis=1, keepdims=True)",
        "centred = x - tf.reduce_mean(x, axis=(0, 1), keepdims=True)",
        (f"{STABILISERS}test_batch_norm_in_a_stack_of_networks_is_each_networks_own",),
        "eight trainings in one graph are eight trainings, with batch norm too",
    ),
    Mutant(
        "notebooks/execute.py",
        'beyond = "better" if max(distances) < min(plain)',
        'beyond = "better" if max(distances) < max(plain)',
        (f"{STABILISERS}test_the_tables_of_chapter_08_are_those_of_the_benchmarks",),
        "chapter 08's table calls a row better by all of its seeds",
    ),
    Mutant(
        "benchmarks/time_to_quality.py",
        "if lacking := missing(folder, tutorial):",
        "if lacking := []:",
        (f"{BENCHMARKS}test_incomplete_results_are_named_and_nothing_is_written",),
        "only complete results are printed",
    ),
    Mutant(
        "benchmarks/time_to_quality.py",
        'json.loads(path.read_text(encoding="utf-8")) != now',
        'json.loads(path.read_text(encoding="utf-8"))["settings"] != now["settings"]',
        (f"{BENCHMARKS}test_runs_of_another_recipe_are_refused",),
        "five seeds are of one recipe, and it is today's",
    ),
    Mutant(
        "benchmarks/tutorial.py",
        "contestant = Tutorial(seed=epoch)",
        "contestant = Tutorial(seed=int(np.random.default_rng().integers(2**30)))",
        (f"{BENCHMARKS}test_an_epoch_of_the_tutorial_depends_on_the_state_before_it_alone",),
        "the tutorial goes on as if it had not been stopped",
    ),
)


def left_out(root: Path):
    """Return what says which names of a folder are not copied: of the folders named `runs`, that of a reader's runs."""
    return lambda folder, names: LEFT_OUT(folder, names) | ({"runs"} if Path(folder) == root else set())


def file_of(test: str) -> str:
    """Return the file of a test's node id."""
    return test.split("::")[0]


def key(mutant: Mutant, root: Path) -> str:
    """Return a digest of what decides a mutant's fate: itself, the file that it changes, the files of its tests."""
    files = [mutant.file, *sorted({file_of(test) for test in mutant.tests})]
    parts = [json.dumps(mutant).encode(), *((root / name).read_bytes() for name in files)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def listed(kinds: str, test: str, report: str) -> list[str]:
    """Return what pytest's summary has of a test under one of `kinds`: itself, or its parameters, or its cells."""
    return re.findall(rf"^(?:{kinds}) ({re.escape(test)}(?:[\[:].*?)?)(?: - .*)?$", report, re.MULTILINE)


def environment(copy: Path) -> dict[str, str]:
    """Return variables with which Python finds the copy first, and leaves no bytecode that could outlive a mutant."""
    path = os.pathsep.join(filter(None, (str(copy), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "GAN_TF_OFFLINE": "1"}


def check_import(copy: Path) -> None:
    """Refuse to go on where Python imports the package from elsewhere: no test would see what is changed here."""
    command = [sys.executable, "-c", "import gan_tf; print(gan_tf.__file__)"]
    done = subprocess.run(command, cwd=copy.parent, env=environment(copy), capture_output=True, text=True)
    found = done.stdout.strip()
    if not found or Path(found).resolve() != (copy / "gan_tf" / "__init__.py").resolve():
        raise Refused(f"gan_tf is imported from {found or 'nowhere'}, not from the copy: {done.stderr[-500:]}")
    print(f"gan_tf is imported from {found}", flush=True)


def run_tests(copy: Path, tests: list[str], limit: float | None) -> str | None:
    """Run tests in the copy and return what pytest prints, or None where they take longer than `limit` seconds."""
    command = [sys.executable, "-m", "pytest", "-q", "-rfEp", "--tb=short", "-p", "no:cacheprovider"]
    if any(file_of(test).endswith(".ipynb") for test in tests):
        command += ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=900"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    process = subprocess.Popen([*command, *tests], cwd=copy, env=environment(copy), start_new_session=True, **output)
    try:
        return process.communicate(timeout=limit)[0]
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):  # whatever the tests started ends with them
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def check_green(copy: Path, mutants: list[Mutant]) -> None:
    """Run all named tests on the untouched copy: one that is red or skipped there can say nothing of a mutant."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    print(f"{len(tests)} tests on the untouched copy", flush=True)
    report = run_tests(copy, tests, None)
    bad = [test for test in tests if listed("FAILED|ERROR", test, report) or not listed("PASSED", test, report)]
    if bad:
        raise Refused(f"{report[-3000:]}\nnot green without any mutant: {', '.join(bad)}")


def attempt(copy: Path, mutant: Mutant, limit: float = LIMIT) -> dict:
    """Apply a mutant to the copy, run its tests, take it back, and return what came out."""
    path, started = copy / mutant.file, time.perf_counter()
    before = path.read_bytes()
    path.write_bytes(before.replace(mutant.old.encode(), mutant.new.encode()))
    try:
        report = run_tests(copy, list(mutant.tests), limit)
    finally:
        path.write_bytes(before)
    red = {test: listed("FAILED|ERROR", test, report or "") for test in mutant.tests}
    green = [test for test in mutant.tests if report is not None and not red[test]]
    return {
        "guarantee": mutant.guarantee,
        "file": mutant.file,
        "killed_by": f"the time-out of {limit:g} s"
        if report is None
        else ", ".join(ids[0] for ids in red.values() if ids),
        "green": green,
        "seconds": round(time.perf_counter() - started, 1),
        "report": report[-3000:] if green else "",
    }


def line(result: dict) -> str:
    """Return a mutant's line of the table."""
    fate = f"SURVIVED {', '.join(result['green'])}" if result["green"] else f"killed by {result['killed_by']}"
    return f"{result['seconds']:7.1f} s  {result['file']}: {result['guarantee']}\n{'':11}{fate}"


def write(path: Path, results: dict[str, dict]) -> None:
    """Write the results, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(results, indent=1), encoding="utf-8")
    partial.replace(path)


def try_all(mutants: dict[str, Mutant], root: Path, stored: Path, results: dict[str, dict]) -> None:
    """Copy the project and try the mutants there, one after the other; each result is stored as it comes."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder) / "project"
        shutil.copytree(root, copy, ignore=left_out(root), symlinks=True)
        check_import(copy)
        check_green(copy, list(mutants.values()))
        for number, (name, mutant) in enumerate(mutants.items(), 1):
            result = results[name] = attempt(copy, mutant)
            write(stored, results)
            print(f"{number}/{len(mutants)}{line(result)}", flush=True)
            print(result["report"], end="", flush=True)


def main(arguments: list[str] | None = None, mutants: tuple[Mutant, ...] = MUTANTS, root: Path = ROOT) -> int:
    """Try what was not tried yet, print the table of all, and return 1 if one survived, 2 if none could be tried."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="those with this text in file, guarantee or tests")
    only = parser.parse_args(arguments).only
    keys = {mutant: key(mutant, root) for mutant in mutants}
    texts = {mutant: " ".join((mutant.file, mutant.guarantee, *mutant.tests)) for mutant in mutants}
    chosen = {keys[mutant]: mutant for mutant in mutants if only in texts[mutant]}
    if not chosen:
        parser.error(f"no mutant has {only!r} in it")
    stored = root / "runs" / "mutants.json"
    before = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    results = {name: before[name] for name in keys.values() if name in before}
    waiting = {name: mutant for name, mutant in chosen.items() if name not in results or results[name]["green"]}
    try:
        if waiting:
            try_all(waiting, root, stored, results)
    except Refused as reason:
        print(f"mutants: {reason}", file=sys.stderr)
        return 2
    table = [results[name] for name in chosen]
    print("\n".join(["", *map(line, table)]))
    survived = sum(bool(result["green"]) for result in table)
    seconds = sum(result["seconds"] for result in table)
    print(f"\n{len(table)} mutants: {len(table) - survived} killed, {survived} survived; {seconds:.0f} s in all")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main())
