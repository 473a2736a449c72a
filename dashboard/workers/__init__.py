"""Other processes: solving, measuring, refining and exporting beside the page."""
