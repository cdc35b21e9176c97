"""Who speaks in the archive: enrolled, discovered and named voices."""
