"""The commands, one file each; `application` holds what they share."""
