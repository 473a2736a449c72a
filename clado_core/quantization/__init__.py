"""Integers for weights and inputs, swapped into a network and out of it."""
