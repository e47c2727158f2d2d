"""Foundations that every other package uses: errors, files, parameter models, hardware, workers."""
