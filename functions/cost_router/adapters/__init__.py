"""The effects: one outside thing per module, each shaped like a Protocol of `core/ports.py`."""
