"""How results show themselves in Python and in notebooks: one line, a table, a picture."""
