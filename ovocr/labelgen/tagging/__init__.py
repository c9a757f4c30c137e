"""Lines -> words -> tags -> 100 slots. Imports dataset and vocab."""
