"""What a weight is to the registry: where it came from, how it measures up, and what it may be called."""
