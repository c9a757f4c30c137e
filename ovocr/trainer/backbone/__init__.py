"""The vision transformer, its rotary positions, and its parallel execution on ranks. Imports config and ranks."""
