"""Reading, checking, splitting and copying of cases. This package does not import torch."""
