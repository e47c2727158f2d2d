"""Tracking with MLflow: the store, one run per `kedro run`, its contents, and the logged model."""
