"""Everything that talks to the Hub about modules."""
