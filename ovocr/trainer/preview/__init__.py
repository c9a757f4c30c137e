"""Shows the first samples of a run as they are loaded. Imports training, data, config and pages."""
