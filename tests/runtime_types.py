"""The run-time type checker that jaxtyping applies to clado_core while tests run."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An int passes where a float is annotated, as in static typing (PEP 484)."""
