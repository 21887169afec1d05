"""Which module to train a target on, foretold: pure functions, no files and no network."""
