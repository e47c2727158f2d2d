"""Losses, changes on the fly, optimizers, and the one training loop. Imports neither Kedro nor MLflow."""
