"""What runs did: their reports, what stages took, and the alerts."""
