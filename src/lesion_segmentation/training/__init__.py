"""Losses, online augmentation, optimizers, and the training loop."""
