"""Channelscribe turns channels into a searchable archive of who said what."""
