"""What ``storyteller bench`` measures."""
