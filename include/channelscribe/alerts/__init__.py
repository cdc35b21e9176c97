"""Telling people what is wrong: what an alert says, when a stage or a run is slow and why, and how messages get there.

What is wrong is recorded in the archive at once, and told by messages afterwards: no run waits for a mail server.
"""
