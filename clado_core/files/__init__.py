"""What lies on disk: artifacts, assignments, and matrices measured elsewhere."""
