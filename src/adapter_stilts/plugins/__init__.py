"""What a user's own code adds: tasks, metrics, merge methods and adapter methods."""
