"""Weights that others published or wrote: their files, read as named tensors."""
