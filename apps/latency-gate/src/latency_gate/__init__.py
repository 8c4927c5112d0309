"""Fails a pull request whose models would answer too slowly."""
