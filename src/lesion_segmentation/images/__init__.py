"""Images and masks: reading, resizing and binarizing."""
