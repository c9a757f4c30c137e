"""The configuration of a run: its sections, their defaults and bounds, and its TOML file. Imports dataset and vocab."""
