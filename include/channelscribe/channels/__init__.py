"""Polling channels and fetching their audio with yt-dlp."""
