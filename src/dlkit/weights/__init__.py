"""Weights trained elsewhere: where they are published, how they are fetched, what their tensors are called."""
