"""Names of the activations that small networks may have; `modules.networks.weights.small_networks` has the
functions."""

ACTIVATION_NAMES = ("tanh", "sigmoid", "relu", "gelu", "silu", "softplus")
