"""Transcripts of talk, read one turn at a time: plain text, WebVTT, SRT and JSON Lines."""
