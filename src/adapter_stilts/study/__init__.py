"""Comparisons of compositions over targets, languages, items and seeds."""
