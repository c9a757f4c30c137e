"""Where the tags of an image come from: its rows, its lines, how they were cut, and which words took the slots."""
