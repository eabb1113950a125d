"""
The deep part: autoencoder, soft assignment, training; the only room with JAX, Flax and Optax.

Nothing is loaded here, so that importing the package stays quick: import the module you need.
"""
