"""HTML reports: the template environment, the base template, shared macros and styles. Imports base."""
