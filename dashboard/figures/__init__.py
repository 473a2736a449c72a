"""Charts: for each an info record, ``x_info()`` with all logic, ``x_figure()`` that only draws."""
