"""What all that talks to the Hub has in common: answers are checked, calls are repeated once."""
