"""The vision transformer, its rotary positions, and how it is spread over ranks. Imports config and ranks."""
