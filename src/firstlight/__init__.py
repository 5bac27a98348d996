"""firstlight."""
