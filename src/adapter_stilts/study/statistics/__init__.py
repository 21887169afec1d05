"""What may be said of a comparison: pure functions of arrays, without files or networks."""
