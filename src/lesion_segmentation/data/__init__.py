"""Reading, checking, splitting and copying of cases. This package does not import torch.

Data and settings that the user can correct raise `lesion_segmentation.core.errors.InputError`.
"""
