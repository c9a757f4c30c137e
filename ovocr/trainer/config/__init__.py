"""The configuration of a training run: its sections, its TOML file, and the tables that document it.

Imports base, dataset and vocab.
"""
