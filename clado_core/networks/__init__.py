"""Find, load and run a network."""
