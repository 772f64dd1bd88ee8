"""What a dataset holds: its samples, splits and labels, read from its layout."""
