"""Search of the archive: by words, by meaning, narrowed by filters."""
