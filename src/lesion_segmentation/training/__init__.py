"""Losses, changes on the fly, optimisers, and the one training loop. Imports neither Kedro nor MLflow."""
