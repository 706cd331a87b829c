"""Eight GANs of the literature, each in at most 15 lines on top of the package, which needs no change for any of them.

Tiny networks: what is shown is that each fits in. Every `build` takes a run's settings and returns a compiled GAN.
"""

import keras
import tensorflow as tf
from keras import layers

from gan_tf import gan, losses, models, replicas

CLASSES = 10
LATENT_DIM = 8
uniform = tf.random.stateless_uniform


def rates() -> list[keras.optimizers.Optimizer]:
    return [keras.optimizers.Adam(2e-3, 0.5) for _ in range(2)]


def discriminator(*heads: int, labels: bool = False) -> keras.Model:
    """Build a trunk with a logit and further heads; with labels, the logit has a projection of the label (cGAN)."""
    image = keras.Input(models.IMAGE_SHAPE)
    trunk = layers.Dense(16, activation="leaky_relu")(layers.Flatten()(image))
    logit, *others = (layers.Dense(units, use_bias=False)(trunk) for units in (1, *heads))
    if not labels:
        return keras.Model(image, [logit, *others] if others else logit)
    label = keras.Input((), dtype="uint8")
    projection = layers.Dot(axes=1)([layers.Embedding(CLASSES, 16)(label), trunk])
    return keras.Model([image, label], layers.Add()([logit, projection]))


def generator(labels: bool = False) -> keras.Model:
    z, label = keras.Input((LATENT_DIM,)), keras.Input((), dtype="uint8")
    x = layers.Concatenate()([z, layers.Embedding(CLASSES, 4)(label)]) if labels else z
    x = layers.BatchNormalization()(layers.Dense(16, activation="relu")(x))
    images = layers.Reshape(models.IMAGE_SHAPE)(layers.Dense(784, activation="tanh")(x))
    return keras.Model([z, label] if labels else z, images)


def players(settings, *heads: int, labels: bool = False, generator_labels: bool = False) -> list[keras.Model]:
    keras.utils.set_random_seed(settings.seed)
    return [generator(labels or generator_labels), discriminator(*heads, labels=labels)]


# 1. Wasserstein GAN with gradient penalty and 5 critic steps (Gulrajani et al. 2017, algorithm 1)


def gradient_penalty(critic, real, fake, seed):
    between = real + uniform((tf.shape(real)[0], 1, 1, 1), seed) * (fake - real)
    with tf.GradientTape() as tape:
        tape.watch(between)
        logits = critic(between)
    norm = tf.sqrt(tf.reduce_sum(tape.gradient(logits, between) ** 2, axis=[1, 2, 3]) + 1e-12)
    return tf.reduce_mean((norm - 1.0) ** 2)


def wgan_gp(settings) -> gan.GAN:
    mean = tf.reduce_mean
    wasserstein = losses.Loss(lambda real, fake: -mean(fake), lambda real, fake: mean(fake) - mean(real))
    model = gan.GAN(*players(settings), seed=settings.seed)
    model.compile(*rates(), loss=wasserstein, penalties=[(gradient_penalty, 10.0)], critic_steps=5)
    return model


# 2. R1, computed every 4th step (Mescheder et al. 2018, equation 9; Karras et al. 2020, appendix B)


def r1(critic, real, fake, seed):
    with tf.GradientTape() as tape:
        tape.watch(real)
        logits = critic(real)
    return tf.reduce_mean(tf.reduce_sum(tape.gradient(logits, real) ** 2, axis=[1, 2, 3]))


def lazy_r1(settings) -> gan.GAN:
    model = gan.GAN(*players(settings), seed=settings.seed)
    model.compile(*rates(), penalties=[(r1, 5.0, 4)])
    return model


# 3. A relativistic pairing loss (Jolicoeur-Martineau 2019, section 4.1)


def relativistic(settings) -> gan.GAN:
    def pairing(above, below):
        return tf.reduce_mean(tf.nn.softplus(below - above))

    loss = losses.Loss(lambda real, fake: pairing(fake, real), pairing, paired=True)
    model = gan.GAN(*players(settings), seed=settings.seed)
    model.compile(*rates(), loss=loss)
    return model


