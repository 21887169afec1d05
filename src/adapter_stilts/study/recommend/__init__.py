"""Which module to train a target on, predicted; `ranking` and `rules` are pure functions."""
