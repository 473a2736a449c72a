"""The built-in networks: one module each, with a function ``build() -> nn.Module``."""
