"""A small HTTP service: one backbone in memory, many modules, chosen request by request."""
