"""Modules on disk: records, names, verification, cards, the Hub."""
