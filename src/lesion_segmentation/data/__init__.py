"""Cases: reading, checking, resizing, splitting, copying. Imports neither torch nor Kedro."""
