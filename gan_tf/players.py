"""Two networks before they play: what their shapes and last layers show, refused in one line; and a copy of one."""

import keras
import tensorflow as tf

from gan_tf import UsageError
from gan_tf.files import one_line

# Names of functions and layers, in lower case and without underscores.
NO_LOGITS = {"sigmoid", "hardsigmoid", "logsigmoid", "softmax", "logsoftmax", "sparsemax", "tanh", "hardtanh"}
NO_LOGITS |= {"softsign", "relu", "relu6", "softplus", "exponential", "exp", "clip"}
NEVER_BELOW_0 = {"sigmoid", "hardsigmoid", "softmax", "sparsemax", "relu", "relu6", "softplus", "exponential", "exp"}
PASSING_ON = {"flatten", "reshape", "permute", "transpose", "squeeze", "expanddims", "getitem", "cast", "identity"}
PASSING_ON |= {"dropout", "spatialdropout2d", "gaussiannoise", "gaussiandropout", "activityregularization"}
PASSING_ON |= {"cropping2d", "zeropadding2d", "upsampling2d", "resizing", "averagepooling2d", "maxpooling2d"}
PASSING_ON |= {"globalaveragepooling2d", "globalmaxpooling2d", "mean"}


def check(generator: keras.Model, discriminator: keras.Model, own_inputs: bool = False) -> None:
    """Refuse networks that cannot play, or whose last layer shows that they would play badly.

    Args:
        generator: of a GAN.
        discriminator: of it.
        own_inputs: whether the GAN makes the generator's inputs in a way of its own.

    Raises:
        UsageError: a network does not know its input, the two do not fit, or one ends in the wrong activation.
    """
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        if not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
            raise UsageError(f"the {name} must be a Sequential or functional model that begins with keras.Input")
        functional = not isinstance(network, keras.Sequential)
        if functional and (isinstance(network.input, dict) or isinstance(network.output, dict)):
            raise UsageError(f"the {name} has inputs or outputs by names; give them in order, as [z, labels]")

    made, read = generator.outputs[0].shape[1:], discriminator.inputs[0].shape[1:]
    judged = discriminator.outputs[0].shape
    if len(generator.outputs) > 1:
        raise UsageError(f"the generator must have one output, its images, and has {len(generator.outputs)}")
    if not tf.TensorShape(made).is_compatible_with(read):
        raise UsageError(f"the generator makes {made}, the discriminator reads {read}: the two shapes must be equal")
    if len(judged) > 1 and judged[-1] != 1:
        raise UsageError(f"the discriminator gives {judged[-1]} numbers where a logit is read: end it in Dense(1)")
    if not own_inputs:
        _check_inputs(generator.inputs)

    if (end := last_activation(discriminator)) in NO_LOGITS:
        raise UsageError(f"the discriminator ends in {end}, and the losses take logits: end it in Dense(1) alone")
    if len(made) == 3 and (end := last_activation(generator)) in NEVER_BELOW_0:
        raise UsageError(f"the generator ends in {end}, which is never below 0: images are in [-1, 1], end it in tanh")


def _check_inputs(inputs: list) -> None:
    z = inputs[0]
    if len(z.shape) != 2 or not z.shape[1] or not tf.as_dtype(z.dtype).is_floating or len(inputs) > 2:
        found = ", ".join(f"{one.dtype} {one.shape[1:]}" for one in inputs)
        raise UsageError(f"the generator's inputs must be z, floats of (latent_dim,), and perhaps labels, got {found}")


def classes_of(*networks: keras.Model) -> int | None:
    """Return how many labels an embedding of the networks' second inputs knows, the smallest one; None without any."""
    known = [
        layer.input_dim
        for network in networks
        for layer in network.layers
        if isinstance(layer, keras.layers.Embedding) and _reads(layer, network.inputs[1:])
    ]
    return min(known, default=None)


def _reads(layer: keras.layers.Layer, tensors: list) -> bool:
    given = [id(tensor) for node in layer._inbound_nodes for tensor in node.input_tensors]
    return any(id(tensor) in given for tensor in tensors)


def last_activation(network: keras.Model) -> str:
    """Return the name of what a network's first output comes from, as far as its layers show: "tanh", "dense"."""
    tensor, around = network.outputs[0], []  # the nested models that it lies in, each with what they were given
    while True:
        layer, node, index = tensor._keras_history
        given = layer._inbound_nodes[node].input_tensors
        if isinstance(layer, keras.Model) and getattr(layer, "outputs", None):
            around.append((layer, given))
            tensor = layer.outputs[index]
        elif not given and around:
            model, given = around.pop()
            tensor = next(g for one, g in zip(model.inputs, given, strict=True) if one is tensor)
        else:
            function = _function(layer)
            passes_on = function in PASSING_ON or (function == "linear" and isinstance(layer, keras.layers.Activation))
            if not passes_on or not given:
                return function if function != "linear" else _plain(type(layer).__name__)
            tensor = given[0]


def _function(layer) -> str:
    if isinstance(layer, keras.layers.Wrapper):
        return _function(layer.layer)
    if getattr(layer, "negative_slope", 0.0):
        return "leakyrelu"
    function = getattr(layer, "activation", None) or getattr(layer, "function", None) or type(layer)
    return _plain(getattr(function, "__name__", type(function).__name__))


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def copied(network: keras.Model, name: str) -> keras.Model:
    """Return a copy of a network, of its layers and weights, under another name.

    Raises:
        UsageError: a layer cannot be made again from its configuration.
    """

    def again(layer):
        trusted = {"safe_mode": False} if isinstance(layer, keras.layers.Lambda) else {}  # it is here already
        try:
            return layer.from_config(layer.get_config(), **trusted)
        except Exception as error:  # Keras raises many kinds
            raise UsageError(
                f"the {name} needs a copy of {layer.name}: {one_line(error)}; give it a get_config"
            ) from error

    copy = keras.models.clone_model(network, clone_function=again)
    copy.name = name
    copy.set_weights(network.get_weights())
    return copy
