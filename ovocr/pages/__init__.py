"""What all HTML reports share: the document, styles, scripts. Imports base."""
