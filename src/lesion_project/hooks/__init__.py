"""What happens around a run, MLflow apart (lesion_project.tracking)."""
