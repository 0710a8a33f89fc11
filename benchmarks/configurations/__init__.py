"""Convolutions and pools drawn at random from what people compute, against jax.lax: first call, run time, memory."""
