"""Processes: available cores and memory, termination signals and the setup of worker processes. Imports base."""
