"""Lists of videos and their frames. Imports data."""
