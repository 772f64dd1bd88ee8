"""What a network's answers are worth: pure functions on numpy arrays, and how sure their figures are."""
