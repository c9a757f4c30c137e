"""Lines of text -> words: normalisation, scripts, Chinese, Latin runs, lost spaces. Imports base."""
