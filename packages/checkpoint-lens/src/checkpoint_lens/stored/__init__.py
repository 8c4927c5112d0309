"""File formats that hold tensors: each module reads headers at once and values one tensor at a time."""
