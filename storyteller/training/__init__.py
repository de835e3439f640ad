"""Training: corpus, batches, trainer."""
