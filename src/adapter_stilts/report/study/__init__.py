"""The report of a study: tables, charts, one page."""
