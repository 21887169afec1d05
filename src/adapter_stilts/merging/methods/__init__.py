"""The built-in ways of merging: every file here is read, and registers its functions."""
