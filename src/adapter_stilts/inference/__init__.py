"""Runs modules over features and turns logits into predictions and official scores."""
