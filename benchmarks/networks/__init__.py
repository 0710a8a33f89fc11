"""Networks benchmark: whole networks of flax, equinox and keras, with and without `cnnjax.drop_in`, and of PyTorch."""
