"""Kedro hooks: checks before a run, run lock, progress, gitignore and closing words."""
