"""What ``storyteller bench`` measures: this program beside the usual PyTorch loop, on the computer at hand."""
