"""Which module to train a target on, predicted: pure functions, no files and no network."""
