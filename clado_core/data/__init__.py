"""Labelled images, from where they lie to tensors."""
