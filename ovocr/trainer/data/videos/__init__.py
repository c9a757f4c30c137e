"""Lists of videos and their decoded frames. Imports only modules of data."""
