"""storyteller: a small recurrent language model that tells children's stories, and shows why it chose each word."""

__version__ = "0.1.0"
