"""What a JAX program consists of: the layers of a function of any library, read from its jaxpr; nothing is executed."""
