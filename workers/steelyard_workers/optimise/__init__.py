"""Export, shrink and measure: each variant is a version of its own, with its own numbers."""
