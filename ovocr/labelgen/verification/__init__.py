"""Is a labelled data set what it promises to be? Every file, index, count, row, record and hash is looked at."""
