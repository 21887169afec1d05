"""Modules in the engine: methods, compositions, fusion, files."""
