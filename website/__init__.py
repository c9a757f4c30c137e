"""The documentation site: its configuration, its pages beside docs/, and what makes them."""
