"""What runs: one folder a pipeline."""
