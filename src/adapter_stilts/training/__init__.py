"""Training modules on the frozen backbone."""
