"""Published networks benchmark: the networks of `cnnjax.models`, and the same networks of flax's own layers."""
