"""Shows a sample of a data set's images with their text and tags as an HTML page."""
