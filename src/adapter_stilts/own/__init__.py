"""A user's own tasks: a YAML file that says what `tasks` says of the package's."""
