"""Trials: whole runs of the pipelines under other parameters, as children of one run in MLflow."""
