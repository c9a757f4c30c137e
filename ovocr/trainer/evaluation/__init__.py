"""Measures a trained run: recall, examples, the report page, and reading pictures. Imports training."""
