"""Models as directories: read, write, verify, find and load."""
