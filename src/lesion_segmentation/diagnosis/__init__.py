"""Diagnosis of a lesion from the features under its mask, to measure what the accuracy of masks is worth."""
