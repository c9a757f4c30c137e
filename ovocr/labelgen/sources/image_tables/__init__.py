"""Tables with a column of images: Parquet and Arrow files."""
