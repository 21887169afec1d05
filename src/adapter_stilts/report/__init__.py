"""What was found, for people: tables, pictures, files."""
