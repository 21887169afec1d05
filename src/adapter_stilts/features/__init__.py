"""From examples to tensors: one pure module per head kind."""
