"""Speaker analysis as plain mathematics over arrays and contracts."""