# 4. A conditional GAN with a projection discriminator (Miyato and Koyama 2018, equation 3)


def projection(settings) -> gan.GAN:
    model = gan.GAN(*players(settings, labels=True), seed=settings.seed)
    model.compile(*rates())
    return model


# 5. ACGAN: the discriminator also names the class (Odena et al. 2017, equations 2 and 3)


class ACGAN(gan.GAN):
    def discriminator_objective(self, batch, fake, seed):
        loss = super().discriminator_objective(batch, fake, seed)
        return loss + self.class_loss(batch["images"], batch) + self.class_loss(fake, batch)

    def generator_objective(self, batch, fake, seed):
        return super().generator_objective(batch, fake, seed) + self.class_loss(fake, batch)

    def class_loss(self, images, batch):
        class_logits = self.discriminator(images, training=True)[1]
        return tf.reduce_mean(
            keras.ops.sparse_categorical_crossentropy(batch["labels"], class_logits, from_logits=True)
        )


def acgan(settings) -> gan.GAN:
    model = ACGAN(*players(settings, CLASSES, generator_labels=True), seed=settings.seed)
    model.compile(*rates())
    return model


# 6. InfoGAN: a head on the discriminator's trunk reads the code back (Chen et al. 2016, equation 6)


class InfoGAN(gan.GAN):
    def generator_inputs(self, batch, seed):
        z = super().generator_inputs(batch, seed)  # which of three numbers is the largest is a uniform code
        return tf.concat([tf.one_hot(tf.argmax(z[:, :3], axis=1), 3), z[:, 3:]], axis=1)

    def information(self, batch, fake, seed):
        code, guess = self.generator_inputs(batch, seed)[:, :3], self.discriminator(fake, training=True)[1]
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(code, guess))

    def discriminator_objective(self, batch, fake, seed):
        return super().discriminator_objective(batch, fake, seed) + self.information(batch, fake, seed)

    def generator_objective(self, batch, fake, seed):
        return super().generator_objective(batch, fake, seed) + self.information(batch, fake, seed)


def infogan(settings) -> gan.GAN:
    model = InfoGAN(*players(settings, 3), seed=settings.seed)
    model.compile(*rates())
    return model


# 7. One unrolled step: the generator meets the discriminator as it will be (Metz et al. 2017, equations 8 to 10)


class Unrolled(gan.GAN):
    def generator_objective(self, batch, fake, seed):
        weights, state = self.discriminator.trainable_variables, self.discriminator.non_trainable_variables
        with tf.GradientTape() as tape:
            loss = self.discriminator_objective(batch, fake, seed)
        gradients = map(replicas.mean_over_replicas, tape.gradient(loss, weights))
        ahead = [weight - 0.3 * gradient for weight, gradient in zip(weights, gradients, strict=True)]
        logits, _ = self.discriminator.stateless_call(ahead, state, fake, training=True)
        return self.adversarial_loss.generator(None, logits)


def unrolled(settings) -> gan.GAN:
    model = Unrolled(*players(settings), seed=settings.seed)
    model.compile(*rates())
    return model


# 8. Both players' gradient norms in the logs


class LogsNorms(gan.GAN):
    logged = (*gan.GAN.logged, "generator_gradient_norm", "discriminator_gradient_norm")

    def update(self, player, tape, loss):
        gradients = super().update(player, tape, loss)
        norm = tf.linalg.global_norm([replicas.mean_over_replicas(gradient) for gradient in gradients])
        self.log(f"{player}_gradient_norm", norm)
        return gradients


def gradient_norms(settings) -> gan.GAN:
    model = LogsNorms(*players(settings), seed=settings.seed)
    model.compile(*rates())
    return model


BUILDS = {
    "WGAN-GP": (wgan_gp, gradient_penalty),
    "lazy R1": (lazy_r1, r1),
    "relativistic": (relativistic,),
    "projection": (projection,),
    "ACGAN": (acgan, ACGAN),
    "InfoGAN": (infogan, InfoGAN),
    "unrolled": (unrolled, Unrolled),
    "gradient norms": (gradient_norms, LogsNorms),
}
