"""The tier that reads weights alone: streamed, one tensor at a time, without building the model."""
